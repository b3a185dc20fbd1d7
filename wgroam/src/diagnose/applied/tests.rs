// SPDX-License-Identifier: GPL-2.0-only
//! An interface that /etc/config/network describes, and what WireGuard has of it.

use super::*;
use crate::diagnose::judge::judge;
use crate::diagnose::judge::tests::{facts, find, roamer};
use crate::diagnose::site::Site;
use crate::diagnose::{Check, Echoed, Facts, PeerFacts, Verdict};

const KNOWN: PublicKey = PublicKey([7; 32]);
const NEW: PublicKey = PublicKey([8; 32]);

fn described(public_key: PublicKey, name: &str, allowed: &[&str]) -> Described {
    let prefix = |text: &&str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap())
    };
    let allowed = allowed.iter().map(prefix).collect();
    Described { public_key, name: name.into(), disabled: false, keepalive: true, allowed }
}

/// The anchor of the other tests, whose one peer and these are described.
fn anchor(more: Vec<Described>) -> Facts {
    let mut facts = facts();
    let mut peers = vec![described(KNOWN, "home", &["fd00:99::2/128"])];
    peers.extend(more);
    facts.site = Some(Site { peers: Some(peers), ..Site::default() });
    facts.allowed = vec![(KNOWN, vec![Prefix::new("fd00:99::2".parse().unwrap(), 128)])];
    facts
}

fn crosses(facts: &Facts) -> Vec<Check> {
    judge(facts).into_iter().filter(|check| check.verdict == Verdict::Bad).collect()
}

/// The daemon hears somebody call with this key.
fn calls(key: PublicKey) -> Option<String> {
    Some(format!(
        "{{\"interface\":\"wgr\",\"strangers\":[{{\"source\":\"203.0.113.2:4242\",\"verdict\":\"unknown-peer\",\
         \"key\":\"{key}\",\"last_age_s\":3.000,\"text\":\"holds a key that no peer of wgr has: {key}\"}}]}}"
    ))
}

/// A peer of the device that never called.
fn silent(key: PublicKey, name: &str) -> PeerFacts {
    let mut peer = facts().peers.remove(0);
    (peer.peer.public_key, peer.name, peer.peer.last_handshake) = (key, name.into(), None);
    (peer.heard, peer.echo) = (false, Echoed::NotSent);
    peer
}

#[test]
fn what_is_applied_has_no_cross() {
    assert_eq!(crosses(&anchor(Vec::new())), []);
    assert_eq!(find(&anchor(Vec::new()), "applied").verdict, Verdict::Ok);
    let checks = judge(&roamer());
    assert!(checks.iter().all(|check| !["applied", "let-in"].contains(&check.name)), "this is no OpenWrt");
}

#[test]
fn a_peer_that_was_added_and_not_applied_is_the_only_cross_and_no_key_is_accused() {
    let mut facts = anchor(vec![described(NEW, "r1", &["fd00:99::3/128"])]);
    // Also where wgroam has a section for it.
    facts.missing = vec![("r1".into(), NEW)];
    let found = crosses(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].name, &*found[0].remedy), ("applied", "wgroam-setup apply wgr"));
    assert!(found[0].seen.starts_with("r1 (CAgI…Ag=) stands in /etc/config/network"), "{}", found[0].seen);
}

#[test]
fn who_calls_and_is_not_applied_is_told_at_the_missing_peer_and_at_no_other() {
    let mut facts = anchor(vec![described(NEW, "r1", &[])]);
    (facts.daemon, facts.missing) = (calls(NEW), vec![("r1".into(), NEW)]);
    facts.peers = vec![silent(KNOWN, "home")];
    let found = crosses(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].seen.ends_with("; it calls from 203.0.113.2:4242, in vain"), "{}", found[0].seen);
    assert_eq!(find(&facts, "handshake").verdict, Verdict::Unknown);
    // Somebody whom nothing names may be anybody.
    facts.daemon = calls(PublicKey([1; 32]));
    assert_eq!(find(&facts, "handshake").verdict, Verdict::Bad);
}

#[test]
fn a_peer_of_wgroam_alone_keeps_its_cross_about_the_keys() {
    let mut facts = anchor(Vec::new());
    facts.missing = vec![("r1".into(), NEW)];
    let peers = find(&facts, "peers");
    assert!(peers.seen.contains(&NEW.to_string()), "{}", peers.seen);
    assert!(peers.remedy.contains("make the keys the same"), "{}", peers.remedy);
    // It proves by its call that the key is right.
    facts.daemon = calls(NEW);
    let peers = find(&facts, "peers");
    assert!(peers.seen.contains("it calls from 203.0.113.2:4242"), "{}", peers.seen);
    assert!(peers.remedy.contains("config wireguard_wgr"), "{}", peers.remedy);
    facts.site = None;
    assert!(find(&facts, "peers").remedy.starts_with(&format!("wg set wgr peer {NEW}")));
}

