// SPDX-License-Identifier: GPL-2.0-only
//! The classic BPF programs that run in the kernel on every packet that the router receives, so that only
//! initiations to our ports are copied. What rejects most traffic comes first: a TCP packet costs two instructions.
//!
//! Offsets count from the network header, as a SOCK_DGRAM packet socket sees it (packet_rcv() in net/packet/af_packet.c).

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LEN,
    BPF_MSH, BPF_RET, BPF_W, sock_filter,
};

use super::parse::{IPV4_FRAGMENT, IPV6_HEADER, UDP_LENGTH};

/// Up to so many ports are compared in the kernel. A classic jump reaches 255 instructions, so that this could be
/// more; but the loop costs time on each initiation only, and beyond it [`super::Tap`] compares the ports by itself.
pub const MAX_PORTS: usize = 64;

/// The most that is copied of an IPv4 packet: the longest header, UDP's header, an initiation.
pub const SNAP_V4: u32 = 60 + UDP_LENGTH as u32;
/// The same for IPv6, whose header has one length only.
pub const SNAP_V6: u32 = IPV6_HEADER as u32 + UDP_LENGTH as u32;

/// The first four bytes of an initiation, as BPF loads them: type 1 and three zero bytes.
const INITIATION: u32 = 0x0100_0000;

/// What drops everything: no WireGuard interface has a port yet.
fn nothing() -> Vec<sock_filter> {
    vec![statement(BPF_RET | BPF_K, 0)]
}

/// Accepts initiations in unfragmented IPv4 packets, with or without options, addressed to this host and one of
/// `ports`.
pub fn ipv4(ports: &[u16]) -> Vec<sock_filter> {
    if ports.is_empty() {
        return nothing();
    }
    let mut program = Program::default();
    program.load(BPF_B | BPF_ABS, 9);
    program.require(BPF_JEQ, libc::IPPROTO_UDP as u32);
    program.load(BPF_H | BPF_ABS, 6);
    program.refuse(BPF_JSET, u32::from(IPV4_FRAGMENT));
    // X = length of the IPv4 header.
    program.code.push(statement(BPF_LDX | BPF_B | BPF_MSH, 0));
    program.initiation(BPF_IND, 0);
    program.ports(BPF_IND, 0, ports);
    program.finish(SNAP_V4)
}

/// Accepts initiations in IPv6 packets whose next header is UDP, addressed to this host and one of `ports`.
pub fn ipv6(ports: &[u16]) -> Vec<sock_filter> {
    if ports.is_empty() {
        return nothing();
    }
    let mut program = Program::default();
    program.load(BPF_B | BPF_ABS, 6);
    program.require(BPF_JEQ, libc::IPPROTO_UDP as u32);
    program.initiation(BPF_ABS, IPV6_HEADER as u32);
    program.ports(BPF_ABS, IPV6_HEADER as u32, ports);
    program.finish(SNAP_V6)
}

