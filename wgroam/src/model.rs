// SPDX-License-Identifier: GPL-2.0-only
//! The words that every part uses: keys, interface names, times on the wall, what a WireGuard device looks like.
//! Plain data; nothing here decides anything.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A WireGuard public key (Curve25519 point, 32 bytes). Shown as the 44 characters of base64 that `wg` shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(4))]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The beginning and end of the key, `kT3x…Zw=`, for places with little room. Not unique.
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("{}…{}", &text[..4], &text[41..])
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut buffer = [0; 44];
        // 32 bytes are always 44 characters of base64.
        f.pad(Base64::encode(&self.0, &mut buffer).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PublicKey({})", self.short())
    }
}

/// An interface's private key. Wiped when dropped, compared in constant time, never shown, not to be cloned. Boxed, so
/// that handing it on moves a pointer and leaves no copy on the stack.
pub struct PrivateKey(Box<Zeroizing<[u8; 32]>>);

impl PrivateKey {
    /// Takes the key over. The caller wipes what it was copied from.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        Self(key)
    }

    /// The key itself, for the one computation that needs it.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Overwrites the stack below the caller. Call it after a computation with a secret: what the cryptography left there
/// in temporaries of its own, which nobody else wipes, would stay until something happens to be written over it.
#[inline(never)]
pub fn wipe_stack() {
    // Deeper than any function here goes; measured by the test that looks for keys in the daemon's memory.
    let mut space = [0u64; 2048];
    space.zeroize();
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

/// The text is not a WireGuard key: 44 characters of base64, the last one `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key is 44 characters of base64 that end in '=', as `wg show` prints it")
    }
}

impl std::error::Error for NotAKey {}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut key = [0; 32];
        match Base64::decode(text, &mut key) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(key)),
            _ => Err(NotAKey),
        }
    }
}

/// Which peer: a key may be known on several interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId {
    /// On this interface.
    pub interface: Interface,
    /// Who it is.
    pub key: PublicKey,
}

/// The name of a network interface: 1 to 15 bytes (IFNAMSIZ - 1), no slash, no white space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(4))]
pub struct Interface {
    length: u8,
    bytes: [u8; 15],
}

impl Interface {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Made from a str and cut nowhere, so it is UTF-8; an empty name would only be shown as such.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// The text is not the name of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnInterface;

impl fmt::Display for NotAnInterface {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an interface's name has 1 to 15 characters, without spaces, slashes and colons")
    }
}

impl std::error::Error for NotAnInterface {}

impl FromStr for Interface {
    type Err = NotAnInterface;

    /// Takes what the kernel's dev_valid_name() takes, short of control characters.
    fn from_str(text: &str) -> Result<Self, NotAnInterface> {
        let refused = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
        if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(refused) {
            return Err(NotAnInterface);
        }
        let mut bytes = [0; 15];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { length: text.len() as u8, bytes })
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A time on the wall, seconds and nanoseconds since 1970. The wall clock of a router jumps: it is for showing
/// and for telling "newer" from "the same", never for timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: u64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl WallTime {
    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: WallTime) -> Duration {
        Duration::new(self.seconds, self.nanos).saturating_sub(Duration::new(earlier.seconds, earlier.nanos))
    }
}

impl From<SystemTime> for WallTime {
    /// A clock before 1970 counts as 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs(), nanos: since.subsec_nanos() }
    }
}

/// A WireGuard interface as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub interface: Interface,
    /// The kernel's number for it: another number under the same name means that it was created anew.
    pub ifindex: u32,
    /// Is the link up? WireGuard listens only then.
    pub up: bool,
    /// None while no private key is set.
    pub public_key: Option<PublicKey>,
    /// UDP port, 0 while there is none.
    pub listen_port: u16,
    /// What WireGuard's own packets are marked with, for rules that choose their routing table; 0 = nothing.
    pub fwmark: u32,
    /// In the order the backend gave them.
    pub peers: Vec<Peer>,
}

/// A peer of a WireGuard interface as it is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub public_key: PublicKey,
    /// Where WireGuard sends its packets to now.
    pub endpoint: Option<SocketAddr>,
    /// When the last handshake was completed, by the wall clock of that moment.
    pub last_handshake: Option<WallTime>,
    /// Bytes received. Counts authenticated packets only (receive.c: update_rx_stats), so a rise is proof of life.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Persistent keepalive in seconds, 0 = off.
    pub keepalive: u16,
}

impl Peer {
    /// One of which nothing is known yet.
    pub fn new(public_key: PublicKey) -> Self {
        Self { public_key, endpoint: None, last_handshake: None, rx_bytes: 0, tx_bytes: 0, keepalive: 0 }
    }
}

/// The number that a text is: digits and nothing else, no sign. One function for all kinds of numbers.
pub fn digits<N: TryFrom<u64>>(text: &str) -> Option<N> {
    fn number(text: &str) -> Option<u64> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
    }
    number(text).and_then(|number| number.try_into().ok())
}

/// All nanoseconds of what is shorter than centuries.
pub const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().wrapping_mul(1_000_000_000).wrapping_add(duration.subsec_nanos() as u64)
}

/// Can no host have this address? Nowhere, everybody at once, and IPv4 in the disguise of IPv6, which is for sockets alone.
pub fn is_nobodys(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.short(), "xTIB…Dg=");
    }

    #[test]
    fn half_a_key_is_no_key() {
        for text in [
            "",
            "xTIB",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg",
            "!TIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        assert_eq!("wg0".parse::<Interface>().unwrap().as_str(), "wg0");
        for text in ["", ".", "..", "a/b", "a b", "sixteen-letters-", "a:b"] {
            assert_eq!(text.parse::<Interface>(), Err(NotAnInterface), "{text}");
        }
    }

    #[test]
    fn digits_are_a_number_as_far_as_it_holds_them() {
        assert_eq!(digits::<u16>("065535"), Some(65_535));
        assert_eq!(digits::<u16>("65536"), None);
        assert_eq!(digits::<u64>("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", "1 ", "18446744073709551616"] {
            assert_eq!(digits::<u64>(text), None, "{text}");
        }
    }
}
