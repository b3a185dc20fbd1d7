// SPDX-License-Identifier: GPL-2.0-only
//! The packet tap on real devices, each test in a network namespace of its own. Needs root.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod wire;

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use wgroam::linux::tap::MAX_PORTS;
use wire::*;

#[test]
fn an_initiation_is_seen_once_with_where_it_came_from_and_went_to() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut watch = Watch::start(&[PORT]);
    wire.send(&initiation_v4(4));
    wire.send(&initiation_v6(6));
    let mut seen = watch.seen(&wire);
    seen.sort_by_key(|captured| captured.payload[147]);
    assert_eq!(tags(&seen), [4, 6]);
    for (captured, source, destination) in [
        (&seen[0], "192.0.2.1:40000", "198.51.100.2:51820"),
        (&seen[1], "[2001:db8::1]:40000", "[2001:db8::2]:51820"),
    ] {
        assert_eq!(captured.source, source.parse().unwrap());
        assert_eq!(captured.destination, destination.parse().unwrap());
        assert_eq!(captured.ifindex, ifindex("wan"));
        assert_eq!(captured.payload[..], initiation(captured.payload[147]));
    }
}

#[test]
fn a_real_socket_is_seen_from_another_namespace() {
    own_namespace();
    let (tell, told) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel();
    let far = thread::spawn(move || {
        own_namespace();
        // SAFETY: no pointers.
        tell.send(unsafe { libc::gettid() }).unwrap();
        wait.recv().unwrap();
        ip("addr add 192.0.2.1/24 dev eth0");
        ip("addr add fe80::1/64 dev eth0 nodad");
        ip("link set eth0 up");
        let v4 = UdpSocket::bind("192.0.2.1:40000").unwrap();
        v4.send_to(&initiation(4), ("192.0.2.2", PORT)).unwrap();
        let scope = ifindex("eth0");
        let v6 = UdpSocket::bind(SocketAddrV6::new("fe80::1".parse().unwrap(), 40000, 0, scope)).unwrap();
        v6.send_to(&initiation(6), SocketAddrV6::new("fe80::2".parse().unwrap(), PORT, 0, scope)).unwrap();
        // Until it is seen: the packets wait for neighbours to be found.
        let _ = wait.recv();
    });
    let tid = told.recv().unwrap();
    ip(&format!("link add name wan type veth peer name eth0 netns {tid}"));
    ip("addr add 192.0.2.2/24 dev wan");
    ip("addr add fe80::2/64 dev wan nodad");
    ip("link set wan up");
    let mut watch = Watch::start(&[PORT]);
    go.send(()).unwrap();
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.len() < 2 && Instant::now() < deadline {
        seen.extend(watch.tap.next().unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    drop(go);
    far.join().unwrap();
    seen.sort_by_key(|captured| captured.payload[147]);
    assert_eq!(tags(&seen), [4, 6]);
    assert_eq!(seen[0].source, "192.0.2.1:40000".parse().unwrap());
    let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 40000, 0, ifindex("wan"));
    assert_eq!(seen[1].source, scoped.into());
}

#[test]
fn over_a_bridge_it_is_seen_once_and_on_the_bridge() {
    own_namespace();
    let wire = Wire::plug("port");
    // A bridge has the address of one of its ports, so that the frame is for this host on both.
    ip("link add name br0 address 02:00:00:00:00:01 type bridge");
    ip("link set port master br0");
    ip("link set br0 up");
    let mut watch = Watch::start(&[PORT]);
    wire.send(&initiation_v4(4));
    let seen = watch.seen(&wire);
    assert_eq!(tags(&seen), [4]);
    assert_eq!(seen[0].ifindex, ifindex("br0"));
}

#[test]
fn over_a_macvlan_it_is_seen_once_and_on_the_macvlan() {
    own_namespace();
    let wire = Wire::plug("lower");
    ip("link add link lower name upper address 02:00:00:00:00:03 type macvlan mode bridge");
    ip("link set upper up");
    let mut watch = Watch::start(&[PORT]);
    wire.frame([2, 0, 0, 0, 0, 3], &[], &initiation_v6(6));
    let seen = watch.seen(&wire);
    assert_eq!(tags(&seen), [6]);
    assert_eq!(seen[0].ifindex, ifindex("upper"));
}

#[test]
fn a_device_without_link_header_shows_it_as_a_ppp_device_does() {
    own_namespace();
    let tun = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // struct ifreq: 16 bytes of name, then flags.
    let mut request = [0u8; 40];
    request[..4].copy_from_slice(b"ppp0");
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the buffer has the size of a struct ifreq.
    assert_eq!(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) }, 0);
    ip("link set ppp0 up");
    let mut watch = Watch::start(&[PORT]);
    for packet in [
        initiation_v4(4),
        ipv4(&[1; 12], 0, &udp(PORT, &initiation(5))),
        ipv4(&[], 0, &udp(9, &initiation(0))),
        initiation_v6(6),
        ipv6(17, &udp(9, &initiation(0))),
    ] {
        (&tun).write_all(&packet).unwrap();
    }
    let mut seen = watch.until_markers(2);
    seen.sort_by_key(|captured| captured.payload[147]);
    assert_eq!(tags(&seen), [4, 5, 6]);
    assert!(seen.iter().all(|captured| captured.ifindex == ifindex("ppp0")));
}