/// Accepts what this host sends if it is as long as an IPv4 packet without options, or an IPv6 packet without extensions, with an
/// initiation in it. Whatever else passes a router costs three instructions.
pub fn outgoing() -> Vec<sock_filter> {
    let mut program = Program::default();
    program.load(BPF_B | BPF_ABS, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32);
    program.require(BPF_JEQ, u32::from(libc::PACKET_OUTGOING));
    program.load(BPF_W | BPF_LEN, 0);
    for header in [20, IPV6_HEADER] {
        program.accepts.push(program.code.len());
        program.code.push(statement(BPF_JMP | BPF_JEQ | BPF_K, header as u32 + u32::from(UDP_LENGTH)));
    }
    // None matched.
    program.code.push(statement(BPF_JMP | BPF_JA, 1));
    program.finish(SNAP_V6)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// A program in the making. It ends in two instructions, accept and drop; jumps to them are filled in at the end.
#[derive(Default)]
struct Program {
    code: Vec<sock_filter>,
    /// Instructions that drop the packet when their comparison fails (false) or holds (true).
    drops: Vec<(usize, bool)>,
    /// Instructions that accept the packet when their comparison holds.
    accepts: Vec<usize>,
}

impl Program {
    fn load(&mut self, how: u32, offset: u32) {
        self.code.push(statement(BPF_LD | how, offset));
    }

    /// The packet is dropped unless `comparison` holds.
    fn require(&mut self, comparison: u32, value: u32) {
        self.drops.push((self.code.len(), false));
        self.code.push(statement(BPF_JMP | comparison | BPF_K, value));
    }

    /// The packet is dropped if `comparison` holds.
    fn refuse(&mut self, comparison: u32, value: u32) {
        self.drops.push((self.code.len(), true));
        self.code.push(statement(BPF_JMP | comparison | BPF_K, value));
    }

    /// UDP's length, the first word of the payload, and that the frame was sent to us: not what we send ourselves
    /// (PACKET_OUTGOING), not what a promiscuous device hears for others (PACKET_OTHERHOST).
    fn initiation(&mut self, how: u32, udp: u32) {
        self.load(BPF_H | how, udp + 4);
        self.require(BPF_JEQ, u32::from(UDP_LENGTH));
        self.load(BPF_W | how, udp + 8);
        self.require(BPF_JEQ, INITIATION);
        self.load(BPF_B | BPF_ABS, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32);
        self.require(BPF_JEQ, u32::from(libc::PACKET_HOST));
    }

    fn ports(&mut self, how: u32, udp: u32, ports: &[u16]) {
        if ports.len() > MAX_PORTS {
            return;
        }
        self.load(BPF_H | how, udp + 2);
        for port in ports {
            self.accepts.push(self.code.len());
            self.code.push(statement(BPF_JMP | BPF_JEQ | BPF_K, u32::from(*port)));
        }
        // None matched.
        self.code.push(statement(BPF_JMP | BPF_JA, 1));
    }

    /// Adds `accept; drop` and points the jumps at them. The longest program has under 90 instructions, so that every
    /// distance fits the eight bits of a jump.
    fn finish(mut self, snap: u32) -> Vec<sock_filter> {
        let accept = self.code.len();
        let drop = accept + 1;
        for (at, when) in self.drops {
            let distance = (drop - at - 1) as u8;
            if when {
                self.code[at].jt = distance;
            } else {
                self.code[at].jf = distance;
            }
        }
        for at in self.accepts {
            self.code[at].jt = (accept - at - 1) as u8;
        }
        self.code.push(statement(BPF_RET | BPF_K, snap));
        self.code.push(statement(BPF_RET | BPF_K, 0));
        self.code
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixDatagram;

    use proptest::prelude::*;

    use super::super::parse::{self, tests::*};
    use super::*;

    /// The kernel's own interpreter: a filter works on local datagrams as it does on packets.
    struct Kernel(UnixDatagram, UnixDatagram);

    impl Kernel {
        fn with(mut program: Vec<sock_filter>) -> Self {
            let (near, far) = UnixDatagram::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
            // SAFETY: the value is valid for its size.
            let result = unsafe {
                libc::setsockopt(
                    far.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_ATTACH_FILTER,
                    (&raw const program).cast(),
                    size_of_val(&program) as u32,
                )
            };
            assert_eq!(result, 0, "the kernel refuses the program: {}", std::io::Error::last_os_error());
            Self(near, far)
        }

        /// Bytes that pass; `None`: dropped.
        fn run(&self, packet: &[u8]) -> Option<usize> {
            // A datagram that the filter drops is reported as EPERM.
            let _ = self.0.send(packet);
            self.1.recv(&mut [0; 4096]).ok()
        }
    }

    #[test]
    fn initiations_pass_whole_and_what_follows_them_is_cut_off() {
        let v4 = Kernel::with(ipv4(&[51820]));
        let v6 = Kernel::with(ipv6(&[51820]));
        for options in [0, 4, 40] {
            let mut packet = ipv4_packet(options, 51820);
            assert_eq!(v4.run(&packet), Some(20 + options + 156));
            packet.resize(1500, 0);
            assert_eq!(v4.run(&packet), Some(SNAP_V4 as usize));
        }
        let mut packet = ipv6_packet(51820);
        assert_eq!(v6.run(&packet), Some(196));
        packet.resize(1500, 0);
        assert_eq!(v6.run(&packet), Some(SNAP_V6 as usize));
    }

    #[test]
    fn every_port_of_a_full_list_passes_and_no_other() {
        let ports: Vec<u16> = (1000..).take(MAX_PORTS).collect();
        let (v4, v6) = (Kernel::with(ipv4(&ports)), Kernel::with(ipv6(&ports)));
        for port in 990..1000 + MAX_PORTS as u16 + 10 {
            assert_eq!(v4.run(&ipv4_packet(0, port)).is_some(), ports.contains(&port), "{port}");
            assert_eq!(v6.run(&ipv6_packet(port)).is_some(), ports.contains(&port), "{port}");
        }
    }

    #[test]
    fn no_ports_let_nothing_pass_and_too_many_any_initiation() {
        assert_eq!(Kernel::with(ipv4(&[])).run(&ipv4_packet(0, 51820)), None);
        assert_eq!(Kernel::with(ipv6(&[])).run(&ipv6_packet(51820)), None);
        let many: Vec<u16> = (1..=MAX_PORTS as u16 + 1).collect();
        let kernel = Kernel::with(ipv4(&many));
        assert!(kernel.run(&ipv4_packet(0, 51820)).is_some());
        let mut data = ipv4_packet(0, 51820);
        data[28] = 4;
        assert_eq!(kernel.run(&data), None);
    }

    #[test]
    fn fragments_other_protocols_lengths_and_messages_are_dropped() {
        let v4 = Kernel::with(ipv4(&[51820]));
        let v6 = Kernel::with(ipv6(&[51820]));
        // (offset, value): MF flag, offset of a later fragment, TCP, UDP length, message type, reserved byte, port.
        for (at, value) in [(6, 0x20), (7, 1), (9, 6), (24, 1), (25, 155), (28, 2), (31, 1), (22, 0)] {
            let mut packet = ipv4_packet(0, 51820);
            packet[at] = value;
            assert_eq!(v4.run(&packet), None, "IPv4 byte {at}");
        }
        for (at, value) in [(6, 44), (6, 0), (44, 1), (45, 157), (48, 4), (49, 1), (43, 0)] {
            let mut packet = ipv6_packet(51820);
            packet[at] = value;
            assert_eq!(v6.run(&packet), None, "IPv6 byte {at}");
        }
        // "Don't fragment" is no fragment.
        let mut packet = ipv4_packet(0, 51820);
        packet[6] = 0x40;
        assert!(v4.run(&packet).is_some());
    }

    proptest! {
        /// What the parser takes for an initiation to our port, the filter lets through whole. (Not the other way
        /// round: the filter leaves the IP lengths to the parser.)
        #[test]
        fn the_filter_drops_nothing_that_the_parser_takes(
            options in 0usize..=10,
            changes in prop::collection::vec((0usize..260, any::<u8>()), 0..4),
            length in 0usize..260,
            six in any::<bool>(),
        ) {
            let mut packet = if six { ipv6_packet(51820) } else { ipv4_packet(options * 4, 51820) };
            let whole = packet.len();
            for (at, value) in changes {
                if let Some(byte) = packet.get_mut(at) {
                    *byte = value;
                }
            }
            packet.truncate(length.max(whole / 2));
            let parsed = parse::datagram(&packet, 1)
                .is_some_and(|d| d.destination.port() == 51820 && d.payload[..4] == [1, 0, 0, 0]);
            let six = packet[0] >> 4 == 6;
            let kernel = Kernel::with(if six { ipv6(&[51820]) } else { ipv4(&[51820]) });
            let passed = kernel.run(&packet);
            prop_assert!(!parsed || passed == Some(packet.len()));
        }
    }
}
