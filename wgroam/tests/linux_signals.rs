// SPDX-License-Identifier: GPL-2.0-only
//! Signals, sent to a process of its own: a test's threads would take them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid};
use wgroam::linux::signals::{Signal, Signals};

/// Runs `test` in a child process with one thread, and fails if it does.
fn in_child(test: impl FnOnce() + std::panic::UnwindSafe) {
    // SAFETY: glibc's allocator works after fork(), and the child uses nothing else of the parent's threads.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0))
        }
        ForkResult::Child => {
            let failed = std::panic::catch_unwind(test).is_err();
            // SAFETY: ends the child, without the parent's destructors.
            unsafe { libc::_exit(i32::from(failed)) }
        }
    }
}

fn send(number: Number) {
    kill(getpid(), number).unwrap();
}

#[test]
fn each_signal_is_read_and_ends_nothing() {
    in_child(|| {
        let mut signals = Signals::open().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.registry().register(&mut SourceFd(&signals.as_raw_fd()), Token(1), Interest::READABLE).unwrap();
        let mut events = Events::with_capacity(4);
        assert_eq!(signals.next().unwrap(), None);
        for (number, signal) in [
            (Number::SIGHUP, Signal::Hangup),
            (Number::SIGTERM, Signal::Terminate),
            (Number::SIGINT, Signal::Interrupt),
            (Number::SIGUSR1, Signal::User1),
        ] {
            send(number);
            send(number);
            poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
            assert!(!events.is_empty());
            assert_eq!(signals.next().unwrap(), Some(signal));
            assert_eq!(signals.next().unwrap(), None);
        }
    });
}

#[test]
fn a_thread_started_later_does_not_take_them() {
    in_child(|| {
        let mut signals = Signals::open().unwrap();
        let (mut stop, mut stopped) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || stopped.read_exact(&mut [0]).unwrap());
        send(Number::SIGTERM);
        assert_eq!(signals.next().unwrap(), Some(Signal::Terminate));
        stop.write_all(&[0]).unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn writing_to_a_client_that_left_is_an_error_and_no_signal() {
    in_child(|| {
        let _signals = Signals::open().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert_eq!(near.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        send(Number::SIGPIPE);
    });
}

#[test]
fn a_signal_of_another_kind_still_ends_the_process() {
    // SAFETY: as above.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            let status = waitpid(Pid::from_raw(child.as_raw()), None).unwrap();
            assert!(matches!(status, WaitStatus::Signaled(_, Number::SIGUSR2, _)), "{status:?}");
        }
        ForkResult::Child => {
            let _signals = Signals::open();
            send(Number::SIGUSR2);
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
    }
}
