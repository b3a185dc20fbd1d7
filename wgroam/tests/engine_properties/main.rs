// SPDX-License-Identifier: GPL-2.0-only
//! What holds whatever happens, in whatever order: the rules of the design that never bend, and the bounds on what the
//! engine does. Events are drawn at random; a referee that shares no code with the engine watches every action.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod book;
mod checks;
mod court;
mod dialed;
mod draw;
mod draw_dialed;
mod homes;
mod outside;
mod proof;
mod referee;
mod regressions;
mod table;
mod tale;
mod trace;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wgroam::engine::{Action, Event};
use wgroam::initiation::Verdict;

use court::Court;
use draw::{Change, Step, address, config, interface, step, verdict};

/// So many times each property is put to the test: PROPTEST_CASES, or as many as fit in a minute. The cases are the same in each
/// run; PROPTEST_RNG_SEED=NUMBER plays others, and TRACE=FILE writes down what happened in one that failed.
fn cases(cases: u32) -> ProptestConfig {
    let given = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seed = given("PROPTEST_RNG_SEED").unwrap_or(5);
    // Shown where the test fails.
    println!("PROPTEST_RNG_SEED={seed}");
    ProptestConfig {
        cases: given("PROPTEST_CASES").map_or(cases, |asked| asked as u32),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    }
}

fn play(steps: &[Step], answers: bool) -> Court {
    let mut court = Court::new(config(false));
    court.answers = answers;
    steps.iter().for_each(|step| court.take(step.clone()));
    court.check_bounds();
    court
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_rules_hold_whatever_happens(steps in vec(step(), 1..80)) {
        play(&steps, true);
    }

    #[test]
    fn the_rules_hold_when_devices_answer_late_or_never(steps in vec(step(), 1..80)) {
        play(&steps, false);
    }

    #[test]
    fn the_same_events_give_the_same_actions(steps in vec(step(), 1..60)) {
        assert_eq!(&play(&steps, true).actions, &play(&steps, true).actions);
    }

    #[test]
    fn it_comes_to_rest_whatever_happened(steps in vec(step(), 1..60)) {
        play(&steps, true).check_quiet();
    }

    #[test]
    fn no_unproven_packet_has_any_effect(sources in vec((0..5_u8, verdict()), 1..60)) {
        let mut court = Court::new(config(false));
        let wg0 = interface(0);
        court.tell(Event::DeviceUp { interface: wg0 });
        court.change(wg0, Change::Moved(0, Some(address(4))));
        court.change(wg0, Change::Received(0, 100));
        court.check_quiet();
        court.actions.clear();
        let deadline = court.engine.next_deadline();
        for (source, verdict) in sources {
            let late = matches!(verdict, Verdict::Replay { behind, .. } if behind.as_secs() >= 3);
            // A peer whose clock is behind is called where it is.
            let there = court.devices[&wg0].peers.iter().any(|peer| peer.endpoint == Some(address(source)));
            let authentic = matches!(verdict, Verdict::Authentic { .. });
            let called_back = late && there;
            if !authentic && !called_back {
                court.tell(Event::Initiation { interface: wg0, source: address(source), verdict });
            }
        }
        assert_eq!(court.engine.next_deadline(), deadline);
        assert!(court.actions.iter().all(|(_, action)| matches!(action, Action::Report(_))));
    }
}
