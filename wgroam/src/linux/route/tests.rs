// SPDX-License-Identifier: GPL-2.0-only
//! The monitor without a kernel that answers.

#![allow(clippy::unwrap_used)]

use super::*;

/// A kernel that can't be asked: this family has no such question.
fn deaf() -> Socket {
    Socket::asking(SockProtocol::NetlinkGeneric).unwrap()
}

/// Whoever calls this ends with an error of start-up only: a moment without memory must not end the daemon.
#[test]
fn what_could_not_be_asked_is_asked_again_after_a_while() {
    let mut monitor = RouteMonitor::open().unwrap();
    let (start, wan) = (Instant::now(), monitor.settled.clone());
    let _ = monitor.read(start).unwrap();
    monitor.restless = None;
    let asking = std::mem::replace(&mut monitor.questions, deaf());
    monitor.stale = true;
    monitor.now.links.clear();

    assert!(monitor.read(start).is_err());
    let retry = start + RETRY;
    assert_eq!(monitor.deadline(), Some(retry));
    // Until then neither errors nor conclusions.
    assert!(monitor.read(start + RETRY / 2).is_ok());
    assert_eq!(monitor.settled(start + RETRY / 2).unwrap(), []);
    assert!(monitor.read(retry).is_err());

    monitor.questions = asking;
    let retry = retry + RETRY;
    assert_eq!(monitor.deadline(), Some(retry));
    assert!(monitor.read(retry).is_ok());
    assert_eq!(monitor.now.links.len(), wan.links.len());
    assert_eq!(monitor.deadline(), Some(retry + QUIET));

    monitor.questions = deaf();
    assert!(monitor.settled(retry + QUIET).is_err());
    assert_eq!(monitor.deadline(), Some(retry + QUIET + RETRY));
    assert_eq!(monitor.settled(retry + QUIET + RETRY / 2).unwrap(), []);
}
