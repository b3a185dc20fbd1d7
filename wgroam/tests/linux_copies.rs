// SPDX-License-Identifier: GPL-2.0-only
//! Copies of initiations on a real device, each test in network namespaces of its own. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{enter_own_network, run};
use wgroam::linux::copies::{Copies, Order};
use wgroam::model::{Interface, PublicKey};

const PORT: u16 = 51820;
const HOME: &str = "192.0.2.1:51820";
/// Who is there besides. The last one only by a table for marked packets.
const OTHERS: [&str; 3] = ["192.0.2.3:443", "[2001:db8::3]:51820", "198.51.100.9:51820"];

/// What somebody got, from whom.
type Got = (SocketAddr, SocketAddr, Vec<u8>);

/// The router's end is in this thread's namespace; the others listen in one of their own until this is dropped.
struct Wire {
    got: Receiver<Got>,
    _end: Sender<()>,
}

impl Wire {
    fn plug() -> Self {
        enter_own_network();
        let (tell, told) = channel();
        let (go, wait) = channel::<()>();
        let (heard, got) = channel();
        thread::spawn(move || {
            enter_own_network();
            // SAFETY: no pointers.
            tell.send(unsafe { libc::gettid() }).unwrap();
            wait.recv().unwrap();
            for address in ["192.0.2.1/24", "192.0.2.3/24", "198.51.100.9/32", "2001:db8::3/64"] {
                run(&format!(
                    "ip addr add {address} dev eth0{}",
                    if address.contains(':') { " nodad" } else { "" }
                ));
            }
            run("ip link set eth0 up");
            let sockets: Vec<_> =
                [HOME].iter().chain(&OTHERS).map(|at| UdpSocket::bind(at).unwrap()).collect();
            tell.send(0).unwrap();
            for socket in sockets {
                let heard = heard.clone();
                thread::spawn(move || {
                    let (at, mut buffer) = (socket.local_addr().unwrap(), [0; 2000]);
                    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                        let _ = heard.send((at, from, buffer[..length].to_vec()));
                    }
                });
            }
            let _ = wait.recv();
        });
        let tid = told.recv().unwrap();
        run(&format!("ip link add name wan type veth peer name eth0 netns {tid}"));
        run("ip addr add 192.0.2.2/24 dev wan");
        run("ip addr add 2001:db8::2/64 dev wan nodad");
        run("ip link set wan up");
        run("ip rule add fwmark 0x77 lookup 77");
        run("ip route add 198.51.100.9 via 192.0.2.1 table 77");
        go.send(()).unwrap();
        told.recv().unwrap();
        Self { got, _end: go }
    }

    /// All that comes until nothing more does.
    fn got(&self) -> Vec<Got> {
        let mut all = Vec::new();
        while let Ok(one) =
            self.got.recv_timeout(Duration::from_millis(if all.is_empty() { 5000 } else { 500 }))
        {
            all.push(one);
        }
        all.sort();
        all
    }
}

fn interface() -> Interface {
    "wgr".parse().unwrap()
}

fn order(to: &[&str], mark: u32) -> Order {
    Order {
        interface: interface(),
        peer: PublicKey([1; 32]),
        home: HOME.parse().unwrap(),
        to: to.iter().map(|at| at.parse().unwrap()).collect(),
        mark,
        until: Instant::now() + Duration::from_secs(60),
    }
}

fn message(kind: u8, tag: u8) -> Vec<u8> {
    let mut message = vec![tag; 148];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message
}

/// Carries out what waits; whose initiations were copied, and what could not be sent.
fn carry_out(copies: &mut Copies) -> (usize, Vec<SocketAddr>) {
    let (mut done, mut failed) = (0, Vec::new());
    // What this host sent is there at once.
    done += copies.carry_out(|_| Some(PORT), |to, _| failed.push(to)).unwrap().len();
    (done, failed)
}

#[test]
fn the_next_initiation_that_leaves_for_home_reaches_the_others_bit_for_bit_from_the_same_port() {
    let wire = Wire::plug();
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    let mut copies = Copies::default();
    assert!(copies.take(order(&OTHERS[..2], 0)).unwrap().is_some());
    assert!(copies.take(order(&OTHERS[..2], 0)).unwrap().is_none(), "it is open already");
    // Each neighbour has been found by the time that matters.
    let v6 = UdpSocket::bind(("::", 0)).unwrap();
    for at in [HOME, OTHERS[0], OTHERS[1]] {
        if at.starts_with('[') { &v6 } else { &socket }.send_to(b"hello", at).unwrap();
        assert_eq!(wire.got().len(), 1, "{at}");
    }
    for tag in [7, 8] {
        socket.send_to(&message(1, tag), HOME).unwrap();
    }
    assert_eq!(carry_out(&mut copies), (1, vec![]));
    let near: [IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let from = |near: IpAddr| SocketAddr::new(near, PORT);
    let wanted = [
        (at(HOME), from(near[0]), message(1, 7)),
        (at(HOME), from(near[0]), message(1, 8)),
        (at(OTHERS[0]), from(near[0]), message(1, 7)),
        (at(OTHERS[1]), from(near[1]), message(1, 7)),
    ];
    assert_eq!(wire.got(), wanted);
    assert_eq!(copies.deadline(), None);
}

#[test]
fn nothing_else_is_copied() {
    let wire = Wire::plug();
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    let other = UdpSocket::bind(("0.0.0.0", 40000)).unwrap();
    let mut copies = Copies::default();
    copies.take(order(&OTHERS[..2], 0)).unwrap();
    // A response, data as long as an initiation, a shorter one, from another port, to another address.
    socket.send_to(&message(2, 1), HOME).unwrap();
    socket.send_to(&message(4, 2), HOME).unwrap();
    socket.send_to(&message(1, 3)[..147], HOME).unwrap();
    other.send_to(&message(1, 4), HOME).unwrap();
    socket.send_to(&message(1, 5), OTHERS[0]).unwrap();
    assert_eq!(carry_out(&mut copies), (0, vec![]));
    assert_eq!(wire.got().len(), 5);
    // Its time is over.
    copies.expire(copies.deadline().unwrap());
    socket.send_to(&message(1, 6), HOME).unwrap();
    assert_eq!(carry_out(&mut copies), (0, vec![]));
    assert_eq!(wire.got().len(), 1);
}

#[test]
fn a_copy_goes_the_way_of_the_interfaces_mark_and_one_that_can_not_go_keeps_no_other() {
    let wire = Wire::plug();
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    let mut copies = Copies::default();
    let unsent: Vec<SocketAddr> = vec![OTHERS[2].parse().unwrap()];
    // None at all was sent: that does not count as copied.
    copies.take(order(&[OTHERS[2]], 0)).unwrap();
    socket.send_to(&message(1, 1), HOME).unwrap();
    assert_eq!(wire.got().len(), 1);
    assert_eq!(carry_out(&mut copies), (0, unsent.clone()));
    for (mark, failed) in [(0, unsent), (0x77, vec![])] {
        copies.take(order(&[OTHERS[2], OTHERS[0]], mark)).unwrap();
        socket.send_to(&message(1, 1), HOME).unwrap();
        assert_eq!(wire.got().len(), 1);
        let there = 2 - failed.len();
        assert_eq!(carry_out(&mut copies), (1, failed));
        let got = wire.got();
        assert_eq!(got.len(), there);
        assert!(got.iter().all(|(_, from, _)| *from == "192.0.2.2:51820".parse().unwrap()));
    }
}
