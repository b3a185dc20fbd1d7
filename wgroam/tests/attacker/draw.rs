// SPDX-License-Identifier: GPL-2.0-only
//! Draws a play from a seed. What leads somewhere is drawn more often: recordings at the very moment of a handshake, and
//! then silence.

use std::time::Duration;

use super::rng::Rng;
use super::script::{
    ANCHOR, Firewall, Happens, Old, ROAMER, Reflex, Script, Section, Seen, Shot, Source, Step, Tap, Which,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// One of them.
fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// True once in so many times.
fn once_in(rng: &mut Rng, times: u64) -> bool {
    rng.below(times) == 0
}

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + rng.below(to - from))
}

/// The time to the next step.
fn wait(rng: &mut Rng) -> Duration {
    match rng.below(12) {
        0 => Duration::ZERO,
        1 => millis(rng, 1, 30),
        2 | 3 => millis(rng, 30, 200),
        4 | 5 => millis(rng, 200, 1000),
        6 => millis(rng, 1000, 5000),
        7 | 8 => millis(rng, 5000, 12_000),
        9 | 10 => millis(rng, 10_000, 30_000),
        _ => millis(rng, 100_000, 200_000),
    }
}

pub fn script(seed: u64) -> Script {
    let mut rng = Rng(seed ^ 0xa77a_c4e5);
    let rng = &mut rng;
    let anchor = pick(rng, &[Section::Awaited, Section::Awaited, Section::ByAddress, Section::ByName]);
    let roamer = pick(rng, &[Section::NoDaemon, Section::NoDaemon, Section::Awaited, Section::ByAddress]);
    let old = (0..rng.below(5)).map(|_| old(rng)).collect();
    let mut script = Script {
        sections: [anchor, roamer],
        readd: once_in(rng, 8),
        keepalive: [pick(rng, &[0, 0, 25]), pick(rng, &[0, 0, 0, 25])],
        anchor_knows: once_in(rng, 4),
        quick: once_in(rng, 8),
        loss: pick(rng, &[0, 0, 0, 50, 200]),
        old,
        reflexes: Vec::new(),
        steps: Vec::new(),
    };
    let daemons: Vec<usize> =
        [ANCHOR, ROAMER].into_iter().filter(|&host| script.sections[host] != Section::NoDaemon).collect();
    // Some data packets are no multiple of 16: peers that do not pad (boringtun does not).
    let pads = !once_in(rng, 4);
    let mut steps = Vec::new();
    // Before the attack he only records.
    if once_in(rng, 2) {
        steps.push((Duration::ZERO, Step::Happens(Happens::DaemonStops(ANCHOR))));
    }
    for _ in 0..1 + rng.below(4) {
        let call = Happens::Send(ROAMER, size(rng, pads));
        steps.push((wait(rng), Step::Happens(call)));
        for _ in 0..rng.below(3) {
            let what = happens(rng, &daemons, pads);
            steps.push((wait(rng), Step::Happens(what)));
        }
    }
    if once_in(rng, 2) {
        let started = Happens::DaemonStarts(ANCHOR, once_in(rng, 3));
        steps.push((wait(rng), Step::Happens(started)));
    }
    steps.push((wait(rng), Step::AttackBegins));
    for _ in 0..1 + rng.below(5) {
        // Something that makes WireGuard do a handshake, or what lets recordings matter.
        for _ in 0..1 + rng.below(3) {
            let what = happens(rng, &daemons, pads);
            steps.push((wait(rng), Step::Happens(what)));
        }
        for _ in 0..rng.below(3) {
            steps.push((wait(rng), Step::Shot(shot(rng, &daemons))));
        }
        if once_in(rng, 3) {
            steps.push((wait(rng), tape(rng)));
        }
    }
    if once_in(rng, 2) {
        let quiet = millis(rng, 9000, 20_000);
        let shot = Shot { victim: ANCHOR, which: Which::Next, source: Source::Own };
        steps.push((quiet, Step::Shot(shot)));
    }
    steps.push((millis(rng, 600, 1500), Step::AttackEnds));
    script.steps = steps;
    script.reflexes = (0..rng.below(4)).map(|_| reflex(rng, &daemons)).collect();
    if !pads && once_in(rng, 3) {
        // He sees how long the data is, and passes a recording off for it.
        let shot = Shot { victim: ANCHOR, which: Which::Next, source: Source::Present };
        let on = Seen::Data(ROAMER);
        script.reflexes.push(Reflex { on, after: Duration::ZERO, shot, times: 2 });
    }
    script
}

