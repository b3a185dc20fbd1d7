// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam status`, `watch`, `poke` and `reload`: one line to the daemon, and its answer on stdout. The daemon renders.

use std::io::{self, BufRead};
use std::path::Path;

use super::{NO, NO_DAEMON};
use crate::linux::control::{self, ConnectError, SOCKET};
use crate::linux::start;

/// Sends `line`, copies the answer, and returns the exit code that the daemon gave.
pub fn ask(runtime_dir: &Path, line: &str) -> u8 {
    let answer = match control::ask(&runtime_dir.join(SOCKET), line) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("wgroam: {error}");
            return match error {
                ConnectError::NoDaemon => NO_DAEMON,
                _ => NO,
            };
        }
    };
    if !answer.message.is_empty() {
        eprintln!("wgroam: {}", answer.message);
    }
    match copy(answer.body) {
        Ok(()) => answer.code,
        // `wgroam watch | head -1`: nobody reads on, which is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => answer.code,
        Err(error) => {
            eprintln!("wgroam: the daemon's answer broke off: {error}");
            NO_DAEMON
        }
    }
}

/// Line by line as it comes: events are to be seen when they happen.
fn copy(mut body: impl BufRead) -> io::Result<()> {
    loop {
        let bytes = body.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        start::print(bytes)?;
        let read = bytes.len();
        body.consume(read);
    }
}
