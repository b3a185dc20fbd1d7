// SPDX-License-Identifier: GPL-2.0-only
//! Draws a world from a seed.

use std::time::Duration;

use super::plan::{Carries, ClockSet, End, Event, Lie, Place, Plan, R1, R2, R3, Servers, What};
use crate::rng::Rng;
use crate::world::PORT;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Rng {
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Some time between these, in seconds; down to the millisecond.
    fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low * 1000 + self.below((high - low) * 1000 + 1))
    }
}

pub fn plan(seed: u64) -> Plan {
    let mut rng = Rng(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5eed);
    let ends = ends(&mut rng);
    let second = rng.one_in(6).then(|| rng.below(3) > 0);
    let loss = rng.pick(&[0, 0, 0, 0, 10, 30]);
    let latency = Duration::from_millis(rng.pick(&[5, 20, 20, 60]));
    // One that sends where it has to be called would wait for the other's keepalive: that is luck.
    let only = rng.pick(&[R1, R2]);
    let only = (rng.one_in(4) && ends[only].names_other && ends[1 - only].place.callable()).then_some(only);
    let mut events = Vec::new();
    // A name that lies from the beginning on: then somebody wrote the address into WireGuard's configuration.
    for end in [R1, R2] {
        if ends[end].names_other && rng.one_in(6) {
            let (lie, time) = (lie(&mut rng), rng.between(60, 900));
            events.push(Event { at: secs(0), end, what: What::Lie { lie, time } });
        }
    }
    let mut at = rng.between(12, 30);
    for _ in 0..1 + rng.below(4) {
        let end = if second.is_some() && rng.one_in(2) { R3 } else { rng.below(2) as usize };
        let what = what(&mut rng, &ends, end);
        at += what.lasts().min(secs(100)).mul_f64(if rng.one_in(2) { 1.0 } else { 0.0 });
        events.push(Event { at, end, what });
        // What comes next comes soon, sometimes at once.
        at += if rng.one_in(3) { rng.between(0, 3) } else { rng.between(5, 50) };
    }
    events.sort_by_key(|event| event.at);
    let over = events.iter().filter(|event| event.at > secs(0)).map(|event| event.at + event.what.lasts());
    let until = over.max().unwrap_or_default().min(secs(420)) + secs(45);
    Plan { seed, ends, second, loss, latency, only, events, until }
}

fn ends(rng: &mut Rng) -> [End; 2] {
    let near = |rng: &mut Rng| rng.pick(&[Place::Masqueraded, Place::Masqueraded, Place::Carrier]);
    let far = |rng: &mut Rng| rng.pick(&[Place::Public, Place::Forwarded]);
    let (places, names) = match rng.below(20) {
        // A roamer and its home, which may have a name for it, too.
        0..=8 => ([near(rng), far(rng)], [true, rng.one_in(3)]),
        // Site to site.
        9..=15 => ([far(rng), far(rng)], [true, true]),
        // Home is behind a carrier's NAT and has to call.
        _ => ([far(rng), near(rng)], [rng.below(3) > 0, true]),
    };
    [R1, R2].map(|end| {
        let callable = places[end].callable();
        let carries = match end == R1 && names[R1] {
            true => rng.pick(&[
                Carries::Split,
                Carries::Split,
                Carries::Split,
                Carries::Everything,
                Carries::EverythingMarked,
            ]),
            false => Carries::Split,
        };
        let inside = names[end] && rng.one_in(if carries == Carries::Split { 6 } else { 2 });
        End {
            place: places[end],
            names_other: names[end],
            only_wgroam: names[end] && names[1 - end] && rng.one_in(10),
            literal: rng.below(3) > 0,
            wrong_first: rng.one_in(10),
            second_port: places[1 - end].callable() && rng.one_in(4),
            listen_port: (callable || rng.one_in(2)).then_some(PORT),
            keepalive: if callable { rng.pick(&[0, 25]) } else { 25 },
            carries,
            servers: if inside { Servers::Inside { public: rng.below(3) > 0 } } else { Servers::Around },
            probe: rng.one_in(4).then(|| rng.pick(&[0, 0, 5])),
            readd: rng.one_in(8),
            refuses: rng.below(4) > 0,
            clock_off: 0,
        }
    })
}

fn lie(rng: &mut Rng) -> Lie {
    rng.pick(&[
        Lie::Private,
        Lie::Inside,
        Lie::Loopback,
        Lie::Parked,
        Lie::Stale,
        Lie::Own,
        Lie::Nothing,
        Lie::AlsoPrivate,
        Lie::PrivateFirst,
        Lie::Ipv6First,
    ])
}

fn what(rng: &mut Rng, ends: &[End; 2], end: usize) -> What {
    if end == R3 {
        return match rng.below(3) {
            0 => What::Cut { time: rng.between(20, 150), told: false },
            _ => What::Reboot { off: rng.between(10, 150), behind: None, memory: false, moves: false },
        };
    }
    match rng.below(26) {
        0..=4 => What::Cut {
            time: if rng.one_in(2) { rng.between(1, 20) } else { rng.between(20, 150) },
            told: rng.one_in(3),
        },
        5..=7 => What::Move {
            off: rng.pick(&[secs(0), Duration::from_millis(300), secs(2), secs(10), secs(40)]),
            portal: if rng.one_in(3) { rng.between(5, 120) } else { secs(0) },
            ddns: rng.pick(&[secs(0), secs(1), secs(10), secs(60)]),
        },
        8 => What::Forget,
        9 => What::Swallow { time: rng.between(10, 120) },
        10 => What::Block { time: rng.between(10, 90) },
        11..=14 => What::Reboot {
            off: if rng.one_in(3) { rng.between(10, 300) } else { rng.between(10, 60) },
            behind: rng.one_in(3).then(|| {
                let set = match rng.one_in(3) {
                    true => ClockSet::ThroughTunnel,
                    false => ClockSet::After(rng.between(5, 60)),
                };
                (rng.pick(&[30, 3600, 7200, 86_400, 400_000]), set)
            }),
            memory: rng.below(3) > 0,
            moves: !ends[end].place.callable() || rng.one_in(4),
        },
        15..=18 if ends[end].names_other => What::Lie { lie: lie(rng), time: rng.between(10, 300) },
        19 if ends[end].names_other => What::NoNames { time: rng.between(10, 120) },
        20 if ends[1 - end].place.callable() => What::Script,
        21 => What::Hands,
        22 => What::Restart { memory: rng.one_in(2) },
        23 => What::Touch,
        24 => What::Flap,
        _ => What::Cut { time: rng.between(5, 60), told: false },
    }
}

impl What {
    /// For how long it stands in the way.
    pub fn lasts(&self) -> Duration {
        match self {
            What::Cut { time, .. } | What::Swallow { time } | What::Block { time } => *time,
            What::Lie { time, .. } | What::NoNames { time } => (*time).min(secs(60)),
            What::Move { off, portal, ddns } => *off + (*portal).max(*ddns),
            What::Reboot { off, behind, .. } => {
                *off + match behind {
                    Some((_, ClockSet::After(time))) => *time,
                    _ => secs(0),
                }
            }
            What::Forget | What::Script | What::Hands | What::Restart { .. } | What::Touch => secs(0),
            What::Flap => secs(1),
        }
    }
}
