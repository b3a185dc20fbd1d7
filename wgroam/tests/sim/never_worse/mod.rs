// SPDX-License-Identifier: GPL-2.0-only
//! Rule 6, never worse than nothing: each random world is played four times from one seed, with the same losses: with
//! wgroam on neither router, on R1, on R2, on both. Whenever the tunnel carries data without wgroam, it does with it, 2 s later at
//! most, and one handshake retry where a handshake got lost. What is luck, and what is no fault: docs/design/engine.md, "Never worse
//! than WireGuard alone".
//!
//! `WORLD=seed cargo test --test sim never_worse -- --nocapture` plays one and tells its story; `WORLDS=n` plays so many,
//! `FIRST=n` from that seed on.

mod draw;
mod events;
mod flow;
mod hands;
mod nat;
mod network;
mod plan;
mod referee;
mod router;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::{Plan, R1, R2};
use referee::Worse;
use world::{Played, play};

/// What fits into a minute of `make test`.
const WORLDS: u64 = 4000;
/// Faults that are told at most, unless `SHOWN=n` says how many.
const SHOWN: u64 = 20;

/// So often WireGuard alone plays a world again, with other jitter and losses, before a fault counts. When its next retry comes is
/// luck, and makes a difference of [`referee::RETRY`]; what got lost last decides whether it calls at all.
const LUCKS: u64 = 8;

const PLAYS: [[bool; 2]; 3] = [[true, false], [false, true], [true, true]];

fn who(with: [bool; 2]) -> &'static str {
    match (with[R1], with[R2]) {
        (true, true) => "both",
        (true, false) => "R1",
        (false, true) => "R2",
        (false, false) => "nobody",
    }
}

/// A world with a fault, in a line.
fn tale(plan: &Plan, with: [bool; 2], fault: &str) -> String {
    let ends = plan.ends.each_ref().map(|end| {
        let names = if end.names_other { "+name" } else { "" };
        let wrong = if end.wrong_first { "+wrong-first" } else { "" };
        let boot = if end.only_wgroam {
            "+only-wgroam"
        } else if end.names_other && !end.literal {
            "+asks-at-boot"
        } else {
            ""
        };
        let servers = if end.servers == plan::Servers::Around { "" } else { "+inner-dns" };
        format!("{:?}/{:?}{names}{wrong}{boot}{servers}", end.place, end.carries)
    });
    let second = match plan.second {
        None => "",
        Some(true) => ", multipath",
        Some(false) => ", two tunnels",
    };
    let only = plan.only.map(|only| format!(", only R{} sends", only + 1)).unwrap_or_default();
    let events = plan
        .events
        .iter()
        .map(|event| format!("{:.0}s R{} {:?}", event.at.as_secs_f64(), event.end + 1, event.what));
    let events: Vec<_> = events.collect();
    format!(
        "WORLD={} with wgroam on {}: {fault} | {} ~ {}{second}{only}, loss {}: {}",
        plan.seed,
        who(with),
        ends[R1],
        ends[R2],
        plan.loss,
        events.join("; ")
    )
}

fn connected(played: &Played, plan: &Plan) -> String {
    let mut text = String::new();
    for (number, flow) in flow::flows(plan).into_iter().enumerate() {
        text += &format!("R{} tunnel {}: ", flow.host + 1, flow.tunnel);
        let mut last = None;
        for (at, &ping) in played.pings[number].iter().enumerate() {
            if last != Some(ping) {
                text += &format!("{:.1} {ping:?}; ", flow.sent(at).as_secs_f64());
                last = Some(ping);
            }
        }
        text.push('\n');
    }
    text
}

/// Would WireGuard alone not have been as late, had its retries come at other moments, and other packets been lost?
fn is_worse_than_luck(plan: &Plan, base: Instant, played: &Played) -> bool {
    let worse =
        |luck| referee::judge(plan, &play(plan, [false; 2], luck, base, false), played).worst.is_some();
    (1..=LUCKS).all(worse)
}

