// SPDX-License-Identifier: GPL-2.0-only
//! The way in: a file or a text, a configuration or all that is wrong with it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Errors, Warning};
use super::{Config, typed};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What to do.
    pub config: Config,
    /// In the order of the lines.
    pub warnings: Vec<Warning>,
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

/// Reads a file. At most [`MAX_BYTES`] of it are ever held in memory.
pub fn read(path: &Path) -> Result<Loaded, Error> {
    let text = files::read_limited(path, MAX_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
        io::ErrorKind::FileTooLarge => Error::TooLarge(path.to_owned()),
        _ => Error::Unreadable(path.to_owned(), error),
    })?;
    parse(&text, &path.display().to_string()).map_err(Error::Wrong)
}

/// Reads a text: one file of /etc/config, or what `uci export` prints. `source_name` stands before the line in messages.
pub fn parse(text: &[u8], source_name: &str) -> Result<Loaded, Errors> {
    let parsed = super::uci::parse(text, PACKAGE, MAX_MISTAKES);
    typed::read(&parsed, source_name)
}