#[test]
fn interfaces_may_come_and_go() {
    own_namespace();
    let mut watch = Watch::start(&[PORT]);
    let first = Wire::plug("first");
    first.send(&initiation_v4(1));
    assert_eq!(tags(&watch.seen(&first)), [1]);
    let second = Wire::plug("second");
    first.send(&initiation_v4(2));
    ip("link set first down");
    ip("link del first");
    second.send(&initiation_v4(3));
    assert_eq!(tags(&watch.seen(&second)), [2, 3]);
    let again = Wire::plug("first");
    again.send(&initiation_v6(4));
    assert_eq!(tags(&watch.seen(&again)), [4]);
}

#[test]
fn ipv4_options_are_skipped_and_not_mistaken_for_udp() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut watch = Watch::start(&[PORT]);
    for length in [4, 24, 40] {
        wire.send(&ipv4(&vec![1; length], 0, &udp(PORT, &initiation(length as u8))));
    }
    // Options that look like an initiation's UDP header, before a packet to elsewhere.
    let decoy = [&udp(PORT, &initiation(1))[..12], &[0; 28]].concat();
    wire.send(&ipv4(&decoy, 0, &udp(PORT + 1, &initiation(1))));
    assert_eq!(tags(&watch.seen(&wire)), [4, 24, 40]);
}

#[test]
fn what_is_no_initiation_to_us_is_not_seen() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut watch = Watch::start(&[PORT]);
    let initiation = initiation(1);
    let mut data = vec![1; 148];
    data[..4].copy_from_slice(&[4, 0, 0, 0]);
    let bodies = [
        udp(PORT + 1, &initiation),
        udp(PORT, &initiation[..147]),
        udp(PORT, &[&initiation[..], &[1]].concat()),
        udp(PORT, &[1, 0, 0, 0]),
        udp(PORT, &data),
        udp(PORT, &[1; 148]),
        udp(PORT, &[]),
    ];
    for body in &bodies {
        wire.send(&ipv4(&[], 0, body));
        wire.send(&ipv6(17, body));
    }
    let whole = udp(PORT, &initiation);
    // A first fragment, a later one, a last one; "don't fragment" is none of them.
    for fragment in [0x2000, 0x2001, 0x0001] {
        wire.send(&ipv4(&[], fragment, &whole));
    }
    wire.send(&ipv6(44, &[&[17, 0, 0, 0, 0, 0, 0, 1][..], &whole].concat()));
    wire.send(&ipv6(60, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &whole].concat()));
    // A header that claims to be longer than the packet, and a packet that ends in the middle.
    let mut long = ipv4(&[], 0, &whole);
    long[0] = 0x4f;
    wire.send(&long);
    wire.send(&ipv4(&[], 0, &whole)[..100]);
    wire.send(&ipv6(17, &whole)[..43]);
    wire.send(&[0x45]);
    // For somebody else on the same wire, and for all of them.
    wire.frame([2, 0, 0, 0, 0, 9], &[], &ipv4(&[], 0, &whole));
    wire.frame([0xff; 6], &[], &ipv4(&[], 0, &whole));
    wire.send(&ipv4(&[], 0x4000, &udp(PORT, &self::initiation(7))));
    assert_eq!(tags(&watch.seen(&wire)), [7]);
}

