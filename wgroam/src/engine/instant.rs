// SPDX-License-Identifier: GPL-2.0-only
//! Moments, as the engine counts them. The standard library's `Instant` has seconds and nanoseconds, on a 32-bit router
//! four words that are compared and added part by part. This one is a single number (docs/design/size.md).

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

pub(super) use crate::model::nanos;

/// A moment: half nanoseconds since some 73 years before the engine's start, so that what lies before it is one too. The
/// number is odd: hence never 0, so that an `Option` takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(NonZeroU64);

/// Centuries fit: nothing here can wrap.
impl Instant {
    /// The engine's start.
    pub const START: Self = Self::of(1 << 62);

    const fn of(halves: u64) -> Self {
        match NonZeroU64::new(halves | 1) {
            Some(odd) => Self(odd),
            None => unreachable!(),
        }
    }

    /// How many nanoseconds it is later than that; 0 when it is earlier.
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get()) >> 1
    }

    /// How much later it is than that; nothing when it is earlier.
    #[inline(never)]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// So many nanoseconds later.
    #[inline(never)]
    pub fn plus_nanos(self, nanos: u64) -> Self {
        Self::of(self.0.get().wrapping_add(nanos << 1))
    }

    /// So many nanoseconds earlier.
    #[inline(always)]
    fn minus_nanos(self, nanos: u64) -> Self {
        Self::of(self.0.get().wrapping_sub(nanos << 1))
    }

    /// For tests, which need a moment and no clock.
    #[cfg(test)]
    pub fn now() -> Self {
        Self::START
    }
}

/// Is it at least so long ago? Not what never was.
#[inline(always)]
pub(super) fn passed(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    is_over(since, nanos(time), now)
}

/// Is it less than so long ago? Not what never was.
#[inline(always)]
pub(super) fn within(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    since.is_some() && !passed(since, time, now)
}

/// One function for all, with the time as a number: a constant where it is called.
#[inline(never)]
fn is_over(since: Option<Instant>, nanos: u64, now: Instant) -> bool {
    since.is_some_and(|since| now >= since.plus_nanos(nanos))
}

/// The earlier of two moments that may not be.
#[inline(never)]
pub(super) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline(always)]
    fn add(self, duration: Duration) -> Self {
        self.plus_nanos(nanos(duration))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    #[inline(always)]
    fn sub(self, duration: Duration) -> Self {
        self.minus_nanos(nanos(duration))
    }
}

#[cfg(test)]
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_as_the_standard_library_does() {
        let theirs = std::time::Instant::now();
        let ours = Instant::now();
        for (a, b) in [(0, 1), (1, 0), (7_000_000_001, 3_999_999_999), (86_400_000_000_000, 1)] {
            let (a, b) = (Duration::from_nanos(a), Duration::from_nanos(b));
            let since = (theirs + a).saturating_duration_since(theirs + b);
            assert_eq!((ours + a).saturating_duration_since(ours + b), since);
            assert_eq!((ours + a).cmp(&(ours + b)), (theirs + a).cmp(&(theirs + b)));
            assert_eq!(ours + a - a, ours);
        }
    }

    #[test]
    fn a_moment_before_the_start_is_one() {
        let year = Duration::from_secs(365 * 86_400);
        assert!(Instant::START - 70 * year < Instant::START - 69 * year);
        assert_eq!(Instant::START - 70 * year + 200 * year, Instant::START + 130 * year);
    }
}
