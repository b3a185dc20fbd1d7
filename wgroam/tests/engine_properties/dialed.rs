// SPDX-License-Identifier: GPL-2.0-only
//! The five rules where peers are dialed: names that answer or not, paths that open and close, probes,
//! reloads, several tunnels.

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wgroam::config::{Candidate, Config};
use wgroam::engine::constants::SNAPSHOT_INTERVAL;
use wgroam::engine::{Action, Event, Report};
use wgroam::model::Interface;

use super::cases;
use super::court::Court;
use super::draw::{Change, Step, address, interface};
use super::draw_dialed::{HOSTS, beginning, config, section, step};
use super::outside::{Dns, Echo, Load, Reach};

/// The two tunnels as they begin, and what happens then.
fn story(most: usize) -> impl Strategy<Value = (Config, Vec<Step>)> {
    (config(), beginning(), vec(step(), 1..most)).prop_map(|(config, mut steps, rest)| {
        steps.extend(rest);
        (config, steps)
    })
}

fn play(config: &Config, steps: &[Step], answers: bool) -> Court {
    let mut court = Court::new(config.clone());
    court.answers = answers;
    steps.iter().for_each(|step| court.take(step.clone()));
    court.check_bounds();
    court
}

/// The same where no route leads into both tunnels, and neither the name server nor an endpoint into one: that they need a
/// route is noticed when the engine wakes up, for whatever reason.
fn play_apart(config: &Config, steps: &[Step]) -> Court {
    let mut court = Court::new(config.clone());
    court.table.apart = true;
    steps.iter().for_each(|step| court.take(step.clone()));
    court
}

