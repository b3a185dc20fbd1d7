// SPDX-License-Identifier: GPL-2.0-only
//! The socket of a WireGuard in user space: where it is, and one question asked over it.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use zeroize::Zeroizing;

use super::super::Error;
use crate::model::{Interface, digits};

/// The program answers within milliseconds; one that is silent for so long is stuck.
const TIMEOUT: Duration = Duration::from_secs(1);

/// One that trickles is given up after so long: the daemon does nothing else meanwhile. 5,000 peers are 2 MB.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than any line of the protocol (the longest is a key), short enough for the stack.
const BUFFER: usize = 4096;

/// Where the program that runs this interface listens. Fixed in all of them.
pub fn socket_path(interface: Interface) -> PathBuf {
    PathBuf::from(format!("/var/run/wireguard/{interface}.sock"))
}

/// Does a program listen there? A socket that was left behind by one that died does not count.
pub fn answers(interface: Interface) -> bool {
    // Whoever may not connect learns that from the first real question.
    open(interface).map_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied, |_| true)
}

fn open(interface: Interface) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The time limit for sending is also the one for connecting to a program that accepts nobody.
    let timeout = TimeVal::new(TIMEOUT.as_secs() as _, 0);
    setsockopt(&fd, sockopt::SendTimeout, &timeout)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &timeout)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(&socket_path(interface))?)?;
    Ok(UnixStream::from(fd))
}

/// Sends a request, and hands every line of the answer to `each`.
pub(super) fn ask(
    interface: Interface,
    request: &str,
    each: &mut dyn FnMut(&str, &str) -> Result<(), &'static str>,
) -> Result<(), Error> {
    let mut stream = open(interface).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ECONNREFUSED) => Error::NotWireGuard(interface),
        Some(libc::EACCES | libc::EPERM) => Error::SocketDenied(interface),
        _ => Error::Io(interface, silent(error)),
    })?;
    stream.write_all(request.as_bytes()).map_err(|error| Error::Io(interface, silent(error)))?;
    // Private and preshared keys pass through here: wiped when dropped.
    let mut buffer = Zeroizing::new([0; BUFFER]);
    let mut filled = 0;
    let until = Instant::now() + TOTAL_TIMEOUT;
    loop {
        let read = stream.read(&mut buffer[filled..]).map_err(|error| Error::Io(interface, silent(error)))?;
        filled += read;
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|&byte| byte == b'\n') {
            let line = std::str::from_utf8(&buffer[start..start + length]).unwrap_or_default();
            start += length + 1;
            let Some((key, value)) = line.split_once('=') else { continue };
            if key == "errno" {
                return refused(interface, value);
            }
            each(key, value).map_err(|what| Error::Malformed(interface, what))?;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if read == 0 {
            return Err(Error::Malformed(interface, "it ends too early"));
        }
        if filled == BUFFER {
            return Err(Error::Malformed(interface, "a line is too long"));
        }
        if Instant::now() > until {
            return Err(Error::Io(interface, silent(io::ErrorKind::TimedOut.into())));
        }
    }
}

/// The last line: 0, or an errno (wireguard-go writes it negative, others do not).
fn refused(interface: Interface, value: &str) -> Result<(), Error> {
    match digits(value.strip_prefix('-').unwrap_or(value)) {
        Some(0) => Ok(()),
        Some(errno) => Err(Error::Io(interface, io::Error::from_raw_os_error(errno))),
        None => Err(Error::Malformed(interface, "an errno is no number")),
    }
}

/// "Resource temporarily unavailable" is no help to anybody.
fn silent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "the program that runs this interface does not answer")
        }
        _ => error,
    }
}
