// SPDX-License-Identifier: GPL-2.0-only
//! Plays, many at once, and what is said of those that fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::draw::script;
use super::referee::Kind;
use super::script::{ANCHOR, ROAMER, Script, Step};
use super::world::{World, name};

/// So many in `make test`.
const PLAYS: u64 = 10_000;
/// The ends have so long to reach each other after the attack; longer than WireGuard tries.
const LIMIT: Duration = Duration::from_secs(100);
/// Later than without wgroam by no more than this: 2 s, and a handshake that has to be tried again (REKEY_TIMEOUT and its
/// jitter).
const LATER: Duration = Duration::from_millis(7400);

/// What plays showed.
#[derive(Debug, Default)]
struct Tally {
    moved: usize,
    voids: usize,
    relayed: usize,
    due: usize,
    believed: usize,
    poked: usize,
    raced: usize,
    regardless: usize,
    /// The first seeds of each kind, and how many plays there were.
    fouls: BTreeMap<Kind, (u64, Vec<u64>)>,
}

const SEEDS_SHOWN: usize = 6;

impl Tally {
    fn add(&mut self, seed: u64, fouls: &[(Kind, String)], world: &World) {
        let referee = &world.referee;
        self.moved += referee.moved;
        self.voids += referee.voids;
        self.relayed += referee.relayed;
        self.due += referee.due;
        self.believed += referee.believed;
        self.poked += referee.poked;
        self.raced += referee.raced;
        self.regardless += referee.regardless;
        let mut kinds: Vec<Kind> = fouls.iter().map(|&(kind, _)| kind).collect();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            let (count, seeds) = self.fouls.entry(kind).or_default();
            *count += 1;
            seeds.push(seed);
            seeds.sort();
            seeds.truncate(SEEDS_SHOWN);
        }
    }
}

/// So often a play in which wgroam was late is played again, each time with another jitter after the attack: whether two
/// initiations cross, and come to nothing, is luck. It is a fault if wgroam is late in most of them.
const LUCKS: u64 = 8;

/// Plays a script with wgroam; and if the ends do not reach each other at once after the attack, also up to there with
/// wgroam and then on without. Returns the world with it, and in what it was worse.
fn compare(seed: u64, script: &Script, told: bool) -> (World, Vec<String>) {
    let (world, worse) = compare_once(seed, script, 0, told);
    if worse.is_empty() || world.referee.same_as_owner {
        return (world, Vec::new());
    }
    let again = (1..=LUCKS).filter(|&luck| !compare_once(seed, script, luck, false).1.is_empty()).count();
    (world, if again as u64 > LUCKS / 2 { worse } else { Vec::new() })
}

fn compare_once(seed: u64, script: &Script, luck: u64, told: bool) -> (World, Vec<String>) {
    let mut world = World::new(seed, script, (false, luck), told);
    world.play(LIMIT + LATER);
    let with = [ANCHOR, ROAMER].map(|host| world.recovery(host));
    if with.iter().all(|with| with.is_some_and(|with| with <= LATER)) {
        return (world, Vec::new());
    }
    let mut alone = World::new(seed, script, (true, luck), false);
    alone.play(LIMIT);
    let worse = [ANCHOR, ROAMER].into_iter().filter_map(|host| {
        let (without, with) = (alone.recovery(host)?, with[host]);
        let worse = with.is_none_or(|with| with > without + LATER);
        worse.then(|| format!("{} without wgroam after {without:?}, with it {with:?}", name(host)))
    });
    let worse = worse.collect();
    (world, worse)
}

/// Plays one seed. Returns the world with wgroam, and all fouls.
fn play(seed: u64, told: bool) -> (World, Vec<(Kind, String)>) {
    let script = script(seed);
    let (mut world, worse) = compare(seed, &script, told);
    let mut fouls = world.referee.fouls.clone();
    if !worse.is_empty() {
        // Is it the attack's doing? What goes wrong without it is for tests/sim to find.
        let peaceful = Script { reflexes: Vec::new(), ..script.clone() };
        let harmless =
            |&(after, step)| (after, if matches!(step, Step::Shot(_)) { Step::Nothing } else { step });
        let peaceful = Script { steps: script.steps.iter().map(harmless).collect(), ..peaceful };
        // And an endpoint that was set on a recording whose time had come is what no rule can tell.
        match compare(seed, &peaceful, false).1.is_empty() && world.referee.due == 0 {
            true => fouls.extend(worse.into_iter().map(|words| (Kind::Worse, words))),
            false => world.referee.regardless += 1,
        }
    }
    (world, fouls)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_recording_moves_an_endpoint() {
    if let Some(seed) = variable("PLAY") {
        let (world, fouls) = play(seed, true);
        println!("{:#?}", script(seed));
        world.story.iter().flatten().for_each(|line| println!("{line}"));
        assert!(fouls.is_empty(), "play {seed}: {fouls:#?}");
        return;
    }
    let (from, plays) = (variable("FROM").unwrap_or(0), variable("PLAYS").unwrap_or(PLAYS));
    let (next, tally, begun) = (AtomicU64::new(from), Mutex::new(Tally::default()), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + plays {
                        break;
                    }
                    let (world, fouls) = play(seed, false);
                    tally.lock().unwrap().add(seed, &fouls, &world);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{plays} plays in {:.1} s: {tally:?}", begun.elapsed().as_secs_f64());
    let first = tally.fouls.values().filter_map(|(_, seeds)| seeds.first().copied()).min();
    if let Some(seed) = first {
        let (world, fouls) = play(seed, true);
        world.story.iter().flatten().for_each(|line| println!("{line}"));
        panic!("play {seed} (PLAY={seed} tells it): {fouls:#?}\nof {plays}: {:#?}", tally.fouls);
    }
    // Otherwise nothing was tried.
    assert!(plays < PLAYS || (tally.moved > 0 && tally.voids > 0 && tally.poked > 0), "{tally:?}");
}
