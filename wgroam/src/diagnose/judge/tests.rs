// SPDX-License-Identifier: GPL-2.0-only
//! Facts of a tunnel that works, one thing wrong with them at a time.

use std::net::SocketAddr;

use super::*;
use crate::diagnose::site::Site;
use crate::diagnose::{Echoed, LanFacts, Leads, PeerFacts};
use crate::linux::resolver::ResolveError;
use crate::linux::trace::Trace;
use crate::model::{Peer, PublicKey, WallTime};

const NOW: u64 = 1_800_000_000;
const KEY: PublicKey = PublicKey([7; 32]);
const OWN: PublicKey = PublicKey([9; 32]);

fn endpoint() -> SocketAddr {
    "198.51.100.2:51820".parse().unwrap()
}

fn peer() -> PeerFacts {
    let last_handshake = Some(WallTime { seconds: NOW - 30, nanos: 0 });
    PeerFacts {
        peer: Peer {
            public_key: KEY,
            endpoint: Some(endpoint()),
            last_handshake,
            rx_bytes: 9,
            tx_bytes: 9,
            keepalive: 25,
        },
        name: "home".into(),
        dialed: false,
        probed: false,
        has_address: false,
        names: Vec::new(),
        ways: Vec::new(),
        target: Some(("fd00:99::1".parse().unwrap(), false)),
        echo: Echoed::Answered,
        heard: true,
        largest: Some(1420),
        trace: None,
    }
}

/// An anchor with one peer, and no IPv6 for a LAN.
pub fn facts() -> Facts {
    Facts {
        interface: "wgr".parse().unwrap(),
        mistake: None,
        device: Ok(Device {
            interface: "wgr".parse().unwrap(),
            ifindex: 7,
            up: true,
            public_key: Some(OWN),
            listen_port: 51820,
            fwmark: 0,
            peers: vec![peer().peer],
        }),
        mtu: Some(1420),
        now: NOW,
        newest: NOW - 30,
        daemon: Some("{\"interface\":\"wgr\"}".into()),
        missing: Vec::new(),
        allowed: Vec::new(),
        peers: vec![peer()],
        left_out: 0,
        lan: LanFacts { uplink: Some(("wan".parse().unwrap(), false)), ..LanFacts::default() },
        site: None,
        ruleset: Some(String::new()),
    }
}

/// A roamer whose peer has a name, behind a NAT.
pub fn roamer() -> Facts {
    let mut facts = facts();
    facts.ruleset = None;
    facts.peers = vec![PeerFacts {
        dialed: true,
        names: vec![("home.example.net".into(), Ok(vec![endpoint().ip()]))],
        ways: vec![(endpoint(), Leads::By("wan".parse().unwrap(), Some("10.0.0.2".parse().unwrap())))],
        ..peer()
    }];
    facts
}

/// The one check of that name.
pub fn find(facts: &Facts, name: &str) -> Check {
    let found: Vec<_> = judge(facts).into_iter().filter(|check| check.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0].clone()
}

/// The first cross: its name and remedy.
fn first(facts: &Facts) -> (&'static str, String) {
    let cross = judge(facts).into_iter().find(|check| check.verdict == Verdict::Bad);
    cross.map(|check| (check.name, check.remedy)).unwrap_or_default()
}

/// A roamer whose peer is silent, and how far packets get.
fn silent(trace: Option<Trace>) -> Facts {
    let mut facts = roamer();
    let peer = &mut facts.peers[0];
    (peer.heard, peer.echo, peer.largest) = (false, Echoed::Silent, None);
    peer.trace = trace.map(|trace| (endpoint(), trace));
    facts
}

#[track_caller]
fn assert_first(facts: &Facts, name: &str, remedy: &str) {
    let (found, words) = first(facts);
    assert_eq!(found, name);
    assert!(words.contains(remedy), "{words}");
}

#[test]
fn what_works_has_no_cross() {
    assert_eq!(first(&facts()), Default::default());
    assert_eq!(first(&roamer()), Default::default());
}

