// SPDX-License-Identifier: GPL-2.0-only
//! The listening socket in the file system: made so that it is never open to more than its owner and group, replaced
//! when a dead daemon left it, removed at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{self, Mode};

use crate::linux::files;

/// Connections that the kernel keeps waiting; further callers wait in connect().
const BACKLOG: i32 = 64;

/// The socket's name in the file system; removed on drop, if it is still ours.
pub struct Name {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Drop for Name {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, mode 0660, non-blocking.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Name)> {
    files::make_folder_of(path)?;
    remove_stale(path)?;
    let fd = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    // The name inherits the socket's own mode (unix_bind_bsd() in net/unix/af_unix.c), less the umask: it is never
    // wider than 0660, and chmod then gives back what the umask took.
    stat::fchmod(&fd, Mode::from_bits_truncate(0o660))?;
    bind(&fd, path)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let metadata = fs::symlink_metadata(path)?;
    let name = Name { path: path.to_owned(), id: (metadata.dev(), metadata.ino()) };
    socket::listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok((UnixListener::from(fd), name))
}

fn bind(fd: &OwnedFd, path: &Path) -> io::Result<()> {
    Ok(socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?)
}

/// Removes a socket behind which nobody listens. A live daemon's socket and anything that is no socket are errors.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something else than a socket",
            ));
        }
        Ok(_) => {}
    }
    // Does not wait: a daemon whose backlog is full lives, too.
    let fd = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    match socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        Err(errno) if errno != Errno::EAGAIN => Err(errno.into()),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there; stop it first")),
    }
}
