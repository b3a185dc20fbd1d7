// SPDX-License-Identifier: GPL-2.0-only
//! Random journeys. Each ends with the tunnel up within 30 s after the network allows it, and none breaks a rule. Only
//! bad luck can make it longer, when handshakes that would have done get lost, or a port that is swallowed hides the only
//! way while the far end relies on it: WireGuard makes one handshake in 5 s. That may happen in three of a hundred journeys, and takes
//! four minutes at most. One that fails prints its seed; `JOURNEY=seed cargo test --test sim journeys -- --nocapture` plays it again.

use std::net::IpAddr;
use std::time::Duration;

use wgroam::config::{Candidate, Config};
use wgroam::engine::Event;
use wgroam::model::Peer;

use super::rng::Rng;
use super::roamer::{config, home, home6, story};
use super::world::{OTHER_PORT, PORT, R1, R2, SILENT_NAME, STRAY, World};

const JOURNEYS: u64 = 3000;
const LIMIT: Duration = Duration::from_secs(30);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the network is like in the end: a port is blocked, or IPv6 broken, not both. (One way of four may need four
/// handshakes, and WireGuard makes one in 5 s.)
fn open_a_way(world: &mut World, rng: &mut Rng) {
    (world.no_udp, world.loss) = (false, [0, 0, 20, 50][rng.below(4) as usize]);
    world.blocked_ports.clear();
    world.no_ipv6 = rng.below(3) == 0;
    if !world.no_ipv6 && rng.below(3) == 0 {
        world.blocked_ports.insert([PORT, OTHER_PORT][rng.below(2) as usize]);
    }
}

fn happens(world: &mut World, rng: &mut Rng, addresses: &mut Vec<IpAddr>) {
    match rng.below(10) {
        0 | 1 => world.move_r1(),
        2 => {
            let new = IpAddr::from([198, 51, 100, 3 + rng.below(200) as u8]);
            world.move_r2(new);
            addresses.retain(IpAddr::is_ipv6);
            addresses.push(new);
        }
        3 => {
            // A reboot in the past, and the clock is set later.
            world.hosts[R1].clock_off = -(rng.below(1_000_000) as i64);
            world.create_interface(R1);
            world.configure(R1, 25);
            world.set_link(R1, true);
        }
        4 => world.no_udp = true,
        5 => world.dns = None,
        6 => {
            if let Some(nat) = world.nat.as_mut() {
                nat.forget();
            }
        }
        7 => {
            let port = world.wireguard(R1).port;
            world.swallowed.insert(port);
        }
        8 => {
            world.delete_interface(R2);
            world.create_interface(R2);
            world.configure(R2, 0);
            world.set_link(R2, true);
        }
        _ => open_a_way(world, rng),
    }
}

/// Some have a name that is never answered: another peer, or the first candidate of the one that is looked for.
fn with_silent_names(config: &mut Config, rng: &mut Rng) -> Option<Peer> {
    let candidate = Candidate { host: SILENT_NAME.into(), port: PORT };
    let mut stray = config.peers[0].clone();
    (stray.public_key, stray.endpoints) = (STRAY, vec![candidate.clone()]);
    if rng.below(4) == 0 {
        config.peers[0].endpoints.insert(0, candidate);
    }
    (rng.below(2) == 0).then(|| {
        config.peers.push(stray);
        Peer { keepalive: 25, ..Peer::new(STRAY) }
    })
}

/// How long the silence is after the last obstacle went, and what happened.
/// `one_way`: until then nothing answers but WireGuard, each 10 s.
fn journey(seed: u64, one_way: bool) -> (Option<Duration>, String) {
    let mut rng = Rng(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut addresses = if rng.below(2) == 0 { vec![home()] } else { vec![home6(), home()] };
    // Two ways at most, by name or by port: without a session each takes WireGuard 5.3 s, and so does a new port.
    let second = addresses.len() == 1 && rng.below(2) == 0;
    let mut config = config(if second { &[PORT, OTHER_PORT] } else { &[PORT] });
    let ports = config.peers[0].endpoints.len();
    config.peers[0].readd = rng.below(4) == 0;
    if rng.below(2) == 0 {
        config.peers[0].probe = Some("fd00::1".parse().unwrap());
    }
    let stray = with_silent_names(&mut config, &mut Rng(seed));
    let mut world = World::dialing(seed, 25, config, &addresses);
    world.hosts[R1].stray = stray;
    world.hosts[R2].mute = one_way;
    if rng.below(4) == 0 {
        world.nat = None;
    }
    world.hosts[R2].more.push(home6());
    world.ping(R1, Duration::from_millis(200 + rng.below(800)));
    for _ in 0..1 + rng.below(6) {
        world.run(secs(rng.below(60)) + Duration::from_millis(rng.below(1000)));
        happens(&mut world, &mut rng, &mut addresses);
    }
    world.run(secs(rng.below(90)));
    // From now on there is a way.
    world.hosts[R2].mute = false;
    open_a_way(&mut world, &mut rng);
    if ports == 1 {
        world.blocked_ports.clear();
    }
    if addresses.iter().all(IpAddr::is_ipv6) {
        world.no_ipv6 = false;
    }
    if std::mem::take(&mut world.hosts[R1].clock_off) != 0 {
        let wall = Default::default();
        world.tell(R1, Event::ClockStepped { wall });
    }
    world.set_dns(&addresses);
    let since = world.now;
    world.run(Duration::from_millis(50));
    let silence = world.run_until_answer(R1, secs(240));
    keeps_the_rules(&world, seed);
    let from = since.saturating_sub(secs(60));
    (silence, format!("open at {since:?}\n{}", story(&world, from)))
}

/// The rules, as the referee saw it, and bounded work: two pokes a second at most.
fn keeps_the_rules(world: &World, seed: u64) {
    assert!(world.referee.fouls.is_empty(), "JOURNEY={seed}: {:#?}", world.referee.fouls);
    for host in &world.hosts {
        let most = 30 + 2 * world.now.as_secs();
        assert!((host.pokes as u64) < most, "JOURNEY={seed}: {} pokes, at most {most}", host.pokes);
    }
}

#[test]
fn every_journey_ends_at_home_within_30_s_and_keeps_the_rules() {
    let only: Option<u64> = std::env::var("JOURNEY").ok().and_then(|seed| seed.parse().ok());
    let many = std::env::var("JOURNEYS").ok().and_then(|many| many.parse().ok()).unwrap_or(JOURNEYS);
    let (mut times, mut never, mut unlucky) = (Vec::new(), Vec::new(), 0);
    for seed in only.map_or(0..many, |seed| seed..seed + 1) {
        let (silence, story) = journey(seed, false);
        if only.is_some() {
            println!("{story}");
        }
        let silence = silence.unwrap_or(Duration::MAX);
        times.push(silence);
        if silence > LIMIT {
            println!("JOURNEY={seed} took {silence:?}");
            unlucky += 1;
        }
        if silence == Duration::MAX {
            never.push(seed);
        }
    }
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{} journeys: median {:?}, 99 % {:?}, worst {:?}", times.len(), at(50), at(99), at(100));
    assert!(never.is_empty(), "not within four minutes: {never:?}");
    assert!(
        only.is_some() || unlucky * 30 <= times.len(),
        "{unlucky} of {} took longer than {LIMIT:?}",
        times.len()
    );
}

/// WireGuard answers each 10 s what R1 sends, and goes on for 20 s: signs of life that are not to be taken for silence,
/// and that may hide one.
#[test]
fn journeys_in_which_traffic_flows_one_way_keep_the_rules() {
    for seed in 0..500 {
        let (silence, ..) = journey(seed, true);
        assert!(silence.is_some(), "journey {seed} took longer than four minutes");
    }
}
