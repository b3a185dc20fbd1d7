// SPDX-License-Identifier: GPL-2.0-only
//! Steps of the wall clock, as when NTP answers for the first time: a timer that never fires, which the kernel cancels
//! when somebody sets the clock (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)). Waking from suspend counts as a step.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use nix::unistd;

/// How far ahead the timer is set. It is armed anew when it does fire. Not the end of time, which a 32-bit kernel
/// could not hold.
const FAR_AHEAD_SECONDS: i32 = 366 * 24 * 3600;

/// Watches the wall clock; readable after a step.
pub struct ClockWatch(TimerFd);

impl ClockWatch {
    /// Watches from now on.
    pub fn open() -> io::Result<Self> {
        let watch =
            Self(TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?);
        watch.arm()?;
        Ok(watch)
    }

    /// Was the clock set since the last call? To be asked when the descriptor is readable.
    pub fn stepped(&mut self) -> io::Result<bool> {
        let stepped = match unistd::read(self.0.as_fd(), &mut [0; 8]) {
            Err(Errno::ECANCELED) => true,
            // It fired: a year has passed.
            Ok(_) => false,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        Ok(self.arm()? || stepped)
    }

    /// Sets the timer. True: the clock was set at that very moment, and the timer stands all the same
    /// (do_timerfd_settime() in fs/timerfd.c).
    fn arm(&self) -> io::Result<bool> {
        let now = clock_gettime(Clock::CLOCK_REALTIME)?.tv_sec();
        let at = TimeSpec::new(now.saturating_add(FAR_AHEAD_SECONDS.into()), 0);
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        match self.0.set(Expiration::OneShot(at), flags) {
            Ok(()) => Ok(false),
            Err(Errno::ECANCELED) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for ClockWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The earlier of two moments that may not be.
#[inline(never)]
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