fn old(rng: &mut Rng) -> Old {
    let age = match rng.below(3) {
        0 => 20 + rng.below(300),
        1 => rng.below(DAY),
        _ => rng.below(100 * DAY),
    };
    let ahead = match rng.below(6) {
        0 => age + rng.below(300),
        1 => age + rng.below(DAY),
        _ => 0,
    };
    let series = pick(rng, &[(0, 0), (0, 0), (4, 5), (2, 120)]);
    Old { age, ahead, from_here: once_in(rng, 3), series }
}

/// The size of a data packet, as WireGuard counts it.
fn size(rng: &mut Rng, pads: bool) -> u64 {
    match rng.below(4) {
        // That of an initiation, if the sender does not pad.
        0 if !pads => 148,
        1 if !pads => 33 + rng.below(300),
        // MTU 1420: full packets are not padded.
        2 => 1452,
        _ => 32 + 16 * (1 + rng.below(12)),
    }
}

fn happens(rng: &mut Rng, daemons: &[usize], pads: bool) -> Happens {
    let end = pick(rng, &[ANCHOR, ANCHOR, ROAMER]);
    let daemon = pick(rng, daemons);
    match rng.below(32) {
        0..4 => Happens::Send(ANCHOR, 32 + 16 * (1 + rng.below(12))),
        4..7 => Happens::Send(ROAMER, size(rng, pads)),
        7..11 => Happens::Flap(if once_in(rng, 3) { ANCHOR } else { ROAMER }),
        11 => Happens::Recreate(end),
        12 => Happens::Anew(end, once_in(rng, 2)),
        13 | 14 => Happens::Moves,
        15 | 16 => Happens::Clock(clock(rng)),
        17..21 => {
            let firewall = pick(rng, &[Firewall::Open, Firewall::Stateful, Firewall::NoInitiations]);
            Happens::Firewall(end, firewall)
        }
        21 | 22 => Happens::Tap(pick(rng, &[Tap::Sees, Tap::Sees, Tap::Rests, Tap::Flooded, Tap::Blind])),
        23 | 24 => Happens::Unheard(once_in(rng, 2)),
        25 => Happens::DaemonStops(daemon),
        26 | 27 => Happens::DaemonStarts(daemon, once_in(rng, 2)),
        28 => Happens::OwnerSets,
        29 => Happens::Poke(daemon),
        30 => Happens::WanChanged(daemon),
        _ => Happens::Send(end, 32 + 16 * (1 + rng.below(4))),
    }
}

fn clock(rng: &mut Rng) -> i64 {
    match rng.below(6) {
        0 | 1 => 0,
        2 => -(rng.below(DAY) as i64),
        3 => rng.below(DAY) as i64,
        4 => rng.below(600) as i64,
        _ => rng.below(40) as i64 - 20,
    }
}

fn which(rng: &mut Rng) -> Which {
    match rng.below(8) {
        0..4 => Which::Next,
        4 | 5 => Which::Any(rng.next()),
        6 => Which::Last,
        _ => Which::Other(rng.next()),
    }
}

fn source(rng: &mut Rng) -> Source {
    match rng.below(8) {
        0..3 => Source::Own,
        3 | 4 => Source::Present,
        5 => Source::Earlier(rng.next()),
        6 => Source::Same,
        _ => pick(rng, &[Source::Victims, Source::Own]),
    }
}

fn shot(rng: &mut Rng, daemons: &[usize]) -> Shot {
    let victim = if once_in(rng, 6) { pick(rng, daemons) } else { ANCHOR };
    Shot { victim, which: which(rng), source: source(rng) }
}

fn tape(rng: &mut Rng) -> Step {
    if once_in(rng, 4) {
        return Step::Due(source(rng));
    }
    let sources = [pick(rng, &[Source::Present, Source::Present, Source::Own]), source(rng)];
    Step::Tape { nth: rng.next(), first: 1 + rng.below(2) as usize, sources }
}

fn reflex(rng: &mut Rng, daemons: &[usize]) -> Reflex {
    let on = match rng.below(6) {
        0 | 1 => Seen::Initiation(ANCHOR),
        2 | 3 => Seen::Initiation(ROAMER),
        4 => Seen::Response(pick(rng, &[ANCHOR, ROAMER])),
        _ => Seen::Data(pick(rng, &[ANCHOR, ROAMER])),
    };
    let after = match rng.below(4) {
        0 => Duration::ZERO,
        1 => millis(rng, 1, 60),
        2 => millis(rng, 60, 1000),
        _ => millis(rng, 9_000, 14_000),
    };
    Reflex { on, after, shot: shot(rng, daemons), times: 1 + rng.below(4) as u32 }
}
