// SPDX-License-Identifier: GPL-2.0-only
//! A network namespace for each test thread, cables in it, and hand-made packets. Needs root; fails without.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use wgroam::linux::tap::{Captured, Tap};

pub const PORT: u16 = 51820;
/// The near end of every cable: what the router under test owns.
pub const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const ETH_P_IP: u16 = 0x0800;
pub const ETH_P_IPV6: u16 = 0x86dd;
const MARKER_PORT: u16 = 9;

/// Moves this thread into a network namespace of its own, which is gone with the thread.
pub fn own_namespace() {
    // SAFETY: no pointers; changes this thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "needs root: {}", std::io::Error::last_os_error());
    ip("link set lo up");
}

/// Runs `ip` in this thread's namespace.
pub fn ip(arguments: &str) {
    run("ip", arguments);
}

pub fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
}

pub fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// The far end of a cable, to send frames from.
pub struct Wire(OwnedFd);

impl Wire {
    /// A veth pair, `name` and `name-far`, both up.
    pub fn plug(name: &str) -> Self {
        ip(&format!("link add name {name} type veth peer name {name}-far"));
        ip(&format!("link set {name} address 02:00:00:00:00:01 up"));
        ip(&format!("link set {name}-far address 02:00:00:00:00:02 up"));
        Self::on(&format!("{name}-far"))
    }

    /// Sends from an existing device.
    pub fn on(device: &str) -> Self {
        // SAFETY: the pointers are valid for their sizes, the descriptor is new and ours.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0, "needs root: {}", std::io::Error::last_os_error());
            let fd = OwnedFd::from_raw_fd(fd);
            // A queue drops everything until the device's new carrier has been noticed; so none is used.
            let on: libc::c_int = 1;
            let option = (&raw const on).cast();
            assert_eq!(
                libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, option, 4),
                0
            );
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = ifindex(device) as i32;
            let length = size_of_val(&address) as u32;
            assert_eq!(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length), 0);
            Self(fd)
        }
    }

    /// Sends an IP packet to the near end.
    pub fn send(&self, packet: &[u8]) {
        self.frame(NEAR_MAC, &[], packet);
    }

    /// Sends an IP packet in a frame to `mac`, with `tag` (as a VLAN's) before the type.
    pub fn frame(&self, mac: [u8; 6], tag: &[u8], packet: &[u8]) {
        let kind = if packet[0] >> 4 == 6 { ETH_P_IPV6 } else { ETH_P_IP };
        self.raw(mac, &[tag, &kind.to_be_bytes(), packet].concat());
    }

    /// Sends any frame: `rest` begins with its type.
    pub fn raw(&self, mac: [u8; 6], rest: &[u8]) {
        let frame = [&mac, &FAR_MAC, rest].concat();
        nix::unistd::write(&self.0, &frame).unwrap();
    }
}

/// The payload of an initiation, told apart by `tag`.
pub fn initiation(tag: u8) -> Vec<u8> {
    let mut payload = vec![tag; 148];
    payload[..4].copy_from_slice(&[1, 0, 0, 0]);
    payload
}

pub fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    [&[40000u16, port, length, 0].map(u16::to_be_bytes).concat(), payload].concat()
}

/// 192.0.2.1 to 198.51.100.2, with options (a multiple of 4 bytes), flags and fragment offset.
pub fn ipv4(options: &[u8], fragment: u16, body: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + body.len()) as u16).to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, libc::IPPROTO_UDP as u8, 0, 0]);
    packet.extend(Ipv4Addr::new(192, 0, 2, 1).octets());
    packet.extend(Ipv4Addr::new(198, 51, 100, 2).octets());
    packet.extend(options);
    packet.extend(body);
    // The tap does not look at the checksum, but the kernel's input chain does.
    let sum =
        packet[..header].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// 2001:db8::1 to 2001:db8::2.
pub fn ipv6(next_header: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(body);
    packet
}

pub fn initiation_v4(tag: u8) -> Vec<u8> {
    ipv4(&[], 0, &udp(PORT, &initiation(tag)))
}

pub fn initiation_v6(tag: u8) -> Vec<u8> {
    ipv6(libc::IPPROTO_UDP as u8, &udp(PORT, &initiation(tag)))
}

/// A tap in the loop that it is made for.
pub struct Watch {
    pub tap: Tap,
    poll: Poll,
    ports: Vec<u16>,
}

impl Watch {
    pub fn start(ports: &[u16]) -> Self {
        let mut tap = Tap::open().unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut tap, Token(1), Interest::READABLE).unwrap();
        let mut watch = Self { tap, poll, ports: Vec::new() };
        watch.set_ports(ports);
        watch
    }

    /// Adds the marker's port.
    pub fn set_ports(&mut self, ports: &[u16]) {
        self.ports = [ports, &[MARKER_PORT]].concat();
        self.tap.set_ports(&self.ports).unwrap();
    }

    /// What the tap has seen, up to a marker of each protocol that is sent now, over `wire`. A cable keeps the order,
    /// so that what is not among it was not seen at all.
    pub fn seen(&mut self, wire: &Wire) -> Vec<Captured> {
        wire.send(&ipv4(&[], 0, &udp(MARKER_PORT, &initiation(0))));
        wire.send(&ipv6(libc::IPPROTO_UDP as u8, &udp(MARKER_PORT, &initiation(0))));
        self.until_markers(2)
    }

    pub fn until_markers(&mut self, mut markers: usize) -> Vec<Captured> {
        let mut seen = Vec::new();
        let mut events = Events::with_capacity(4);
        let deadline = Instant::now() + Duration::from_secs(60);
        while markers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no marker; seen so far: {seen:?}");
            self.poll.poll(&mut events, Some(left)).unwrap();
            while let Some(captured) = self.tap.next().unwrap() {
                match captured.destination.port() {
                    MARKER_PORT => markers -= 1,
                    _ => seen.push(captured),
                }
            }
        }
        seen
    }
}

/// The tags of what was seen.
pub fn tags(seen: &[Captured]) -> Vec<u8> {
    seen.iter().map(|captured| captured.payload[147]).collect()
}
