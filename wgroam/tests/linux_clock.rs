// SPDX-License-Identifier: GPL-2.0-only
//! The clock watch where the clock may not be touched; linux_clock_vm.rs steps it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use wgroam::linux::clock::ClockWatch;

#[test]
fn a_clock_that_nobody_sets_wakes_nobody() {
    let mut watch = ClockWatch::open().unwrap();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut SourceFd(&watch.as_raw_fd()), Token(1), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(Duration::from_secs(2))).unwrap();
    assert!(events.is_empty());
    assert!(!watch.stepped().unwrap());
}
