// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own: when there is one, which, and when it goes.

use std::net::{IpAddr, SocketAddr};

use super::bench::{ALICE, BOB, Bench, at, millis, peer, secs, wan_address, wg0};
use wgroam::config::{self, Config};
use wgroam::engine::{Action, Event, Report};
use wgroam::model::Peer;
use wgroam::routing::{Hop, Led, OwnRoute, Prefix, Purpose, Through, Via};
use wgroam::wan::WanChange;

const WAN: Hop = Hop { ifindex: 2, gateway: None };
const LTE: Hop = Hop { ifindex: 3, gateway: None };

fn home() -> IpAddr {
    at(1).ip()
}

/// ALICE is at a known address.
fn config(unreachable: bool) -> Config {
    let tunnel = config::Tunnel {
        interface: wg0(),
        enabled: true,
        unreachable,
        rotate_port: config::RotatePort::Never,
    };
    let peer = config::Peer {
        name: "home".into(),
        tunnel: wg0(),
        public_key: ALICE,
        endpoints: vec![config::Candidate { host: home().to_string(), port: at(1).port() }],
        family: config::Family::Any,
        keepalive: None,
        probe: None,
        probe_interval: 0,
        readd: false,
    };
    Config { tunnels: vec![tunnel], peers: vec![peer], ..Config::default() }
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap())
}

/// A tunnel that carries everything, itself included, and the LAN's IPv6.
fn full(peers: Vec<Peer>, unreachable: bool) -> Bench {
    let mut bench = Bench::new(config(unreachable), vec![], peers);
    bench.ways.led = vec![Led { target: home(), interface: wg0(), inside: false }];
    bench.ways.uplinks = [Some(WAN), None];
    let (to, from) = (prefix("::/0"), Some(prefix("2001:db8:a::/64")));
    bench.ways.through = vec![Through { interfaces: vec![wg0()], to, from, metric: 256 }];
    bench.event(Event::DeviceUp { interface: wg0() });
    bench
}

fn by(hop: Hop) -> OwnRoute {
    OwnRoute { to: Prefix::host(home()), from: None, metric: 0, via: Via::By(hop), source: None }
}

fn refusal() -> OwnRoute {
    let (to, from) = (prefix("::/0"), Some(prefix("2001:db8:a::/64")));
    OwnRoute { to, from, metric: 255, via: Via::Unreachable, source: None }
}

/// Peers with a session and an endpoint.
fn alive(key: wgroam::model::PublicKey, endpoint: Option<SocketAddr>) -> Peer {
    let now = wgroam::model::WallTime { seconds: super::bench::WALL, nanos: 0 };
    Peer { last_handshake: Some(now), rx_bytes: 1000, tx_bytes: 1000, ..peer(key, endpoint) }
}

/// Data goes out, and nothing comes.
fn in_vain(bench: &mut Bench, seconds: u64) {
    for _ in 0..seconds {
        bench.device.peers[0].tx_bytes += 1000;
        bench.run(secs(1));
    }
}

fn place(bench: &Bench, wanted: impl Fn(&Action) -> bool) -> Option<usize> {
    bench.log.iter().position(|(_, action)| wanted(action))
}

#[test]
fn an_endpoint_that_is_led_into_its_own_tunnel_gets_a_route_before_it_is_set() {
    let bench = full(vec![peer(ALICE, None)], true);
    assert_eq!(bench.ways.own, [by(WAN)]);
    let added = place(&bench, |action| *action == Action::AddRoute(by(WAN))).unwrap();
    let set = place(&bench, |action| matches!(action, Action::ReaddPeer { endpoint: Some(_), .. })).unwrap();
    assert!(added < set);
    let (interface, route, purpose) = (wg0(), by(WAN), Purpose::Endpoint);
    assert!(bench.reports().contains(&&Report::RouteAdded { interface, route, purpose }));
    let status = bench.engine.status(bench.now);
    assert_eq!(status.devices[0].routes, [(route, purpose)]);
}

#[test]
fn an_endpoint_that_is_reached_by_the_wan_gets_no_route() {
    let mut bench = Bench::new(config(true), vec![], vec![peer(ALICE, None)]);
    bench.ways.uplinks = [Some(WAN), None];
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(60));
    assert_eq!(bench.ways.own, []);
}

