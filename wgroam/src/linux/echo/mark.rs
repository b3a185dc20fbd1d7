// SPDX-License-Identifier: GPL-2.0-only
//! What an echo request of ours looks like, and how its reply is told from all others.

use std::io;
use std::net::IpAddr;

/// The same for both families: type, code, checksum, identifier, sequence number; 2 bytes each but the first two.
pub const HEADER: usize = 8;
/// Secret, interface, target.
pub const DATA: usize = 8 + 4 + 16;

/// Message types (RFC 792, RFC 4443).
pub const ECHO_REQUEST: u8 = 8;
/// See [`ECHO_REQUEST`].
pub const ECHO_REPLY: u8 = 0;
/// See [`ECHO_REQUEST`].
pub const ECHO_REQUEST_V6: u8 = 128;
/// See [`ECHO_REQUEST`].
pub const ECHO_REPLY_V6: u8 = 129;

/// A reply to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who was asked, and answered.
    pub source: IpAddr,
    /// By this link, the one that was asked by.
    pub ifindex: u32,
    /// What [`super::Echo::send`] was given.
    pub token: u16,
}

/// What tells our requests from all others.
pub struct Mark {
    /// The header's identifier.
    pub identifier: u16,
    secret: [u8; 8],
}

impl Mark {
    /// Another one each time.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0u8; 10];
        // Not libc's function: Rust's std names that as one that may be missing, and with LTO a static program then has
        // none, and calls address 0.
        // SAFETY: the buffer is valid for its size. So few bytes come whole (getrandom(2)).
        let count = unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
        if usize::try_from(count) != Ok(bytes.len()) {
            return Err(io::Error::last_os_error());
        }
        let [a, b, secret @ ..] = bytes;
        Ok(Self { identifier: u16::from_ne_bytes([a, b]), secret })
    }

    /// A whole request: header and data.
    pub fn request(&self, kind: u8, ifindex: u32, target: IpAddr, token: u16) -> [u8; HEADER + DATA] {
        let mut packet = [0; HEADER + DATA];
        packet[0] = kind;
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        packet[6..8].copy_from_slice(&token.to_be_bytes());
        packet[HEADER..].copy_from_slice(&self.data(ifindex, target));
        // The kernel does it for ICMPv6, and leaves it to us for ICMP (raw(7)).
        if kind == ECHO_REQUEST {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The reply that this message is, if it is one to a request of ours.
    pub fn reply(&self, kind: u8, message: &[u8], source: IpAddr, ifindex: u32) -> Option<Reply> {
        let (header, data) = message.split_first_chunk::<HEADER>()?;
        let ours = header[..2] == [kind, 0]
            && header[4..6] == self.identifier.to_be_bytes()
            && data.starts_with(&self.data(ifindex, source));
        ours.then(|| Reply { source, ifindex, token: u16::from_be_bytes([header[6], header[7]]) })
    }

    fn data(&self, ifindex: u32, target: IpAddr) -> [u8; DATA] {
        let target = match target {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut data = [0; DATA];
        data[..8].copy_from_slice(&self.secret);
        data[8..12].copy_from_slice(&ifindex.to_be_bytes());
        data[12..].copy_from_slice(&target.octets());
        data
    }
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded >> 16) + folded) as u16
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const MARK: Mark = Mark { identifier: 0x1234, secret: [7; 8] };

    #[test]
    fn a_checksum_makes_the_sum_come_out_as_all_ones() {
        let packet = MARK.request(ECHO_REQUEST, 3, Ipv4Addr::LOCALHOST.into(), 0xffff);
        assert_eq!(checksum(&packet), 0);
        assert_ne!(packet[2..4], [0, 0]);
        // RFC 1071, 3: the sum of these is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn a_reply_counts_only_from_whom_was_asked_by_the_way_that_was_asked() {
        let target = IpAddr::from(Ipv6Addr::LOCALHOST);
        let mut reply = MARK.request(ECHO_REPLY_V6, 3, target, 9);
        assert_eq!(
            MARK.reply(ECHO_REPLY_V6, &reply, target, 3),
            Some(Reply { source: target, ifindex: 3, token: 9 })
        );
        assert_eq!(MARK.reply(ECHO_REPLY_V6, &reply, target, 4), None);
        assert_eq!(MARK.reply(ECHO_REPLY_V6, &reply, Ipv6Addr::UNSPECIFIED.into(), 3), None);
        assert_eq!(MARK.reply(ECHO_REPLY, &reply, target, 3), None);
        for length in 0..reply.len() {
            assert_eq!(MARK.reply(ECHO_REPLY_V6, &reply[..length], target, 3), None);
        }
        assert!(MARK.reply(ECHO_REPLY_V6, &[&reply[..], &[0]].concat(), target, 3).is_some(), "padding");
        // Checksum and token may be anything; nothing else.
        for at in (0..reply.len()).filter(|at| !(2..4).contains(at) && !(6..8).contains(at)) {
            reply[at] ^= 1;
            assert_eq!(MARK.reply(ECHO_REPLY_V6, &reply, target, 3), None, "byte {at}");
            reply[at] ^= 1;
        }
    }
}
