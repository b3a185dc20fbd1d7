// SPDX-License-Identifier: GPL-2.0-only
//! When a device is looked at: on the common tick, and at the moments that something asked for. One question at a time,
//! so that it is known how old an answer can be.

use std::time::Duration;

use super::super::constants::*;
use super::super::instant::{Instant, nanos, within};
use crate::lists;

/// The ticks that all devices share: the engine's start, and every [`SNAPSHOT_INTERVAL`] from there.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Ticks {
    start: Instant,
}

impl Ticks {
    pub fn new(start: Instant) -> Self {
        Self { start }
    }

    /// The `n`th tick after `now`; the first is at least a nanosecond and at most an interval away.
    pub fn after(&self, now: Instant, n: u32) -> Instant {
        let passed = now.nanos_since(self.start);
        let ticks = passed / nanos(SNAPSHOT_INTERVAL);
        self.start.plus_nanos((ticks + u64::from(n)) * nanos(SNAPSHOT_INTERVAL))
    }

    /// The first moment of the look grid that is not before `moment`.
    fn grid(&self, moment: Instant) -> Instant {
        let cells = moment.nanos_since(self.start).div_ceil(nanos(POLL_GRID));
        self.start.plus_nanos(cells * nanos(POLL_GRID))
    }
}

/// The polls at one device.
#[derive(Debug)]
pub(in crate::engine) struct Polls {
    /// Moments at which a snapshot is wanted, each once. Few, by the grid.
    planned: Vec<Instant>,
    /// The question that has no answer yet.
    asked: Option<Instant>,
    /// When the last question was asked.
    last_asked: Option<Instant>,
    /// When the last answer came.
    pub answered: Option<Instant>,
    /// The tick of the next regular look.
    pub tick: Instant,
    /// Until then regular polls come at the fast pace.
    fast_until: Instant,
}

impl Polls {
    /// For a device that was just heard of.
    pub fn new(now: Instant, ticks: &Ticks) -> Self {
        Self {
            planned: Vec::new(),
            asked: None,
            last_asked: None,
            answered: None,
            tick: ticks.after(now, 1),
            fast_until: now + FAST_FOR,
        }
    }

    /// Something happened: look now, and at the fast pace for a while.
    pub fn now(&mut self, now: Instant, ticks: &Ticks) {
        if self.planned.iter().all(|&planned| planned > now) {
            self.planned.push(now);
        }
        self.hurry(now, ticks);
    }

    /// Look at about that time.
    pub fn at(&mut self, moment: Instant, ticks: &Ticks) {
        let moment = ticks.grid(moment);
        if !self.planned.contains(&moment) {
            self.planned.push(moment);
        }
    }

    /// Back to the fast pace.
    pub fn hurry(&mut self, now: Instant, ticks: &Ticks) {
        self.fast_until = now + FAST_FOR;
        self.tick = ticks.after(now, 1);
    }

    /// When the next planned look may be taken, `peers` being the size of the device. Not before an open question is
    /// answered or lost, and not oftener than the size allows.
    pub fn next(&self, peers: usize) -> Option<Instant> {
        let first = *self.planned.iter().min()?;
        let spaced = self.last_asked.map(|asked| asked + spacing(peers));
        let answered = self.asked.map(|asked| asked + ANSWER_LIMIT);
        Some(first.max(spaced.unwrap_or(first)).max(answered.unwrap_or(first)))
    }

    /// Is this the moment to ask? Then the question counts as asked, and is the answer to all that was planned so far.
    pub fn ask_planned(&mut self, now: Instant, peers: usize) -> bool {
        let due = self.next(peers).is_some_and(|next| next <= now);
        if due {
            self.ask(now);
        }
        due
    }

    /// The same for the tick.
    pub fn ask_on_tick(&mut self, now: Instant, ticks: &Ticks) -> bool {
        if self.tick > now {
            return false;
        }
        self.tick = ticks.after(now, if now < self.fast_until { 1 } else { IDLE_TICKS });
        let open = within(self.asked, ANSWER_LIMIT, now);
        if !open {
            self.ask(now);
        }
        !open
    }

    fn ask(&mut self, now: Instant) {
        lists::keep(&mut self.planned, |&moment| moment > now);
        self.asked = Some(now);
        self.last_asked = Some(now);
    }

    /// An answer came. Returns the moment that it describes at the earliest.
    pub fn answer(&mut self, now: Instant) -> Instant {
        self.answered = Some(now);
        self.asked.take().unwrap_or(now)
    }

    /// Sets the pace after an answer. `reason`: is there a reason to look often?
    pub fn pace(&mut self, now: Instant, ticks: &Ticks, reason: bool) {
        if reason {
            self.fast_until = self.fast_until.max(now + FAST_FOR);
        }
        self.tick = ticks.after(now, if now < self.fast_until { 1 } else { IDLE_TICKS });
    }

    /// The device is gone: nothing to look at.
    pub fn clear(&mut self) {
        self.planned.clear();
        self.asked = None;
    }
}

/// The least time from one look to the next.
fn spacing(peers: usize) -> Duration {
    let peers = u32::try_from(peers).unwrap_or(u32::MAX);
    POLL_PER_PEER.saturating_mul(peers).max(POLL_SPACING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn ticks_are_shared_and_never_now() {
        let start = Instant::now();
        let ticks = Ticks::new(start);
        assert_eq!(ticks.after(start, 1), start + SNAPSHOT_INTERVAL);
        assert_eq!(ticks.after(start + SNAPSHOT_INTERVAL, 1), start + 2 * SNAPSHOT_INTERVAL);
        assert_eq!(ticks.after(start + SNAPSHOT_INTERVAL - MILLI, 1), start + SNAPSHOT_INTERVAL);
    }

    #[test]
    fn a_burst_of_wishes_is_one_look() {
        let start = Instant::now();
        let ticks = Ticks::new(start);
        let mut polls = Polls::new(start, &ticks);
        for n in 0..40 {
            polls.at(start + n * MILLI, &ticks);
        }
        assert_eq!(polls.planned.len(), 2);
        assert!(polls.ask_planned(start, 1));
        assert!(!polls.ask_planned(start + POLL_GRID, 1), "one question at a time");
        polls.answer(start + MILLI);
        assert!(polls.ask_planned(start + POLL_GRID, 1));
    }

    #[test]
    fn a_big_device_is_looked_at_less_often() {
        let start = Instant::now();
        let ticks = Ticks::new(start);
        let mut polls = Polls::new(start, &ticks);
        polls.now(start, &ticks);
        assert!(polls.ask_planned(start, 5000));
        polls.answer(start);
        polls.now(start + MILLI, &ticks);
        assert_eq!(polls.next(5000), Some(start + 500 * MILLI));
    }

    #[test]
    fn a_lost_answer_does_not_stop_the_looking() {
        let start = Instant::now();
        let ticks = Ticks::new(start);
        let mut polls = Polls::new(start, &ticks);
        polls.now(start, &ticks);
        assert!(polls.ask_planned(start, 1));
        polls.now(start + MILLI, &ticks);
        assert_eq!(polls.next(1), Some(start + ANSWER_LIMIT));
        assert!(polls.ask_planned(start + ANSWER_LIMIT, 1));
    }
}