#[test]
fn every_cross_has_a_remedy_and_nothing_else_has_one() {
    let mut broken = silent(Some(Trace::default()));
    broken.newest = NOW + 3600;
    broken.mistake = Some("FILE:1: wrong".into());
    broken.missing.push(("home".into(), OWN));
    broken.site = Some(Site { peers: Some(Vec::new()), ..Site::default() });
    for facts in [facts(), roamer(), broken] {
        for check in judge(&facts) {
            assert_eq!(check.remedy.is_empty(), check.verdict != Verdict::Bad, "{check:?}");
        }
    }
}

#[test]
fn an_interface_at_fault_is_all_there_is_to_say() {
    let mut facts = facts();
    let name = facts.interface;
    if let Ok(device) = &mut facts.device {
        device.up = false;
    }
    assert_first(&facts, "device", "ip link set up dev wgr");
    assert_eq!(judge(&facts).len(), 2);
    facts.site = Some(Default::default());
    assert_first(&facts, "device", "ifup wgr");
    facts.device = Err(Error::Gone(name));
    assert_first(&facts, "device", "ifup wgr");
    facts.device = Err(Error::Denied(name));
    assert_first(&facts, "device", "as root");
}

#[test]
fn without_private_key_or_peer_there_is_no_tunnel() {
    let mut facts = roamer();
    if let Ok(device) = &mut facts.device {
        device.peers.clear();
    }
    facts.peers.clear();
    assert_first(&facts, "peers", "wg set wgr peer");
    if let Ok(device) = &mut facts.device {
        device.public_key = None;
    }
    assert_first(&facts, "key", "wg genkey");
}

#[test]
fn without_an_uplink_names_are_not_to_blame() {
    let mut facts = silent(None);
    facts.lan.uplink = None;
    facts.peers[0].names[0].1 = Err(ResolveError::Temporary);
    assert_first(&facts, "uplink", "ip route");
}

#[test]
fn a_clock_behind_what_is_remembered_comes_before_all_that_it_breaks() {
    let mut facts = silent(Some(Trace::default()));
    facts.newest = NOW + 365 * 86_400;
    assert_first(&facts, "clock", "NTP");
    assert!(find(&facts, "clock").seen.contains("365d"), "{}", find(&facts, "clock").seen);
    facts.newest = NOW + CLOCK_SLACK;
    assert_eq!(find(&facts, "clock").verdict, Verdict::Ok);
}

#[test]
fn a_key_of_the_configuration_that_the_interface_does_not_have_is_named() {
    let mut facts = roamer();
    facts.missing.push(("home".into(), OWN));
    assert_first(&facts, "peers", "wg show wgr peers");
    assert!(find(&facts, "peers").seen.contains(&OWN.to_string()));
}

#[test]
fn names_are_bad_when_none_of_them_can_be_found() {
    let mut facts = silent(None);
    let names = &mut facts.peers[0].names;
    names[0].1 = Err(ResolveError::Temporary);
    assert_first(&facts, "names", "/etc/resolv.conf");
    facts.peers[0].names[0].1 = Err(ResolveError::NotFound);
    assert_first(&facts, "names", "correct the name");
    facts.peers[0].names.push(("other.example.net".into(), Ok(vec![endpoint().ip()])));
    let names = find(&facts, "names");
    assert_eq!(names.verdict, Verdict::Ok);
    assert!(names.seen.contains("home.example.net: there is no such name"), "{}", names.seen);
}

#[test]
fn a_way_into_the_tunnel_itself_is_told_from_no_way() {
    let mut facts = silent(None);
    facts.peers[0].ways[0].1 = Leads::Inside;
    assert_first(&facts, "route", "start wgroam");
    facts.peers[0].ways[0].1 = Leads::Nowhere;
    assert_first(&facts, "route", "ip route get");
    facts.peers[0].ways[0].1 = Leads::Here;
    assert_first(&facts, "route", "correct the endpoint");
}

