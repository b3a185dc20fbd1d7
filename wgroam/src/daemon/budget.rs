// SPDX-License-Identifier: GPL-2.0-only
//! How much time the verifier may use. A flood costs its sender little; without a bound it would cost a small router
//! its processor. Counted in time and not in packets, so that one number fits a 24Kc and a server.

use std::time::{Duration, Instant};

use crate::model::nanos;

/// The verifier's share of one processor, as a divisor: a tenth.
const SHARE: u64 = 10;
/// What may be used at once after a quiet time, in nanoseconds like all times here: some dozen initiations even on a 24Kc, where
/// each costs some 3 ms.
const BURST: u64 = 200_000_000;
/// Work goes on once this much has been saved up: long enough that the pauses of a flood are few, short enough
/// that an authentic initiation, repeated every 5 s, finds its place.
const RESUME: u64 = 20_000_000;

/// A token bucket of processor time.
pub struct Budget {
    left: u64,
    /// What was used beyond what was left, at most [`BURST`]: the process may have been stopped in the middle, and
    /// shall not be deaf for ten times as long.
    owed: u64,
    filled: Instant,
    exhausted: bool,
}

impl Budget {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self { left: BURST, owed: 0, filled: now, exhausted: false }
    }

    /// May work be done now? After the budget ran out: only once [`RESUME`] is saved up again.
    pub fn allows(&mut self, now: Instant) -> bool {
        let saved = nanos(now.saturating_duration_since(self.filled)) / SHARE;
        self.left = BURST.min(self.left + saved.saturating_sub(self.owed));
        self.owed = self.owed.saturating_sub(saved);
        self.filled = now;
        if self.exhausted && self.left >= RESUME {
            self.exhausted = false;
        }
        !self.exhausted
    }

    /// So much was used.
    pub fn spend(&mut self, used: Duration) {
        let used = nanos(used);
        self.owed = BURST.min(self.owed + used.saturating_sub(self.left));
        self.left = self.left.saturating_sub(used);
        self.exhausted |= self.left == 0;
    }

    /// When work may go on; None when it may now.
    pub fn resumes(&self) -> Option<Instant> {
        let missing = (self.owed + RESUME - self.left.min(RESUME)) * SHARE;
        self.exhausted.then(|| self.filled + Duration::from_nanos(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_a_tenth_of_the_time() {
        let start = Instant::now();
        let mut now = start;
        let mut budget = Budget::new(now);
        let mut worked = Duration::ZERO;
        while now < start + Duration::from_secs(10) {
            if budget.allows(now) {
                budget.spend(Duration::from_millis(3));
                worked += Duration::from_millis(3);
                now += Duration::from_millis(3);
            } else {
                now = budget.resumes().unwrap();
            }
        }
        let most = Duration::from_secs(1) + Duration::from_nanos(BURST + RESUME);
        assert!(worked > Duration::from_millis(900) && worked < most, "{worked:?}");
    }

    #[test]
    fn a_process_that_was_stopped_is_not_deaf_for_long() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.spend(Duration::from_secs(3600));
        assert!(!budget.allows(start));
        let later = start + Duration::from_nanos((BURST + RESUME) * SHARE);
        assert_eq!(budget.resumes(), Some(later));
        assert!(budget.allows(later));
    }

    #[test]
    fn a_quiet_time_is_saved_up_but_not_for_ever() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.spend(Duration::from_nanos(BURST));
        assert!(!budget.allows(start));
        let later = start + Duration::from_secs(3600);
        assert!(budget.allows(later));
        budget.spend(Duration::from_nanos(BURST) - Duration::from_millis(1));
        assert!(budget.allows(later));
        budget.spend(Duration::from_millis(1));
        assert!(!budget.allows(later));
    }
}
