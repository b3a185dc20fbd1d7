// SPDX-License-Identifier: GPL-2.0-only
//! Steps the machine's clock, and is therefore built only with the feature `vm-tests` and run only where WGROAM_VM=1
//! says that the machine is ours.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use wgroam::linux::clock::ClockWatch;

fn step(seconds: i64) {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec())).unwrap();
}

#[test]
fn each_step_of_the_clock_is_reported_once() {
    assert_eq!(std::env::var("WGROAM_VM").as_deref(), Ok("1"), "sets the clock: run it in the VM");
    let mut watch = ClockWatch::open().unwrap();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut SourceFd(&watch.as_raw_fd()), Token(1), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(4);
    // Forward, back, over the timer's own end, and back.
    for seconds in [3600, -3600, 2 * 366 * 24 * 3600, -2 * 366 * 24 * 3600] {
        let start = Instant::now();
        step(seconds);
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "nothing within a minute of a step by {seconds} s");
        assert!(watch.stepped().unwrap());
        assert!(!watch.stepped().unwrap());
        println!("a step by {seconds} s: seen after {:?}", start.elapsed());
    }
    poll.poll(&mut events, Some(Duration::from_secs(1))).unwrap();
    assert!(events.is_empty());
}
