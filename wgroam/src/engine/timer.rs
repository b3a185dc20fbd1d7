// SPDX-License-Identifier: GPL-2.0-only
//! Everything that the engine waits for, in one table. (After quinn-proto's connection/timer.rs.)

use std::time::Instant;

use crate::model::Interface;
use crate::sorted::SortedMap;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A look at this device that was planned: it settles, or something is to be judged.
    Look(Interface),
    /// The one tick on which all devices that are due are looked at.
    Poll,
    /// Peers wait for their poke.
    Pace,
    /// What is remembered changed and was not yet told.
    Remember,
}

/// One deadline for each [`Timer`].
#[derive(Debug, Default)]
pub(super) struct TimerTable {
    deadlines: SortedMap<Timer, Instant>,
}

impl TimerTable {
    /// Sets or moves a deadline; none stops it.
    pub fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => self.deadlines.insert(timer, deadline),
            None => self.stop(timer),
        }
    }

    /// No such deadline from now on.
    pub fn stop(&mut self, timer: Timer) {
        self.deadlines.remove(&timer);
    }

    /// The first deadline. Looks at each: there are three, and one for each device.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    /// Takes out one that has expired.
    pub fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = *self.deadlines.iter().find(|&(_, &deadline)| deadline <= now)?.0;
        self.stop(timer);
        Some(timer)
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