/// What is wrong in a world, if anything is; and by how much wgroam was later than nothing, at most.
fn judge(plan: &Plan, base: Instant, tell: bool) -> (Option<String>, Duration) {
    let alone = play(plan, [false; 2], 0, base, tell);
    let print = |with: [bool; 2], played: &Played| {
        if tell {
            println!("--- wgroam on {}", who(with));
            for (when, line) in &played.story {
                println!("{:9.3} {line}", when.as_secs_f64());
            }
            println!("{}", connected(played, plan));
        }
    };
    if tell {
        println!("{plan:#?}");
    }
    print([false; 2], &alone);
    let (mut latest, mut worst, mut dead) = (Duration::ZERO, None, None);
    for with in PLAYS {
        let played = play(plan, with, 0, base, tell);
        print(with, &played);
        let verdict = referee::judge(plan, &alone, &played);
        latest = latest.max(verdict.latest);
        if let Some(worse) = verdict.worst
            && is_worse_than_luck(plan, base, &played)
            && worst.as_ref().is_none_or(|(_, other): &(_, Worse)| other.excess() < worse.excess())
        {
            worst = Some((with, worse));
        }
        if referee::ought_to_work(plan, with) && !referee::works(plan, &played) {
            dead = Some(with);
        }
    }
    let fault = match (worst, dead) {
        (Some((with, worse)), _) => Some(tale(plan, with, &format!("worse than alone: {worse}"))),
        (None, Some(with)) => Some(tale(plan, with, "dead in the end, and nothing stands in the way")),
        (None, None) => None,
    };
    (fault, latest)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock").into()
}

/// Plays these worlds on so many threads: what is wrong with which, in order, and how late each was.
fn play_all(seeds: std::ops::Range<u64>, threads: u64) -> (Vec<(u64, String)>, Vec<Duration>) {
    let base = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (mut faults, mut late) = (Vec::new(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (faults, late);
            }
            let (fault, latest) = judge(&draw::plan(seed), base, seeds.end - seeds.start == 1);
            faults.extend(fault.map(|fault| (seed, fault)));
            late.push(latest);
        }
    };
    let (mut faults, mut late) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (its, times) = worker.join().expect("no panic");
            faults.extend(its);
            late.extend(times);
        }
    });
    faults.sort();
    late.sort();
    (faults, late)
}

#[test]
fn never_worse() {
    let only = number("WORLD");
    let first = only.or(number("FIRST")).unwrap_or(0);
    let many = if only.is_some() { 1 } else { number("WORLDS").unwrap_or(WORLDS) };
    let shown = number("SHOWN").unwrap_or(SHOWN) as usize;
    let began = cpu_time();
    let (faults, late) = play_all(first..first + many, number("THREADS").unwrap_or(1));
    for (_, fault) in faults.iter().take(shown) {
        println!("{fault}");
    }
    let minutes = (cpu_time() - began).as_secs_f64() / 60.0;
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_secs_f64();
    println!(
        "{many} worlds, {:.0} a minute of one processor; later than alone: 90 % {:.1} s, 99 % {:.1} s, 99.9 % {:.1} s, most {:.1} s",
        many as f64 / minutes,
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    let seeds: Vec<_> = faults.iter().map(|&(seed, _)| seed).take(shown).collect();
    assert!(faults.is_empty(), "{} of {many} worlds have a fault, WORLD={seeds:?} ...", faults.len());
}

/// How often the referee cries out for nothing: two plays without wgroam, in which only WireGuard's own luck differs.
#[test]
fn wireguard_alone_is_never_worse_than_itself() {
    let base = Instant::now();
    for seed in 0..WORLDS / 4 {
        let plan = draw::plan(seed);
        let [one, other] = [0, 1].map(|luck| play(&plan, [false; 2], luck, base, false));
        if let Some(worse) = referee::judge(&plan, &one, &other).worst {
            panic!("{}", tale(&plan, [false; 2], &worse.to_string()));
        }
    }
}