#[test]
fn a_candidate_without_a_way_is_no_fault_while_the_endpoint_has_one() {
    let mut facts = roamer();
    facts.peers[0].ways.push(("[2001:db8::1]:51820".parse().unwrap(), Leads::Nowhere));
    let route = find(&facts, "route");
    assert_eq!(route.verdict, Verdict::Ok);
    assert!(route.seen.contains("no route to 2001:db8::1"), "{}", route.seen);
}

#[test]
fn silence_is_put_down_to_what_packets_outside_the_tunnel_tell() {
    let trace = Trace { hops: 3, other_hops: 3, refused: false, alive: false };
    assert_first(&silent(Some(trace)), "handshake", "is on and has Internet");
    assert_first(&silent(Some(Trace { alive: true, ..trace })), "handshake", "compare the keys");
    assert_first(&silent(Some(Trace { refused: true, ..trace })), "handshake", "bring WireGuard up there");
    assert_first(
        &silent(Some(Trace { hops: 1, alive: true, ..trace })),
        "handshake",
        "list endpoint 'HOST:443'",
    );
    assert_first(&silent(None), "handshake", "the other router");
}

#[test]
fn a_session_through_which_nothing_comes_is_no_handshake_that_counts() {
    let facts = silent(None);
    assert!(
        find(&facts, "handshake").seen.contains("30s ago, and nothing comes back"),
        "{:?}",
        find(&facts, "handshake")
    );
    assert_eq!(find(&facts, "echo").verdict, Verdict::Skipped);
    let mut untried = silent(None);
    untried.peers[0].echo = Echoed::NotSent;
    assert_eq!(find(&untried, "handshake").verdict, Verdict::Ok, "nobody could be asked");
}

#[test]
fn nobody_told_wireguard_where_the_peer_is() {
    let mut facts = silent(None);
    (facts.peers[0].peer.endpoint, facts.peers[0].peer.last_handshake) = (None, None);
    assert_first(&facts, "handshake", "wgroam run");
}

#[test]
fn the_daemon_knows_why_a_peer_that_calls_is_not_heard() {
    let mut facts = facts();
    let peer = &mut facts.peers[0];
    (peer.heard, peer.echo, peer.peer.last_handshake) = (false, Echoed::NotSent, None);
    assert_eq!(find(&facts, "handshake").verdict, Verdict::Unknown, "it may be switched off");
    facts.daemon = Some(format!(
        "{{\"public_key\":\"{KEY}\",\"problems\":[{{\"problem\":\"not-taken\",\"up\":true,\"text\":\"it called\"}}]}}"
    ));
    assert_first(&facts, "handshake", "let UDP port 51820 in");
    let stranger = |verdict| {
        format!(
            "\"strangers\":[{{\"source\":\"1.2.3.4:5\",\"verdict\":\"{verdict}\",\"last_age_s\":3.000,\"text\":\"x\"}}]"
        )
    };
    facts.daemon = Some(stranger("unknown-peer"));
    assert_first(&facts, "handshake", "correct public_key here");
    facts.daemon = Some(stranger("wrong-key"));
    assert_first(&facts, "handshake", &OWN.to_string());
    facts.daemon = Some(stranger("replay"));
    assert_eq!(find(&facts, "handshake").verdict, Verdict::Unknown);
}

#[test]
fn an_echo_is_missed_only_where_somebody_said_whom_to_ask() {
    let mut facts = roamer();
    (facts.peers[0].echo, facts.peers[0].largest) = (Echoed::Silent, None);
    assert_eq!(find(&facts, "echo").verdict, Verdict::Unknown);
    facts.peers[0].target = Some(("fd00:99::1".parse().unwrap(), true));
    assert_first(&facts, "echo", "ICMPv6");
    facts.peers[0].echo = Echoed::Failed("wgr: no peer has it".into());
    assert_first(&facts, "echo", "allowed IPs");
}

