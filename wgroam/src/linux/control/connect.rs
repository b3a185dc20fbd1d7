// SPDX-License-Identifier: GPL-2.0-only
//! The command line's end of the control socket. It waits; the daemon never does.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::frame;

/// So long a busy daemon may take to begin its answer. A status of 5,000 peers takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the daemon could not be asked.
#[derive(Debug)]
pub enum ConnectError {
    /// Nobody listens: no socket, or one that a dead daemon left behind.
    NoDaemon,
    /// The socket is not for this user.
    Denied,
    /// Anything else, such as a daemon that does not answer.
    Io(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NoDaemon => f.write_str("no wgroam daemon is running here; start it with `wgroam run`"),
            Self::Denied => f.write_str("this user may not talk to the wgroam daemon; try as root"),
            Self::Io(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                write!(f, "the wgroam daemon gives no answer within {} s", PATIENCE.as_secs())
            }
            Self::Io(error) => write!(f, "the wgroam daemon can't be asked: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NoDaemon,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io(error),
        }
    }
}

/// An answer whose first line is read.
#[derive(Debug)]
pub struct Answer {
    /// What the command exits with.
    pub code: u8,
    /// What to tell the user on stderr; may be empty.
    pub message: String,
    /// The rest, until the daemon closes. Reading it waits without limit: a watcher may see nothing for days.
    pub body: BufReader<UnixStream>,
}

/// Connects to the daemon behind `path`.
pub fn connect(path: &Path) -> Result<UnixStream, ConnectError> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends one request line and reads the beginning of the answer.
pub fn ask(path: &Path, line: &str) -> Result<Answer, ConnectError> {
    let mut stream = connect(path)?;
    // A daemon that refuses the request may close before it has read all of it; its answer says why.
    match stream.write_all(format!("{line}\n").as_bytes()) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            return Err(ConnectError::Io(error));
        }
        _ => {}
    }
    let mut body = BufReader::new(stream);
    // An error past this point is no missing daemon, whatever its kind.
    let (code, message) = frame::read_header(&mut body).map_err(ConnectError::Io)?;
    body.get_ref().set_read_timeout(None)?;
    Ok(Answer { code, message, body })
}
