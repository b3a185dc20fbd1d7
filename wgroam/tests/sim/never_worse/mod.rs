// SPDX-License-Identifier: GPL-2.0-only
//! Rule 6, never worse than nothing: each random world is played four times from one seed, with the same losses: with
//! wgroam on neither router, on R1, on R2, on both. Whenever the tunnel carries data without wgroam, it does with it, 2 s later at
//! most, and one handshake retry where a handshake got lost.
//!
//! `WORLD=seed cargo test --test sim never_worse -- --nocapture` plays one and tells its story; `WORLDS=n` plays so many,
//! `FIRST=n` from that seed on.

mod draw;
mod events;
mod hands;
mod nat;
mod network;
mod plan;
mod referee;
mod router;
mod world;

use std::time::Instant;

use plan::{Plan, R1, R2};
use referee::Worse;
use world::{Played, play};

/// What fits into a minute of `make test`.
const WORLDS: u64 = 500;

const PLAYS: [[bool; 2]; 3] = [[true, false], [false, true], [true, true]];

fn who(with: [bool; 2]) -> &'static str {
    match (with[R1], with[R2]) {
        (true, true) => "both",
        (true, false) => "R1",
        (false, true) => "R2",
        (false, false) => "nobody",
    }
}

/// What is told of a world that was worse with wgroam.
fn tale(plan: &Plan, with: [bool; 2], worse: &Worse) -> String {
    let ends = plan.ends.each_ref().map(|end| {
        let names = if end.names_other { "+name" } else { "" };
        let servers = if end.servers == plan::Servers::Around { "" } else { "+inner-dns" };
        format!("{:?}/{:?}{names}{servers}", end.place, end.carries)
    });
    let second = match plan.second {
        None => "",
        Some(true) => ", multipath",
        Some(false) => ", two tunnels",
    };
    let events = plan.events.iter().map(|event| {
        format!("{:.0}s R{} {:?}", event.at.as_secs_f64(), event.end + 1, event.what)
    });
    let events: Vec<_> = events.collect();
    format!(
        "WORLD={} worse with wgroam on {}: {worse} | {} ~ {}{second}, loss {}: {}",
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
    for (number, flow) in world::flows(plan).into_iter().enumerate() {
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

/// What each way of playing cost, and the worst that was found.
fn compare(plan: &Plan, base: Instant, tell: bool) -> Vec<([bool; 2], Worse)> {
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
    let mut found = Vec::new();
    for with in PLAYS {
        let played = play(plan, with, 0, base, tell);
        print(with, &played);
        if let Some(worse) = referee::worst(plan, &alone, &played) {
            found.push((with, worse));
        }
    }
    found
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}


#[test]
fn never_worse() {
    let base = Instant::now();
    let began = Instant::now();
    let only = number("WORLD");
    let first = only.or(number("FIRST")).unwrap_or(0);
    let many = if only.is_some() { 1 } else { number("WORLDS").unwrap_or(WORLDS) };
    let mut failed = Vec::new();
    for seed in first..first + many {
        let plan = draw::plan(seed);
        let found = compare(&plan, base, only.is_some());
        if let Some((with, worse)) = found.iter().max_by_key(|(_, worse)| worse.excess()) {
            println!("{}", tale(&plan, *with, worse));
            failed.push(seed);
        }
    }
    let took = began.elapsed();
    println!("{many} worlds in {took:.1?}, {:.0} a minute", many as f64 * 60.0 / took.as_secs_f64());
    assert!(failed.is_empty(), "worse than WireGuard alone in {} of {many} worlds: {failed:?}", failed.len());
}

/// How often the referee cries out for nothing: two plays without wgroam, in which only WireGuard's own luck differs.
#[test]
fn never_worse_than_itself() {
    let base = Instant::now();
    let many = number("WORLDS").unwrap_or(WORLDS);
    let mut failed = Vec::new();
    for seed in 0..many {
        let plan = draw::plan(seed);
        let [one, other] = [0, 1].map(|luck| play(&plan, [false; 2], luck, base, false));
        if let Some(worse) = referee::worst(&plan, &one, &other) {
            println!("{}", tale(&plan, [false; 2], &worse));
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} of {many}: {failed:?}", failed.len());
}
