// SPDX-License-Identifier: GPL-2.0-only
//! Peers that are dialed, on the bench.

use std::net::IpAddr;

use wgroam::config::{self, Config};
use wgroam::engine::{Action, Event, Report};
use wgroam::model::{Peer, PublicKey};

use super::bench::{ALICE, Bench, at, millis, peer, secs, wg0};

pub const PROBED: &str = "fd00::1";

pub fn candidate(host: &str) -> config::Candidate {
    config::Candidate { host: host.into(), port: 51820 }
}

pub fn section(public_key: PublicKey, hosts: &[&str]) -> config::Peer {
    config::Peer {
        name: String::new(),
        tunnel: wg0(),
        public_key,
        endpoints: hosts.iter().map(|host| candidate(host)).collect(),
        family: config::Family::Any,
        keepalive: Some(25),
        probe: None,
        probe_interval: 0,
        readd: false,
    }
}

/// ALICE may be at 203.0.113.1 and 203.0.113.2.
pub fn alice() -> config::Peer {
    section(ALICE, &["203.0.113.1", "203.0.113.2"])
}

pub fn start(sections: Vec<config::Peer>, peers: Vec<Peer>) -> Bench {
    let config = Config { peers: sections, ..Config::default() };
    let mut bench = Bench::new(config, vec![], peers);
    bench.event(Event::DeviceUp { interface: wg0() });
    bench
}

/// ALICE is at 203.0.113.1, has a young session and answers. More peers beside her.
pub fn at_home(section: config::Peer, mut others: Vec<Peer>) -> Bench {
    let mut home = peer(ALICE, Some(at(1)));
    home.keepalive = 25;
    others.insert(0, home);
    let mut bench = start(vec![section], others);
    let wall = bench.wall();
    for peer in &mut bench.device.peers {
        peer.last_handshake = Some(wall);
    }
    for _ in 0..12 {
        bench.device.peers[0].rx_bytes += 128;
        bench.run(secs(1));
    }
    bench.log.clear();
    bench
}

/// Something is sent to ALICE each half second that she would have to answer.
pub fn talk(bench: &mut Bench, seconds: u64) {
    for _ in 0..2 * seconds {
        bench.device.peers[0].tx_bytes += 128;
        bench.run(millis(500));
    }
}

pub fn words(bench: &Bench) -> Vec<&'static str> {
    bench.steps().iter().map(|(_, step, ..)| step.word()).collect()
}

pub fn recovered(bench: &Bench) -> bool {
    bench.reports().iter().any(|report| matches!(report, Report::Recovered { .. }))
}

pub fn readds(bench: &Bench) -> usize {
    bench.count(|action| matches!(action, Action::ReaddPeer { .. }))
}

pub fn rotations(bench: &Bench) -> usize {
    bench.count(|action| matches!(action, Action::SetPort { port: 0, .. }))
}

pub fn asked_for(bench: &Bench, name: &str) -> usize {
    bench.count(|action| matches!(action, Action::Resolve { host } if host == name))
}

pub fn answer(bench: &mut Bench, name: &str, host: u8) {
    let answer = Ok(vec![IpAddr::from([203, 0, 113, host])]);
    bench.event(Event::Resolved { host: name.into(), answer });
}