#[test]
fn an_mtu_that_is_too_large_is_told_with_the_one_that_is_right() {
    let mut facts = roamer();
    facts.peers[0].largest = Some(1332);
    assert_first(&facts, "mtu", "ip link set mtu 1332 dev wgr");
    facts.site = Some(Default::default());
    assert_first(&facts, "mtu", "uci set network.wgr.mtu='1332'");
    facts.peers[0].largest = Some(0);
    assert_first(&facts, "mtu", "another uplink");
}

#[test]
fn a_keepalive_is_wanted_behind_a_nat_only() {
    let mut facts = roamer();
    facts.peers[0].peer.keepalive = 0;
    assert_first(&facts, "keepalive", "persistent-keepalive 25");
    facts.peers[0].probed = true;
    assert_eq!(find(&facts, "keepalive").verdict, Verdict::Ok);
    for (source, wanted) in
        [("100.64.0.2", true), ("192.0.2.7", false), ("100.128.0.1", false), ("169.254.1.1", true)]
    {
        facts.peers[0].probed = false;
        facts.peers[0].ways[0].1 = Leads::By("wan".parse().unwrap(), Some(source.parse().unwrap()));
        assert_eq!(find(&facts, "keepalive").verdict == Verdict::Bad, wanted, "{source}");
    }
}

#[test]
fn a_full_tunnel_whose_peer_has_a_name_needs_a_fwmark() {
    let leaks =
        |facts: &Facts| judge(facts).into_iter().filter(|check| check.name == "leak").collect::<Vec<_>>();
    let mut facts = roamer();
    assert_eq!(leaks(&facts), [], "it is no full tunnel");
    facts.lan.everything = true;
    let [told] = leaks(&facts).try_into().unwrap();
    assert_eq!(told.verdict, Verdict::Unknown, "it keeps nothing from working");
    for word in ["wgr ", "home.example.net", "fwmark", "docs/diagnose.md"] {
        assert!(told.seen.contains(word), "{word}: {}", told.seen);
    }
    assert_eq!(first(&facts), Default::default());
    if let Ok(device) = &mut facts.device {
        device.fwmark = 0x51;
    }
    let [told] = leaks(&facts).try_into().unwrap();
    assert_eq!(told.verdict, Verdict::Ok);
    assert!(told.seen.contains("0x51"), "{}", told.seen);
}

#[test]
fn nobody_leads_a_full_tunnel_astray_whose_peers_have_addresses_or_call() {
    let leaks = |facts: &Facts| judge(facts).iter().any(|check| check.name == "leak");
    let mut facts = roamer();
    facts.lan.everything = true;
    facts.peers.insert(0, PeerFacts { dialed: false, ..peer() });
    assert!(leaks(&facts), "the second one has a name");
    facts.peers.truncate(1);
    assert!(!leaks(&facts), "it has to call");
    facts.peers[0].dialed = true;
    assert!(!leaks(&facts), "it has addresses only");
}

#[test]
fn the_port_has_to_be_open_only_where_somebody_has_to_call() {
    let closed = "table inet f {\n\tchain c {\n\t\ttype filter hook input priority 0; policy drop;\n";
    let mut facts = facts();
    facts.ruleset = Some(closed.into());
    assert_first(&facts, "port-open", "nft insert rule inet f c udp dport 51820 accept");
    facts.site = Some(Default::default());
    assert_first(&facts, "port-open", "/etc/config/firewall");
    let mut roamer = roamer();
    roamer.ruleset = Some(closed.into());
    assert_eq!(find(&roamer, "port-open").verdict, Verdict::Skipped);
}

#[test]
fn a_firewall_that_can_not_be_read_is_unknown_unless_its_configuration_can() {
    let mut facts = facts();
    facts.ruleset = None;
    assert_eq!(find(&facts, "port-open").verdict, Verdict::Unknown);
    let site = |open| Some(crate::diagnose::site::Site { open: Some(open), ..Default::default() });
    facts.site = site(true);
    assert_eq!(find(&facts, "port-open").verdict, Verdict::Ok);
    facts.site = site(false);
    assert_first(&facts, "port-open", "/etc/config/firewall");
}
