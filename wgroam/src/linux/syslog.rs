// SPDX-License-Identifier: GPL-2.0-only
//! The system's log: one datagram a record to /dev/log, as syslog(3) does it. The C function is not used because it
//! waits when the logger is slow.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the logger listens: logd on OpenWrt, journald or rsyslogd elsewhere.
pub const DEV_LOG: &str = "/dev/log";

/// Writes each record as one datagram. A record that the logger does not take, because it is not there or has not kept
/// up, goes to stderr: nothing waits, and nothing is kept.
pub struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Sends to the logger behind `path`. It need not be there yet, and may restart.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None }
    }

    fn send(&mut self, record: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(record) {
                Ok(_) => return Ok(()),
                // It lives, and is busy.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        socket.send(record)?;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Write for Syslog {
    /// Takes a whole record, `<PRIORITY>wgroam[PID]: text`, with no line end.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if self.send(record).is_err() {
            let text = record.iter().position(|byte| *byte == b'>').map_or(record, |end| &record[end + 1..]);
            let mut stderr = io::stderr().lock();
            let _ = stderr.write_all(text).and_then(|()| stderr.write_all(b"\n"));
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
