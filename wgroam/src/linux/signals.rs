// SPDX-License-Identifier: GPL-2.0-only
//! Signals as something to read, so that the loop has one place to wait and no code runs in a signal handler.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::signal::{SigHandler, SigSet, Signal as Number, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// HUP.
    Hangup,
    /// TERM.
    Terminate,
    /// INT: Ctrl-C.
    Interrupt,
    /// USR1.
    User1,
}

const KNOWN: [(Number, Signal); 4] = [
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGTERM, Signal::Terminate),
    (Number::SIGINT, Signal::Interrupt),
    (Number::SIGUSR1, Signal::User1),
];

/// The signals that have come; readable when there are any.
pub struct Signals(SignalFd);

impl Signals {
    /// Takes the four signals over for the rest of the process's life, and ignores SIGPIPE: a client that goes away
    /// is an error of write().
    ///
    /// To be called before any thread is started. Threads inherit what is blocked; an older one would still die of
    /// a signal.
    pub fn open() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for (number, _) in KNOWN {
            mask.add(number);
        }
        mask.thread_block()?;
        // SAFETY: no handler of ours is installed.
        unsafe { signal(Number::SIGPIPE, SigHandler::SigIgn)? };
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal, or `None` when there is none. The same one sent twice before it was read comes once.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and an end is only the end for now")]
    pub fn next(&mut self) -> io::Result<Option<Signal>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        Ok(KNOWN.iter().find(|(number, _)| *number as u32 == info.ssi_signo).map(|(_, signal)| *signal))
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
