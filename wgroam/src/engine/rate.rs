// SPDX-License-Identifier: GPL-2.0-only
//! A limit on how often something is done: a bucket of `burst` tokens that gets one back every `refill`. Kept as the
//! moment at which the bucket is full again (GCRA), so that a limit costs 8 bytes and no timer.

use std::time::Duration;

use super::instant::Instant;

/// A bucket, full at first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    full_at: Option<Instant>,
}

impl Rate {
    /// When a token is there: `now`, or later.
    pub fn earliest(&self, now: Instant, burst: u32, refill: Duration) -> Instant {
        let slack = refill * burst.saturating_sub(1);
        self.full_at.map_or(now, |full| (full - slack).max(now))
    }

    /// Takes a token, whether there is one or not.
    pub fn take(&mut self, now: Instant, refill: Duration) {
        self.full_at = Some(self.full_at.map_or(now, |full| full.max(now)) + refill);
    }

    /// Takes a token if there is one.
    pub fn allow(&mut self, now: Instant, burst: u32, refill: Duration) -> bool {
        let allowed = self.earliest(now, burst, refill) <= now;
        if allowed {
            self.take(now, refill);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_one_a_refill() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!((0..10).filter(|_| rate.allow(start, 3, SECOND)).count(), 3);
        assert_eq!(rate.earliest(start, 3, SECOND), start + SECOND);
        assert!(!rate.allow(start + SECOND / 2, 3, SECOND));
        assert!(rate.allow(start + SECOND, 3, SECOND));
        assert!(!rate.allow(start + SECOND, 3, SECOND));
    }

    #[test]
    fn a_rest_fills_it_and_no_more() {
        let start = Instant::now();
        let mut rate = Rate::default();
        while rate.allow(start, 3, SECOND) {}
        let later = start + 100 * SECOND;
        assert_eq!((0..10).filter(|_| rate.allow(later, 3, SECOND)).count(), 3);
    }
}