#[test]
fn packets_that_are_marked_are_the_owners_to_route() {
    let mut bench = Bench::new(config(true), vec![], vec![alive(ALICE, Some(at(1)))]);
    bench.ways.led = vec![Led { target: home(), interface: wg0(), inside: false }];
    bench.ways.uplinks = [Some(WAN), None];
    bench.device.fwmark = 51820;
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(10));
    assert_eq!(bench.ways.own, []);
}

#[test]
fn the_route_follows_the_uplink_without_a_gap() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    assert_eq!(bench.ways.own, [by(WAN)]);
    bench.run(secs(10));
    bench.log.clear();
    bench.ways.uplinks[0] = Some(LTE);
    // A change of uplink is told as several events at once.
    for change in [WanChange::Down("wan".parse().unwrap()), WanChange::Route(Some("lte".parse().unwrap()))] {
        bench.engine.handle_event(bench.now, Event::WanChanged(change));
    }
    bench.drain();
    let added = bench.log.iter().filter(|(_, action)| matches!(action, Action::AddRoute(_)));
    assert_eq!(added.count(), 1);
    assert_eq!(bench.ways.own, [by(LTE)]);
    assert!(place(&bench, |action| matches!(action, Action::RemoveRoute(_))).is_none());
    // The kernel drops it with its link.
    (bench.ways.own, bench.ways.uplinks[0]) = (vec![], Some(WAN));
    bench.event(wan_address());
    assert_eq!(bench.ways.own, [by(WAN)]);
}

#[test]
fn without_any_uplink_the_endpoint_leads_nowhere_rather_than_into_the_tunnel() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    bench.ways.uplinks[0] = None;
    bench.event(wan_address());
    assert_eq!(bench.ways.own, [], "somebody who is heard has a way");
    in_vain(&mut bench, 12);
    assert_eq!(bench.ways.own[0], OwnRoute { via: Via::Unreachable, ..by(WAN) });
}

#[test]
fn a_tunnel_that_never_worked_is_refused_soon_and_opened_by_the_first_sign_of_life() {
    let mut bench = full(vec![peer(ALICE, None)], true);
    bench.run(millis(1500));
    assert!(!bench.ways.own.contains(&refusal()), "it had no chance yet");
    bench.run(secs(2));
    assert!(bench.ways.own.contains(&refusal()));
    bench.device.peers[0] = alive(ALICE, Some(at(1)));
    bench.run(millis(600));
    assert_eq!(bench.ways.own, [by(WAN)]);
}

#[test]
fn a_tunnel_whose_session_is_not_answered_is_refused_when_that_is_proof() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    bench.run(secs(10));
    in_vain(&mut bench, 12);
    assert!(!bench.ways.own.contains(&refusal()), "until then data tells which address answers");
    in_vain(&mut bench, 9);
    assert!(bench.ways.own.contains(&refusal()));
    let removed = Report::RouteRemoved { interface: Some(wg0()), route: refusal() };
    bench.run(secs(80));
    assert!(!bench.reports().contains(&&removed), "it stays as long as the silence");
    bench.device.peers[0].rx_bytes += 100;
    bench.run(secs(3));
    assert!(bench.reports().contains(&&removed));
    assert!(!bench.ways.own.contains(&refusal()));
}

/// A LAN that is refused sends nothing, and a session is only answered if somebody sends: so we do.
#[test]
fn while_a_session_lasts_data_is_sent_in_place_of_the_lan_that_is_refused() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    bench.run(secs(10));
    let woken = |bench: &Bench| bench.count(|action| matches!(action, Action::Wake { .. }));
    in_vain(&mut bench, 12);
    assert_eq!(woken(&bench), 0, "the LAN sends itself");
    in_vain(&mut bench, 9);
    assert!(bench.ways.own.contains(&refusal()));
    bench.log.clear();
    bench.run(secs(10));
    assert!((35..=45).contains(&woken(&bench)), "{}", woken(&bench));
    let target = "2001:db8::1".parse().unwrap();
    assert!(bench.log.iter().any(|(_, action)| *action == Action::Wake { interface: wg0(), target }));
    bench.run(secs(170));
    bench.log.clear();
    bench.run(secs(1000));
    assert_eq!(woken(&bench), 0, "without a session each poke is a handshake");
    assert!(place(&bench, |action| matches!(action, Action::RemoveRoute(_))).is_none());
}

