// SPDX-License-Identifier: GPL-2.0-only
//! TAI64N labels: the clock of a peer, as far as we ever see it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A TAI64N label as an initiation carries it: 8 bytes of seconds, 4 of nanoseconds, big-endian. Ordered by time.
///
/// WireGuard blurs the nanoseconds (to some 17 ms in Go, 34 ms in Linux), so two labels may be equal although one
/// initiation is younger. As text it is 24 lower-case hexadecimal digits. [`Timestamp::default`] is older than
/// every real label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(align(4))]
pub struct Timestamp(pub [u8; 12]);

impl Timestamp {
    /// How long after `earlier` this label is; zero when it is not after it.
    pub fn since(&self, earlier: &Timestamp) -> Duration {
        self.since_epoch().saturating_sub(earlier.since_epoch())
    }

    /// The label as a distance from TAI64's second zero. The peer chooses all 12 bytes: its "nanoseconds" may be
    /// more than a second, and adding them may not overflow.
    fn since_epoch(&self) -> Duration {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = self.0;
        let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let nanos = u32::from_be_bytes([n0, n1, n2, n3]);
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a label: 24 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATimestamp;

impl fmt::Display for NotATimestamp {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a TAI64N label is 24 hexadecimal digits")
    }
}

impl std::error::Error for NotATimestamp {}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        // A digit at a time: u8::from_str_radix would also take a sign.
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NotATimestamp);
        let text: &[u8; 24] = text.as_bytes().try_into().map_err(|_| NotATimestamp)?;
        let mut label = [0; 12];
        for (byte, pair) in label.iter_mut().zip(text.chunks_exact(2)) {
            // Two digits of 0 to 15 fit a byte.
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(seconds: u64, nanos: u32) -> Timestamp {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&seconds.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Timestamp(bytes)
    }

    #[test]
    fn since_counts_seconds_and_nanoseconds() {
        let earlier = label(1 << 62, 900_000_000);
        let later = label((1 << 62) + 2, 100_000_000);
        assert_eq!(later.since(&earlier), Duration::from_millis(1200));
        assert_eq!(earlier.since(&later), Duration::ZERO);
        assert_eq!(later.since(&later), Duration::ZERO);
    }

    #[test]
    fn hostile_labels_do_not_panic() {
        let extremes = [label(0, 0), label(0, u32::MAX), label(u64::MAX, 0), label(u64::MAX, u32::MAX)];
        for a in extremes {
            for b in extremes {
                assert!(a.since(&b) == Duration::ZERO || b.since(&a) == Duration::ZERO);
            }
        }
        assert_eq!(label(u64::MAX, u32::MAX).since(&label(0, 0)), Duration::MAX);
    }

    #[test]
    fn the_order_is_the_order_in_time() {
        assert!(label(1, 0) > label(0, 999_999_999));
        assert!(label(256, 0) > label(255, 0));
        assert!(label(7, 256) > label(7, 255));
        assert!(Timestamp::default() < label(0, 1));
    }

    #[test]
    fn text_reads_back_as_it_was_written() {
        let text = "400000006a0f1c2b0a1b2c3d";
        let label: Timestamp = text.parse().unwrap();
        assert_eq!(label.to_string(), text);
        assert_eq!(format!("{label:?}"), text);
        assert_eq!("400000006A0F1C2B0A1B2C3D".parse(), Ok(label));
    }

    #[test]
    fn anything_else_is_no_label() {
        let too_long = "400000006a0f1c2b0a1b2c3d0";
        for text in
            ["", "40", &too_long[..23], too_long, "+00000006a0f1c2b0a1b2c3d", "400000006a0f1c2b0a1b2cß"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }
}
