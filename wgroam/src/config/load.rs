// SPDX-License-Identifier: GPL-2.0-only
//! The way in: a file or a text, a configuration or all that is wrong with it.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::finding::{Errors, Finding, Warning, What};
use super::uci::{self, Keep, Parsed};
use super::{Config, Peer, network, typed};
use crate::linux::files;

/// The largest configuration that is read, in bytes: 5,000 peers are half of it.
pub const MAX_BYTES: usize = 1 << 20;

/// How many mistakes are reported at most. More only scroll the first one away.
pub(super) const MAX_MISTAKES: usize = 20;

/// How many warnings are given at most, besides the one on options that have no effect yet.
pub(super) const MAX_WARNINGS: usize = 20;

/// The package (the name of the file in /etc/config) that is wgroam's.
pub const PACKAGE: &str = "wgroam";

/// A configuration that can be used, and what is worth telling its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What to do.
    pub config: Config,
    /// In the order of the lines.
    pub warnings: Vec<Warning>,
    /// What became of the peers of package network.
    pub notes: Vec<Finding>,
    /// What is known to go wrong with what package network says.
    pub advice: Vec<Finding>,
    /// What package network says; `config` has it already. None: it can't be read, so that what it said before counts
    /// ([`Config::take_over`]).
    pub network: Option<Vec<Peer>>,
}

/// Why a file gave no configuration.
#[derive(Debug)]
pub enum Error {
    /// There is no such file. The caller knows whether that matters: no /etc/config/wgroam means the defaults.
    Missing(PathBuf),
    /// It can't be read.
    Unreadable(PathBuf, io::Error),
    /// It is larger than [`MAX_BYTES`].
    TooLarge(PathBuf),
    /// It was read, and is wrong.
    Wrong(Errors),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Missing(path) => write!(f, "{}: there is no such file", path.display()),
            Error::Unreadable(path, error) => write!(f, "{}: can't be read: {error}", path.display()),
            Error::TooLarge(path) => write!(
                f,
                "{}: is larger than {} KiB and was not read: no configuration of wgroam is; is it the right file?",
                path.display(),
                MAX_BYTES / 1024
            ),
            Error::Wrong(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreadable(_, error) => Some(error),
            Error::Wrong(errors) => Some(errors),
            Error::Missing(_) | Error::TooLarge(_) => None,
        }
    }
}

/// Whether it is the file in /etc/config, which has those of other packages beside it.
pub fn is_openwrts(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path == b"config/wgroam" || path.ends_with(b"/config/wgroam")
}

/// Reads a file, and of the file `network` beside one called `config/wgroam` what concerns WireGuard peers: in
/// /etc/config that is netifd's. At most [`MAX_BYTES`] of each are ever held in memory, and wiped afterwards: there are
/// keys in package network. `may_be_missing`: without the file the defaults apply.
pub fn read(path: &Path, may_be_missing: bool) -> Result<Loaded, Error> {
    let text = match read_text(path) {
        Err(Error::Missing(_)) if may_be_missing => Zeroizing::default(),
        other => other?,
    };
    let mut parsed = uci::parse(&text, PACKAGE, MAX_MISTAKES, keep);
    let mut loaded = evaluate(&mut parsed, &path.display().to_string()).map_err(Error::Wrong)?;
    if !network::is_in(&parsed) && is_openwrts(path) {
        let beside = files::beside(path, network::PACKAGE);
        let source = beside.display().to_string();
        match read_text(&beside) {
            Ok(text) => {
                let mut parsed = uci::parse(&text, network::PACKAGE, MAX_MISTAKES, keep);
                network::take_over(&mut parsed, &source, &mut loaded);
            }
            Err(Error::Missing(_)) => {}
            Err(error) => {
                let why = match error {
                    Error::Unreadable(_, error) => error.to_string(),
                    _ => format!("larger than {} KiB", MAX_BYTES / 1024),
                };
                loaded.warnings.push(Finding::new(&source, 0, None, None, What::NotRead(why)));
                loaded.network = None;
            }
        }
    }
    Ok(loaded)
}

fn read_text(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    files::read_limited(path, MAX_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
        io::ErrorKind::FileTooLarge => Error::TooLarge(path.to_owned()),
        _ => Error::Unreadable(path.to_owned(), error),
    })
}

/// Reads a text: one file of /etc/config, or what `uci export` prints, of package network too. `source_name` stands
/// before the line in messages.
pub fn parse(text: &[u8], source_name: &str) -> Result<Loaded, Errors> {
    evaluate(&mut uci::parse(text, PACKAGE, MAX_MISTAKES, keep), source_name)
}

fn evaluate(parsed: &mut Parsed, source: &str) -> Result<Loaded, Errors> {
    let mut loaded = typed::read(parsed, source)?;
    network::take_over(parsed, source, &mut loaded);
    Ok(loaded)
}

fn keep(package: &str) -> Keep {
    match package {
        PACKAGE => Keep::Everything,
        network::PACKAGE => Keep::Only(network::OPTIONS),
        _ => Keep::Only(&[]),
    }
}