#[test]
fn an_idle_tunnel_is_not_refused() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    bench.run(secs(3600));
    assert_eq!(bench.ways.own, [by(WAN)]);
}

#[test]
fn a_tunnel_on_which_somebody_else_is_alive_is_not_refused() {
    let mut bench = full(vec![peer(ALICE, None), alive(BOB, Some(at(2)))], true);
    bench.run(secs(30));
    assert!(!bench.ways.own.contains(&refusal()));
    bench.run(secs(300));
    assert!(bench.ways.own.contains(&refusal()), "BOB's session is over");
}

#[test]
fn nothing_is_refused_against_the_owners_will() {
    let mut bench = full(vec![peer(ALICE, None)], false);
    bench.run(secs(60));
    assert_eq!(bench.ways.own, [by(WAN)]);
    bench.engine.reload(bench.now, config(true));
    bench.drain();
    bench.run(secs(5));
    assert!(bench.ways.own.contains(&refusal()));
    bench.engine.reload(bench.now, config(false));
    bench.drain();
    assert_eq!(bench.ways.own, [by(WAN)]);
}

#[test]
fn routes_go_with_their_interface() {
    let mut bench = full(vec![peer(ALICE, None)], true);
    bench.run(secs(5));
    assert_eq!(bench.ways.own.len(), 2);
    bench.event(Event::DeviceGone { interface: wg0() });
    assert_eq!(bench.ways.own, []);
}

#[test]
fn what_an_earlier_run_left_behind_is_kept_when_needed_and_removed_when_not() {
    let mut bench = Bench::new(config(true), vec![], vec![alive(ALICE, Some(at(1)))]);
    bench.ways.led = vec![Led { target: home(), interface: wg0(), inside: false }];
    bench.ways.uplinks = [Some(WAN), None];
    let stale = OwnRoute { to: Prefix::host([192, 0, 2, 99].into()), ..by(LTE) };
    bench.ways.own = vec![by(WAN), stale, refusal()];
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(5));
    assert_eq!(bench.ways.own, [by(WAN)]);
    let touched =
        |action: &Action| matches!(action, Action::AddRoute(_)) || *action == Action::RemoveRoute(by(WAN));
    assert!(place(&bench, touched).is_none(), "what is needed is never missing");
}

#[test]
fn what_an_earlier_run_left_behind_goes_without_any_configuration_too() {
    let mut bench = Bench::new(Config::default(), vec![], vec![]);
    bench.ways.own = vec![by(WAN), refusal()];
    bench.drain();
    bench.run(secs(5));
    assert_eq!(bench.ways.own, []);
}

#[test]
fn who_goes_to_nobody_looks_at_the_table_once() {
    let mut bench = Bench::new(Config::default(), vec![], vec![alive(ALICE, Some(at(1)))]);
    bench.event(Event::DeviceUp { interface: wg0() });
    for _ in 0..10 {
        bench.event(wan_address());
        bench.run(secs(10));
    }
    assert_eq!(bench.questions, 1);
}

#[test]
fn a_healthy_tunnel_is_no_reason_to_look_at_the_table_and_a_silent_one_is_less_and_less() {
    let mut bench = full(vec![alive(ALICE, Some(at(1)))], true);
    bench.run(secs(30));
    let settled = bench.questions;
    bench.run(secs(3600));
    assert_eq!(bench.questions, settled);
    in_vain(&mut bench, 3600);
    let asked = bench.questions - settled;
    assert!((60..600).contains(&asked), "{asked} in an hour of silence");
}

#[test]
fn a_route_by_nobodys_choice_of_metric_is_undercut_and_metric_1_is_let_alone() {
    for (metric, refused) in [(1024, Some(1023)), (2, Some(1)), (1, None)] {
        let mut bench = full(vec![peer(ALICE, None)], true);
        bench.ways.through[0].metric = metric;
        bench.run(secs(8));
        let own = bench.ways.own.iter().find(|route| route.via == Via::Unreachable);
        assert_eq!(own.map(|route| route.metric), refused);
    }
}