/// What is done about one interface and to find its peers' names, and when. Probes are numbered over all of them.
fn about(court: &Court, name: Interface, hosts: &[&str]) -> Vec<String> {
    let ours = |action: &Action| match action {
        Action::Remember => false,
        Action::Resolve { host } | Action::Report(Report::Name { host, .. }) => {
            hosts.contains(&host.as_str())
        }
        other => format!("{other:?}").contains(&format!("{name:?}")),
    };
    let told = court.actions.iter().filter(|(_, action)| ours(action)).map(|(when, action)| match action {
        Action::Probe { peer, target, .. } => format!("{when:?} probe {peer} {target}"),
        other => format!("{when:?} {other:?}"),
    });
    // In which order things are done at one moment hangs on what else is done then.
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

/// The first thing that is done about wg1 in only one of the two.
fn difference(with: &Court, without: &Court) -> Option<(Option<String>, Option<String>)> {
    let [with, without] = [with, without].map(|court| about(court, interface(1), &HOSTS[1..2]));
    let at = (0..with.len().max(without.len())).find(|&at| with.get(at) != without.get(at))?;
    Some((with.get(at).cloned(), without.get(at).cloned()))
}

fn sorted(court: &Court) -> Vec<String> {
    let mut all: Vec<_> = court.actions.iter().map(|(when, action)| format!("{when:?} {action:?}")).collect();
    all.sort();
    all
}

/// Does this step touch only wg1 and what both tunnels share?
fn of_the_second(step: &Step) -> bool {
    match step {
        Step::Dns(host, _) => *host == 1,
        Step::Event(Event::Resolved { host, .. }) => host == HOSTS[1],
        Step::Reload(_) | Step::Foreign(..) | Step::Steal(_) => false,
        _ => true,
    }
}

/// Everything works: all peers are there and answer, names too.
fn heal(court: &mut Court) {
    for n in 0..3 {
        let answer = Ok(vec![address(3).ip()]);
        court.take(Step::Dns(n, Dns::After(Duration::from_millis(30), answer)));
    }
    for wg in (0..2).map(interface) {
        court.take(Step::Event(Event::DeviceUp { interface: wg }));
        court.take(Step::Change(wg, Change::Link(true)));
        court.take(Step::Echo(wg, Echo::After(Duration::from_millis(30))));
        for n in 0..4 {
            court.take(Step::Change(wg, Change::There(n, true)));
            court.take(Step::Change(wg, Change::Moved(n, Some(address(3)))));
            court.take(Step::Change(wg, Change::Keepalive(n, 25)));
            court.take(Step::Change(wg, Change::Handshake(n)));
            court.take(Step::Path(wg, n, Reach::Anywhere, Load::Nothing));
        }
    }
    court.wait(Duration::from_secs(200));
    court.actions.clear();
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_rules_hold_for_whoever_is_dialed((config, steps) in story(80)) {
        play(&config, &steps, true);
    }

    #[test]
    fn the_same_story_gives_the_same_actions((config, steps) in story(60)) {
        let (first, second) = (play(&config, &steps, true), play(&config, &steps, true));
        assert_eq!(&first.actions, &second.actions);
    }

    #[test]
    fn what_is_being_tried_is_taken_back_at_the_end((config, steps) in story(60)) {
        let mut court = play(&config, &steps, true);
        court.stop();
        court.check_stopped();
    }

    #[test]
    fn a_reply_to_a_question_that_nobody_asked_changes_nothing((config, steps) in story(60)) {
        let with = |echo| {
            let steps = steps.iter().filter(|step| !matches!(step, Step::Foreign(..) | Step::Steal(_)));
            let echoes = steps.map(|step| match step {
                Step::Echo(interface, _) => Step::Echo(*interface, echo),
                other => other.clone(),
            });
            play_apart(&config, &echoes.collect::<Vec<_>>())
        };
        assert_eq!(sorted(&with(Echo::Foreign)), sorted(&with(Echo::Lost)));
    }

    #[test]
    fn it_leaves_a_tunnel_that_works_alone_whatever_happened_before((config, steps) in story(40)) {
        let mut court = play(&config, &steps, true);
        heal(&mut court);
        court.wakeups.clear();
        court.wait(Duration::from_secs(600));
        let every = config_probes(&court.config);
        let probed = |action: &Action| matches!(action, Action::Probe { .. });
        // That a target answers is found out once, and only now if it did not for long.
        let mut first = BTreeSet::new();
        let mut may = |action: &Action| match action {
            Action::Probe { interface, peer, .. } => every.is_some() || first.insert((*interface, *peer)),
            _ => false,
        };
        let idle = |action: &Action| matches!(action, Action::TakeSnapshot { .. } | Action::Remember);
        let other = court.actions.iter().find(|(_, action)| !idle(action) && !may(action));
        assert_eq!(other, None, "without evidence no action");
        let every = every.is_some() || court.actions.iter().any(|(_, action)| probed(action));
        let close = court.wakeups.windows(2).find(|pair| pair[1] - pair[0] < SNAPSHOT_INTERVAL);
        assert!(every || close.is_none(), "a quiet engine woke up twice within 5 s");
    }

    /// Rule 4, and what a reload must not do: wg1 and its peer never notice what is wrong with a peer of wg0.
    #[test]
    fn a_name_that_never_answers_changes_nothing_for_another_tunnel(
        (mut second, bad) in (section(1, 0), section(0, 0)),
        config in config(),
        begin in beginning(),
        rest in vec(step(), 1..40),
    ) {
        second.endpoints.retain(|candidate| candidate.host != HOSTS[0] && candidate.host != HOSTS[2]);
        second.endpoints.push(Candidate { host: HOSTS[1].into(), port: 443 });
        let mut with = Config { peers: vec![second.clone(), bad], ..config.clone() };
        with.peers[1].endpoints = vec![Candidate { host: HOSTS[0].into(), port: 51820 }];
        let without = Config { peers: vec![second], ..config };
        let steps: Vec<_> = begin.into_iter().chain(rest).filter(of_the_second).collect();
        let (with, without) = (play_apart(&with, &steps), play_apart(&without, &steps));
        assert_eq!(difference(&with, &without), None);
    }

    #[test]
    fn a_reload_changes_nothing_for_what_it_does_not_name(
        mut second in section(1, 0),
        others in vec((section(0, 0), section(0, 1)), 1..6),
        config in config(),
        begin in beginning(),
        rest in vec(step(), 1..40),
    ) {
        second.endpoints.retain(|candidate| candidate.host != HOSTS[0] && candidate.host != HOSTS[2]);
        let configs: Vec<_> = others.into_iter().map(|(first, third)| {
            let mut peers = vec![second.clone(), first, third];
            peers.iter_mut().skip(1).for_each(|peer| peer.endpoints.retain(|other| other.host != HOSTS[1]));
            Config { peers, ..config.clone() }
        }).collect();
        let steps: Vec<_> = begin.into_iter().chain(rest).filter(of_the_second).collect();
        let reloads = steps.iter().enumerate().flat_map(|(at, step)| {
            let reload = (at % 4 == 3).then(|| Step::Reload(configs[at / 4 % configs.len()].clone()));
            [Some(step.clone()), reload].into_iter().flatten()
        });
        let with = play_apart(&configs[0], &reloads.collect::<Vec<_>>());
        let without = play_apart(&configs[0], &steps);
        assert_eq!(difference(&with, &without), None);
    }
}

/// The shortest interval of regular probes.
fn config_probes(config: &Config) -> Option<u16> {
    config.peers.iter().map(|peer| peer.probe_interval).filter(|&interval| interval > 0).min()
}

proptest! {
    // Each plays more than an hour.
    #![proptest_config(cases(16))]

    #[test]
    fn what_stays_silent_for_long_costs_little((config, steps) in story(40)) {
        let mut court = play(&config, &steps, true);
        for (wg, n) in (0..2).flat_map(|wg| (0..4).map(move |n| (interface(wg), n))) {
            court.take(Step::Path(wg, n, Reach::Nowhere, if n < 2 { Load::BothWays } else { Load::Nothing }));
        }
        court.wait(Duration::from_secs(3600));
        court.actions.clear();
        court.wait(Duration::from_secs(1200));
        let mut counts = BTreeMap::new();
        for (_, action) in &court.actions {
            let kind = match action {
                Action::Poke { interface, peer, .. } => format!("poke {interface} {peer}"),
                Action::SetPort { interface, .. } => format!("rotate {interface}"),
                Action::Resolve { host } => format!("ask {host}"),
                Action::ReaddPeer { interface, peer, .. } => format!("re-add {interface} {peer}"),
                _ => continue,
            };
            *counts.entry(kind).or_insert(0) += 1;
        }
        for (kind, count) in counts {
            // A round is two pokes and up to twelve addresses, each from two ports, and then a minute of rest.
            // A name is asked for by each of up to four peers that have it.
            let most = match kind.split_once(' ') {
                Some(("poke", _)) => 30,
                Some(("ask", _)) => 5,
                _ => 2,
            };
            assert!(count <= most * 20, "{}: {} in 20 minutes", kind, count);
        }
    }
}
