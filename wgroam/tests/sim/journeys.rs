// SPDX-License-Identifier: GPL-2.0-only
//! A thousand random journeys. All but a few end with the tunnel up within 20 s after the network allows it, each
//! within four handshakes, and none breaks a rule. One that fails prints its seed; `JOURNEY=seed cargo test --test sim journeys -- --nocapture` plays it again.

use std::net::IpAddr;
use std::time::Duration;

use wgroam::engine::{Event, Reason, Report};

use super::rng::Rng;
use super::roamer::{config, home, home6, story};
use super::world::{OTHER_PORT, PORT, R1, R2, World};

const JOURNEYS: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(20);

/// Four handshakes, as far apart as WireGuard makes them.
const LATEST: Duration = Duration::from_millis(4 * 5333);

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

/// How long the silence is after the last obstacle went.
fn journey(seed: u64) -> (Option<Duration>, String) {
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
    let mut world = World::chasing(seed, 25, config, &addresses);
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
    let silence = world.run_until_answer(R1, secs(120));
    keeps_the_rules(&world);
    let from = since.saturating_sub(secs(60));
    (silence, format!("open at {since:?}\n{}", story(&world, from)))
}

/// Rule 1: an endpoint is set for a name, a memory, an initiation. Bounded work: two pokes a second at most.
fn keeps_the_rules(world: &World) {
    for host in &world.hosts {
        let allowed = [Reason::Candidate, Reason::Remembered, Reason::Initiation];
        assert!(host.sets.iter().all(|(_, _, reason)| allowed.contains(reason)), "{:?}", host.sets);
        assert!((host.pokes as u64) < 30 + 2 * world.now.as_secs(), "{} pokes", host.pokes);
    }
    // Rule 3: what answers is not left. A candidate is only set after a step was told, never right after a sign of life.
    let told = &world.hosts[R1].told;
    for (when, _, reason) in &world.hosts[R1].sets {
        let last =
            told.iter().rfind(|(time, report)| time <= when && !matches!(report, Report::Poked { .. }));
        let alive = matches!(last, Some((_, Report::Recovered { .. })));
        assert!(!(alive && *reason == Reason::Candidate), "set at {when:?} after {last:?}");
    }
}

#[test]
fn a_thousand_journeys_end_at_home() {
    let only: Option<u64> = std::env::var("JOURNEY").ok().and_then(|seed| seed.parse().ok());
    let many = std::env::var("JOURNEYS").ok().and_then(|seed| seed.parse().ok()).unwrap_or(JOURNEYS);
    let seeds = only.map_or(0..many, |seed| seed..seed + 1);
    let (mut times, mut late) = (Vec::new(), Vec::new());
    for seed in seeds {
        let (silence, story) = journey(seed);
        if only.is_some() {
            println!("{story}");
        }
        let silence = silence.unwrap_or(Duration::MAX);
        times.push(silence);
        if silence > LIMIT {
            println!("JOURNEY={seed} took {silence:?}");
            late.push(seed);
        }
    }
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{} journeys: median {:?}, 99 % {:?}, worst {:?}", times.len(), at(50), at(99), at(100));
    // Two obstacles at once (a broken family and a swallowed port) leave one way of four: four handshakes of 5.3 s.
    assert!(late.len() <= 5, "{} of {} were late: {late:?}", late.len(), times.len());
    assert!(at(100) <= LATEST, "{late:?}");
}
