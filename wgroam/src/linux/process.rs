// SPDX-License-Identifier: GPL-2.0-only
//! The process itself: what others may see of it, and that there is only one.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::linux::files;
use crate::model::digits;

/// The first process, which gets those whose parent has ended.
const INIT: u32 = 1;

/// Keeps private keys out of core dumps and out of reach of a debugger run by the same user.
pub fn not_dumpable() -> io::Result<()> {
    // Covers core dumps that are piped to a program, which the limit does not, and ptrace (prctl(2)).
    nix::sys::prctl::set_dumpable(false)?;
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // Not setrlimit(): in musl it brings along what stops all threads for it, 2 KB on MIPS.
    // SAFETY: the new value is valid for its size, and the old one is not asked for.
    match unsafe { libc::prlimit(0, libc::RLIMIT_CORE, &none, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on SIGTERM comes when the process that started this one ends, however it ends (PR_SET_PDEATHSIG, prctl(2)): the
/// signal is forgotten by exec() of a program with other rights and by a change of the user, neither of which we do. False:
/// that process has ended already, and init has taken its place.
pub fn end_with_parent() -> bool {
    // It can't fail for a signal that there is.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
    parent_id() != INIT
}

/// Does a person read our stderr?
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Held by the one daemon that runs; the kernel gives it back when the process ends, however it ends. A clean end removes
/// the file too: so whoever locks one asks whether it is still the one of that name, and begins again when it is not.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Why the lock is not ours.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon has it.
    Held {
        /// The lock file.
        path: PathBuf,
        /// Its process; `None` in the instant before it has written that down.
        pid: Option<u32>,
    },
    /// The file can't be made or locked.
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Held { path, pid } => {
                f.write_str("another wgroam ")?;
                if let Some(pid) = pid {
                    write!(f, "(pid {pid}) ")?;
                }
                write!(f, "is running: it holds {}; stop it first", path.display())
            }
            Self::Io { path, error } => write!(f, "can't lock {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl Lock {
    /// Takes the lock, and writes our pid into its file for whoever comes next. Makes the folder if it is missing.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io { path: path.to_owned(), error };
        files::make_folder_of(path).map_err(failed)?;
        // Not truncated: the pid in it may be the holder's.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = loop {
            let file = options.open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => break file,
                // Its holder ended between our two calls, and took the name away.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: path.to_owned(), pid: read_pid(&file) });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
        Ok(Self { file, path: path.to_owned() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still ours.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Is this the file that has the name now?
fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(number), fs::metadata(path).map(number));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

fn read_pid(file: &File) -> Option<u32> {
    // Enough for any pid; the file may be anybody's.
    let mut bytes = [0; 16];
    let length = (&*file).read(&mut bytes).ok()?;
    digits(std::str::from_utf8(&bytes[..length]).ok()?.trim_ascii())
}
