// SPDX-License-Identifier: GPL-2.0-only
//! Everything that the engine waits for, in one table. (After quinn-proto's connection/timer.rs.)

use std::time::Instant;

use crate::model::Interface;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A look at this device that was planned: it settles, or something is to be judged.
    Look(Interface),
    /// The one tick on which all devices that are due are looked at.
    Poll,
    /// Peers wait for their poke.
    Pace,
    /// A name is to be asked for.
    Names,
    /// Routes that an earlier life left behind are to be judged.
    Routes,
    /// What is remembered changed and was not yet told.
    Remember,
}

/// One deadline for each [`Timer`]. There are a few, and one for each device: a list is quick enough.
#[derive(Debug, Default)]
pub(super) struct TimerTable {
    deadlines: Vec<(Timer, Instant)>,
}

impl TimerTable {
    /// Sets or moves a deadline; none stops it.
    pub fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        self.stop(timer);
        self.deadlines.extend(deadline.map(|deadline| (timer, deadline)));
    }

    /// No such deadline from now on.
    pub fn stop(&mut self, timer: Timer) {
        self.deadlines.retain(|&(known, _)| known != timer);
    }

    /// The first deadline.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.iter().map(|&(_, deadline)| deadline).min()
    }

    /// Takes out one that has expired.
    pub fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        let expired = self.deadlines.iter().position(|&(_, deadline)| deadline <= now)?;
        Some(self.deadlines.swap_remove(expired).0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_deadline_comes_first_and_expires_once() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut timers = TimerTable::default();
        assert_eq!(timers.next_timeout(), None);
        timers.set(Timer::Pace, Some(later));
        timers.set(Timer::Poll, Some(now));
        assert_eq!(timers.next_timeout(), Some(now));
        assert_eq!(timers.take_expired(now), Some(Timer::Poll));
        assert_eq!(timers.take_expired(now), None);
        assert_eq!(timers.next_timeout(), Some(later));
        timers.set(Timer::Pace, None);
        assert_eq!(timers.next_timeout(), None);
    }
}
