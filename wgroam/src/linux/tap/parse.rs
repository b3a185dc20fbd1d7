// SPDX-License-Identifier: GPL-2.0-only
//! IP and UDP headers of one captured packet. The kernel's filter has looked already, but a packet is a stranger's
//! bytes: everything is checked again, and nothing here can panic.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::PAYLOAD;

/// What the length field of UDP says for an initiation: its own header of 8 bytes is included.
pub const UDP_LENGTH: u16 = 8 + PAYLOAD as u16;
/// IPv6's header without extensions.
pub const IPV6_HEADER: usize = 40;
/// The more-fragments flag and the fragment's offset, in the fourth 16-bit word of an IPv4 header.
pub const IPV4_FRAGMENT: u16 = 0x3fff;

/// Where a packet went from and to, and its UDP payload.
pub struct Datagram<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: &'a [u8; PAYLOAD],
}

/// Reads a packet that begins at its IP header and may end after its UDP payload (the snap length). `ifindex` becomes
/// the scope of link-local addresses, without which they mean nothing. `None`: not an initiation-sized, unfragmented
/// UDP packet.
pub fn datagram(packet: &[u8], ifindex: u32) -> Option<Datagram<'_>> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet, ifindex),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Datagram<'_>> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    if header < 20
        || *packet.get(9)? != libc::IPPROTO_UDP as u8
        || u16::from_be_bytes(array(packet, 6)?) & IPV4_FRAGMENT != 0
        || usize::from(u16::from_be_bytes(array(packet, 2)?)) < header + usize::from(UDP_LENGTH)
    {
        return None;
    }
    let source = Ipv4Addr::from(array::<4>(packet, 12)?);
    let destination = Ipv4Addr::from(array::<4>(packet, 16)?);
    let (from, to, payload) = udp(packet.get(header..)?)?;
    Some(Datagram {
        source: SocketAddrV4::new(source, from).into(),
        destination: SocketAddrV4::new(destination, to).into(),
        payload,
    })
}

fn ipv6(packet: &[u8], ifindex: u32) -> Option<Datagram<'_>> {
    if *packet.get(6)? != libc::IPPROTO_UDP as u8 || u16::from_be_bytes(array(packet, 4)?) < UDP_LENGTH {
        return None;
    }
    let source = Ipv6Addr::from(array::<16>(packet, 8)?);
    let destination = Ipv6Addr::from(array::<16>(packet, 24)?);
    let (from, to, payload) = udp(packet.get(IPV6_HEADER..)?)?;
    let scoped = |address: Ipv6Addr, port| {
        let scope = if address.is_unicast_link_local() { ifindex } else { 0 };
        SocketAddrV6::new(address, port, 0, scope).into()
    };
    Some(Datagram { source: scoped(source, from), destination: scoped(destination, to), payload })
}

/// Ports and payload. The checksum is not looked at: between two veth devices it is not filled in at all, and a
/// packet is believed for its MACs only.
fn udp(segment: &[u8]) -> Option<(u16, u16, &[u8; PAYLOAD])> {
    if u16::from_be_bytes(array(segment, 4)?) != UDP_LENGTH {
        return None;
    }
    let payload = segment.get(8..)?.first_chunk()?;
    Some((u16::from_be_bytes(array(segment, 0)?), u16::from_be_bytes(array(segment, 2)?), payload))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn udp_segment(port: u16) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(40000u16.to_be_bytes());
        segment.extend(port.to_be_bytes());
        segment.extend(156u16.to_be_bytes());
        // No checksum.
        segment.extend([0, 0]);
        segment.extend([1, 0, 0, 0]);
        segment.extend([7; 144]);
        segment
    }

    /// 192.0.2.1:40000 to 198.51.100.2:`port`.
    pub fn ipv4_packet(options: usize, port: u16) -> Vec<u8> {
        let mut packet = vec![0x40 | (5 + options / 4) as u8, 0];
        packet.extend((20 + options as u16 + 156).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([192, 0, 2, 1, 198, 51, 100, 2]);
        packet.extend(vec![1; options]);
        packet.extend(udp_segment(port));
        packet
    }

    /// fe80::1 port 40000 to 2001:db8::2 port `port`.
    pub fn ipv6_packet(port: u16) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 156, 17, 64];
        packet.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(udp_segment(port));
        packet
    }

    #[test]
    fn addresses_ports_and_payload_are_read() {
        for options in [0, 4, 40] {
            let packet = ipv4_packet(options, 51820);
            let datagram = datagram(&packet, 3).unwrap();
            assert_eq!(datagram.source, "192.0.2.1:40000".parse().unwrap());
            assert_eq!(datagram.destination, "198.51.100.2:51820".parse().unwrap());
            assert_eq!(datagram.payload[..5], [1, 0, 0, 0, 7]);
        }
    }

    #[test]
    fn only_a_link_local_address_has_a_scope() {
        let packet = ipv6_packet(51820);
        let datagram = datagram(&packet, 3).unwrap();
        assert_eq!(datagram.source, SocketAddrV6::new("fe80::1".parse().unwrap(), 40000, 0, 3).into());
        assert_eq!(datagram.destination, "[2001:db8::2]:51820".parse().unwrap());
    }

    #[test]
    fn a_packet_cut_short_anywhere_is_nothing() {
        for packet in [ipv4_packet(0, 1), ipv4_packet(40, 1), ipv6_packet(1)] {
            for length in 0..packet.len() {
                assert!(datagram(&packet[..length], 1).is_none(), "{length}");
            }
            let mut padded = packet.clone();
            padded.extend([0; 20]);
            assert!(datagram(&padded, 1).is_some());
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        // (offset, value): header shorter than a header, longer than the packet; total length; IP version.
        for (at, value) in [(0, 0x44), (0, 0x4f), (3, 175), (0, 0x55)] {
            let mut packet = ipv4_packet(0, 51820);
            packet[at] = value;
            assert!(datagram(&packet, 1).is_none(), "byte {at} = {value:#x}");
        }
        let mut packet = ipv6_packet(51820);
        packet[5] = 155;
        assert!(datagram(&packet, 1).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), ifindex in any::<u32>()) {
            let _ = datagram(&bytes, ifindex);
        }

        #[test]
        fn no_header_makes_it_panic(header in prop::collection::vec(any::<u8>(), 1..60), six in any::<bool>()) {
            let mut packet = if six { ipv6_packet(1) } else { ipv4_packet(8, 1) };
            let nibble = packet[0] & 0xf0;
            packet[..header.len()].copy_from_slice(&header);
            packet[0] = nibble | packet[0] & 0xf;
            let _ = datagram(&packet, 1);
        }
    }
}
