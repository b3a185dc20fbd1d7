// SPDX-License-Identifier: GPL-2.0-only
//! Netlink as a real big-endian kernel speaks it, read by the code that runs on every machine (tests/recorded/).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::net::IpAddr;

use wgroam::linux::netlink::wire::{Endian, Malformed, Messages};
use wgroam::linux::route::message::{self, DefaultRoute, Kind, Link, Told};
use wgroam::linux::wireguard::dump::Dump;
use wgroam::model::{Device, PrivateKey, PublicKey};
use wgroam::routing::Hop;

/// The number that the "wireguard" family had on the recorded machine.
const WIREGUARD: u16 = 0x1e;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn read_wireguard(bytes: &[u8], endian: Endian) -> Result<(Device, Option<PrivateKey>), Malformed> {
    let link = Link {
        interface: "wg0".parse().unwrap(),
        ifindex: 4,
        up: true,
        running: true,
        kind: Some(Kind::WireGuard),
    };
    let mut dump = Dump::new(&link);
    for message in Messages::new(bytes, endian) {
        let message = message?;
        if message.kind == WIREGUARD {
            dump.message(message.payload)?;
        }
    }
    Ok(dump.finish())
}

#[test]
fn wireguard_dump_reads_as_wg_showed_it() {
    let recorded = bytes(include_str!("recorded/s390x/wireguard.hex"));
    let (device, key) = read_wireguard(&recorded, Endian::Big).unwrap();

    let mut lines =
        include_str!("recorded/s390x/wireguard.txt").lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let own = lines.next().unwrap();
    assert_eq!(key.map(|key| PublicKey(*key.bytes()).to_string()), Some(own[0].into()));
    assert_eq!(device.public_key.unwrap().to_string(), own[1]);
    assert_eq!(device.listen_port.to_string(), own[2]);
    let shown: Vec<_> = lines.collect();
    assert_eq!(device.peers.len(), shown.len());
    for (peer, fields) in device.peers.iter().zip(&shown) {
        assert_eq!(peer.public_key.to_string(), fields[0]);
        // `wg` writes the scope as a name; wan was the link with the number 3.
        assert_eq!(peer.endpoint.unwrap().to_string(), fields[2].replace("%wan", "%3"));
        assert_eq!(peer.last_handshake.map_or(0, |time| time.seconds).to_string(), fields[4]);
        assert_eq!(peer.rx_bytes.to_string(), fields[5]);
        assert_eq!(peer.tx_bytes.to_string(), fields[6]);
        assert_eq!(peer.keepalive.to_string().replace('0', "off"), fields[7].replace('0', "off"));
    }
    let met = device.peers.iter().find_map(|peer| peer.last_handshake).unwrap();
    assert!(met.nanos < 1_000_000_000 && met.nanos != 0);
}

#[test]
fn the_wrong_byte_order_is_refused() {
    let recorded = bytes(include_str!("recorded/s390x/wireguard.hex"));
    assert!(read_wireguard(&recorded, Endian::Little).is_err());
}

/// Any one byte may be any other: the answer is wrong or refused, and nothing panics.
#[test]
fn damaged_dumps_do_no_harm() {
    let recorded = bytes(include_str!("recorded/s390x/wireguard.hex"));
    let mut refused = 0;
    for place in 0..recorded.len() {
        for value in [0, 1, 4, 0x80, 0xff] {
            let mut damaged = recorded.clone();
            damaged[place] = value;
            refused += usize::from(read_wireguard(&damaged, Endian::Big).is_err());
        }
        assert!(read_wireguard(&recorded[..place], Endian::Big).is_err() || place % 4 == 0, "cut at {place}");
    }
    assert!(refused > 100, "{refused}");
}

fn told(hex: &str) -> Vec<Told> {
    let recorded = bytes(hex);
    let read = |message: Result<_, _>| message::read(&message.unwrap()).unwrap();
    Messages::new(&recorded, Endian::Big).filter_map(read).collect()
}

