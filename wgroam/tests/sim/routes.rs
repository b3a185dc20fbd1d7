// SPDX-License-Identifier: GPL-2.0-only
//! R1 with routes of its own making: a tunnel that carries everything, and a LAN that must not hang.

use std::net::IpAddr;
use std::time::Duration;

use wgroam::engine::Event;
use wgroam::routing::{Hop, Via};
use wgroam::wan::WanChange;

use super::roamer::{config, home};
use super::world::{DEBOUNCE, PORT, R1, R2, World};

const PING: Duration = Duration::from_millis(200);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn full(seed: u64) -> World {
    let mut world = World::dialing(seed, 25, config(&[PORT]), &[home()]);
    world.hosts[R1].full = true;
    world.tell(R1, Event::WanChanged(WanChange::Route(Some("wan".parse().unwrap()))));
    world.ping(R1, PING);
    world.run(secs(20) + Duration::from_millis(seed * 137));
    world
}

/// R1's uplink is another one, or none; WireGuard's host route by the old one is gone with it.
fn uplink(world: &mut World, hop: Option<Hop>) {
    let host = &mut world.hosts[R1];
    host.uplink = hop;
    host.own_routes.retain(|route| route.via == Via::Unreachable);
    world.run(DEBOUNCE);
    let device = hop.map(|_| "wan".parse().unwrap());
    world.tell(R1, Event::WanChanged(WanChange::Route(device)));
}

fn answers(world: &World) -> bool {
    world.hosts[R1].pongs.last().is_some_and(|&pong| pong + secs(1) > world.now)
}

#[test]
fn a_tunnel_that_carries_everything_does_not_carry_itself() {
    for seed in 0..20 {
        let mut world = full(seed);
        assert!(answers(&world), "seed {seed}");
        for ifindex in [3, 2, 3] {
            uplink(&mut world, Some(Hop { ifindex, gateway: None }));
            let silence = world.run_until_answer(R1, secs(60)).unwrap();
            assert!(silence <= secs(2), "seed {seed}: {silence:?} by link {ifindex}");
            world.run(secs(7));
        }
        uplink(&mut world, None);
        world.run(secs(30));
        uplink(&mut world, Some(Hop { ifindex: 2, gateway: None }));
        let silence = world.run_until_answer(R1, secs(60)).unwrap();
        assert!(silence <= secs(2), "seed {seed}: {silence:?} after a while without uplink");
    }
}

#[test]
fn the_lan_is_refused_while_nobody_answers_and_served_soon_after() {
    for seed in 0..20 {
        let mut world = full(seed);
        assert_eq!(world.hosts[R1].refusals, 0);
        world.no_udp = true;
        world.run(secs(18));
        assert!(world.hosts[R1].refusals > 0, "seed {seed}: it hangs");
        world.run(secs(seed * 9));
        let refused = world.hosts[R1].refusals;
        world.no_udp = false;
        let silence = world.run_until_answer(R1, secs(60)).unwrap();
        assert!(silence <= secs(8), "seed {seed}: {silence:?}");
        assert!(world.hosts[R1].refusals - refused <= 45, "seed {seed}");
        world.run(secs(20));
        assert!(answers(&world));
    }
}

/// The peer moves while the LAN is refused: no data leads to it any more, and the recovery finds it all the same.
#[test]
fn a_refused_lan_does_not_keep_the_recovery_from_finding_the_peer() {
    for seed in 0..20 {
        let mut world = full(seed);
        world.set_dns(&[home()]);
        let new = IpAddr::from([198, 51, 100, 77]);
        world.move_r2(new);
        world.run(secs(20 + seed));
        assert!(world.hosts[R1].refusals > 0, "seed {seed}");
        world.set_dns(&[new]);
        let silence = world.run_until_answer(R1, secs(60)).unwrap();
        assert!(silence <= secs(13), "seed {seed}: {silence:?}");
        assert_eq!(world.hosts[R2].refusals, 0);
    }
}