#[test]
fn what_this_host_sends_is_not_seen() {
    own_namespace();
    let wire = Wire::plug("wan");
    ip("addr add 192.0.2.2/24 dev wan");
    // The far end does not know this address either: it is another host's there.
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev wan");
    let mut watch = Watch::start(&[PORT]);
    let socket = UdpSocket::bind(("192.0.2.2", PORT)).unwrap();
    for _ in 0..10 {
        socket.send_to(&initiation(1), ("192.0.2.1", PORT)).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(tags(&watch.seen(&wire)), []);
}

#[test]
fn what_nftables_drops_at_input_is_seen_and_at_ingress_is_not() {
    own_namespace();
    let wire = Wire::plug("wan");
    ip("addr add 198.51.100.2/24 dev wan");
    run("nft", "add table inet t");
    run("nft", "add chain inet t i { type filter hook input priority 0 ; policy drop ; }");
    run("nft", "add chain inet t p { type nat hook prerouting priority -100 ; }");
    run("nft", "add rule inet t p udp dport 443 redirect to :51820");
    let mut watch = Watch::start(&[PORT]);
    wire.send(&initiation_v4(1));
    // Redirected to our port later on; here it still has the other.
    wire.send(&ipv4(&[], 0, &udp(443, &initiation(2))));
    assert_eq!(tags(&watch.seen(&wire)), [1]);
    run("nft", "add table netdev n");
    run("nft", "add chain netdev n i { type filter hook ingress device wan priority 0 ; }");
    run("nft", "add rule netdev n i udp dport 51820 drop");
    wire.send(&initiation_v4(3));
    assert_eq!(tags(&watch.seen(&wire)), []);
}

#[test]
fn new_ports_take_effect_at_once_and_keep_what_still_fits() {
    own_namespace();
    let wire = Wire::plug("wan");
    let to = |port, tag| wire.send(&ipv4(&[], 0, &udp(port, &initiation(tag))));
    let mut watch = Watch::start(&[1000, 2000]);
    to(1000, 1);
    to(2000, 2);
    watch.set_ports(&[2000, 3000]);
    to(1000, 3);
    to(3000, 4);
    assert_eq!(tags(&watch.seen(&wire)), [2, 4]);
    watch.tap.set_ports(&[]).unwrap();
    to(2000, 5);
    assert_eq!(watch.tap.next().unwrap(), None);
    watch.set_ports(&[2000]);
    to(2000, 6);
    assert_eq!(tags(&watch.seen(&wire)), [6]);
}

#[test]
fn without_ports_nothing_is_seen() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut tap = wgroam::linux::tap::Tap::open().unwrap();
    for tag in 0..100 {
        wire.send(&initiation_v4(tag));
    }
    assert_eq!(tap.next().unwrap(), None);
    tap.set_ports(&[PORT]).unwrap();
    assert_eq!(tap.next().unwrap(), None);
    assert!(!tap.has_dropped());
}

#[test]
fn any_number_of_ports_can_be_watched() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut watch = Watch::start(&[]);
    for count in [MAX_PORTS - 1, MAX_PORTS, 1000] {
        let ports: Vec<u16> = (20_000..).take(count).collect();
        watch.set_ports(&ports);
        let last = 20_000 + count as u16 - 1;
        for (port, tag) in [(19_999, 1), (20_000, 2), (last, 3), (last + 1, 4)] {
            wire.send(&ipv4(&[], 0, &udp(port, &initiation(tag))));
        }
        assert_eq!(tags(&watch.seen(&wire)), [2, 3], "{count} ports");
    }
}

#[test]
fn a_flood_that_nobody_reads_is_dropped_and_that_is_known() {
    own_namespace();
    let wire = Wire::plug("wan");
    let mut watch = Watch::start(&[PORT]);
    for number in 0..10_000u32 {
        wire.send(&initiation_v4(number as u8));
    }
    let mut kept = 0;
    while watch.tap.next().unwrap().is_some() {
        kept += 1;
    }
    assert!(watch.tap.has_dropped());
    // 128 KB, of which each packet takes at least 768 bytes.
    assert!(kept > 10 && kept < 180, "{kept}");
    // And then it goes on.
    wire.send(&initiation_v6(1));
    assert_eq!(tags(&watch.seen(&wire)), [1]);
    assert!(!watch.tap.has_dropped());
}