#[test]
fn links_and_addresses_are_read() {
    let told = told(include_str!("recorded/s390x/addresses.hex"));
    let links: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Told::Link(link) => {
                Some((link.ifindex, link.interface.as_str(), link.up, link.running, link.kind))
            }
            _ => None,
        })
        .collect();
    let (wireguard, other) = (Some(Kind::WireGuard), Some(Kind::Other));
    let expected = [
        (1, "lo", true, true, None),
        (2, "isp", true, true, other),
        (3, "wan", true, true, other),
        (4, "wg0", true, true, wireguard),
        (5, "wg1", true, true, wireguard),
    ];
    assert_eq!(links, expected);
    let addresses: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Told::Address(address) => Some((address.ifindex, address.ip.to_string(), address.usable)),
            _ => None,
        })
        .filter(|(_, ip, _)| !ip.starts_with("fe80"))
        .collect();
    let expected = [
        (1, "127.0.0.1", true),
        (3, "203.0.113.7", true),
        // Ours, not the far end's 192.0.2.2.
        (3, "192.0.2.1", true),
        (1, "::1", true),
        (3, "2001:db8::7", true),
    ];
    assert_eq!(addresses, expected.map(|(ifindex, ip, usable)| (ifindex, ip.to_string(), usable)));
    for told in &told {
        if let Told::Address(address) = told {
            // The machine had been up for a minute at most.
            assert!((1..6000).contains(&address.created), "{address:?}");
            let ip = address.ip.to_string();
            let broadcast = address.broadcast.map(|broadcast| broadcast.to_string());
            assert_eq!(
                broadcast.as_deref(),
                ip.starts_with("203")
                    .then_some("203.0.113.255")
                    .or((ip == "127.0.0.1").then_some("127.255.255.255")),
                "{ip}"
            );
            // Not those for this machine or this link alone.
            assert_eq!(
                address.global,
                !ip.starts_with("127") && ip != "::1" && !ip.starts_with("fe80"),
                "{ip}"
            );
        }
    }
}

fn route(metric: u32, table: u32, hops: &[(u32, &str)]) -> DefaultRoute {
    let gateway = |text: &str| text.parse::<IpAddr>().ok();
    let hops: Vec<_> = hops.iter().map(|&(ifindex, text)| Hop { ifindex, gateway: gateway(text) }).collect();
    DefaultRoute { ipv6: hops[0].gateway.is_some_and(|ip| ip.is_ipv6()), table, metric, hops }
}

#[test]
fn default_routes_are_read() {
    let told = told(include_str!("recorded/s390x/routes.hex"));
    let routes: Vec<_> = told
        .into_iter()
        .filter_map(|told| match told {
            Told::Route(route) => Some(route),
            _ => None,
        })
        .collect();
    let expected = [
        route(0, 51820, &[(4, "none")]),
        route(10, 254, &[(3, "203.0.113.1")]),
        route(20, 254, &[(3, "203.0.113.1"), (3, "203.0.113.9")]),
        // `from 2001:db8::/56`. The unreachable one is no way anywhere.
        route(512, 254, &[(3, "fe80::1")]),
    ];
    assert_eq!(routes, expected);
}

#[test]
fn announcements_are_read_in_their_order() {
    let mut told: Vec<_> = told(include_str!("recorded/s390x/events.hex"))
        .into_iter()
        .map(|told| match told {
            Told::Link(link) => format!("{} {}", link.interface, if link.up { "up" } else { "down" }),
            Told::LinkGone(ifindex) => format!("-{ifindex}"),
            Told::Address(address) => format!("+{}{}", address.ip, if address.usable { "" } else { "?" }),
            Told::AddressGone(address) => format!("-{}", address.ip),
            Told::Route(route) => format!("+default {}", route.metric),
            Told::RouteGone => "-default".to_string(),
            Told::OwnRouteGone(_) | Told::Rule => panic!("nobody did that"),
        })
        .filter(|line| !line.contains("fe80"))
        .collect();
    told.dedup();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let expected = [
        // The names, which `ip monitor` asks for first.
        "lo up",
        "isp up",
        "wan up",
        "wg0 up",
        "wg1 up",
        // The IPv6 address is told twice: while the kernel looks for a duplicate, and when there is none.
        "-203.0.113.7",
        "+203.0.113.8",
        "+2001:db8::8?",
        "+2001:db8::8",
        "+default 0",
        "-default",
        "wg0 down",
        "wg7 down",
        "-4",
        // The IPv4 routes of wan go without a word.
        "wan down",
        "-default",
        "-2001:db8::8",
        "-2001:db8::7",
        "isp up",
    ];
    assert_eq!(told, expected);
}