#[test]
fn one_that_is_switched_off_is_told_as_that() {
    let off = Described { disabled: true, ..described(NEW, "r1", &[]) };
    let mut facts = anchor(vec![off]);
    assert_eq!(crosses(&facts), []);
    facts.missing = vec![("r1".into(), NEW)];
    assert!(find(&facts, "peers").remedy.contains("option disabled"));
    facts.missing.clear();
    facts.device.as_mut().unwrap().peers.push(crate::model::Peer::new(NEW));
    assert!(
        find(&facts, "let-in").seen.contains("r1 (CAgI…Ag=) is let in though"),
        "{:?}",
        find(&facts, "let-in")
    );
}

#[test]
fn a_revoked_peer_that_is_still_let_in_is_the_last_cross() {
    let mut facts = anchor(Vec::new());
    facts.device.as_mut().unwrap().peers.push(crate::model::Peer::new(NEW));
    let found = crosses(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].seen, format!("{NEW} is let in though /etc/config/network does not name it"));
    assert!(found[0].remedy.contains("wgroam-setup apply wgr"), "{}", found[0].remedy);
    assert_eq!(judge(&facts).last().unwrap().name, "let-in");
    // Where another one set the interface up, nobody says who may be let in.
    facts.site = Some(Site::default());
    assert_eq!(crosses(&facts), []);
}

#[test]
fn allowed_ips_that_are_not_applied_are_named() {
    let mut facts = anchor(Vec::new());
    facts.allowed[0].1.clear();
    let applied = find(&facts, "applied");
    assert!(applied.seen.starts_with("home has allowed IPs"), "{}", applied.seen);
    assert!(applied.seen.ends_with("fd00:99::2/128"), "{}", applied.seen);
    assert_eq!(applied.remedy, "wgroam-setup apply wgr");
    facts.allowed.clear();
    assert_eq!(find(&facts, "applied").verdict, Verdict::Ok, "nobody could be asked");
}

#[test]
fn allowed_ips_that_were_taken_out_and_are_still_let_in_are_named() {
    let mut facts = anchor(Vec::new());
    facts.allowed[0].1.push(Prefix::new("2001:db8:5::".parse().unwrap(), 64));
    let seen = find(&facts, "let-in").seen;
    assert!(
        seen.contains("home has allowed IPs in WireGuard") && seen.ends_with("2001:db8:5::/64"),
        "{seen}"
    );
    facts.allowed.clear();
    assert!(find(&facts, "applied").seen.ends_with(", and of 0 of them the allowed IPs"));
}

#[test]
fn two_peers_with_the_same_allowed_ips_are_told_as_what_they_are() {
    let mut facts = anchor(vec![described(NEW, "r1", &["fd00:99::2/128"])]);
    facts.device.as_mut().unwrap().peers.push(crate::model::Peer::new(NEW));
    facts.allowed = vec![(KNOWN, Vec::new()), (NEW, facts.allowed[0].1.clone())];
    let applied = find(&facts, "applied");
    assert!(applied.seen.contains(": r1 has the same"), "{}", applied.seen);
    assert!(
        applied.remedy.starts_with("let each network stand in the section of one peer"),
        "{}",
        applied.remedy
    );
}

#[test]
fn an_interface_without_any_peer_is_not_asked_for_a_section_that_is_there() {
    let mut facts = anchor(Vec::new());
    facts.device.as_mut().unwrap().peers.clear();
    facts.peers.clear();
    assert_eq!(crosses(&facts).len(), 1);
    assert_eq!(find(&facts, "peers").verdict, Verdict::Skipped);
    facts.site = Some(Site { peers: Some(Vec::new()), ..Site::default() });
    assert!(find(&facts, "peers").remedy.contains("add a section `config wireguard_wgr`"));
}

#[test]
fn many_are_counted() {
    let many = (10..20).map(|n| described(PublicKey([n; 32]), &format!("p{n}"), &[])).collect();
    let seen = find(&anchor(many), "applied").seen;
    assert!(seen.contains("p12 (") && !seen.contains("p13 (") && seen.ends_with(", and 7 more"), "{seen}");
}

#[test]
fn a_keepalive_that_stands_in_the_configuration_is_to_be_applied_and_not_to_be_written() {
    let mut facts = roamer();
    facts.peers[0].peer.keepalive = 0;
    let mut peer = described(KNOWN, "home", &[]);
    for (keepalive, remedy) in
        [(true, "wgroam-setup apply wgr"), (false, "persistent_keepalive '25' in its section")]
    {
        peer.keepalive = keepalive;
        facts.site = Some(Site { peers: Some(vec![peer.clone()]), ..Site::default() });
        let found = find(&facts, "keepalive").remedy;
        assert!(found.starts_with(remedy), "{found}");
    }
}
