// SPDX-License-Identifier: GPL-2.0-only
//! The referee compares two plays of one world: where was WireGuard alone connected, and with wgroam it was not?

use std::fmt;
use std::time::Duration;

use super::flow::{Flow, PING, Ping, flows};
use super::plan::{Carries, ClockSet, Event, Plan, R1, R2, Servers, What};
use super::world::{How, Played};
use crate::wireguard::Time;

/// Later than WireGuard alone by this is not worse.
const LATER: Duration = Duration::from_secs(2);
/// Data that is not answered makes WireGuard start a handshake after KEEPALIVE_TIMEOUT + REKEY_TIMEOUT and its jitter.
const UNANSWERED: Duration = Duration::from_millis(15_400);
/// Nothing has stood in the way for so long: then wgroam has to be through. Two ways by a handshake each, and the rest between.
const CALM: Duration = Duration::from_secs(40);
/// What a lost handshake costs: REKEY_TIMEOUT, its jitter, and the way.
pub const RETRY: Duration = Duration::from_millis(5400);

/// A time in which alone was connected and with wgroam was not.
#[derive(Clone, Debug)]
pub struct Worse {
    pub flow: Flow,
    pub from: Time,
    pub lasts: Duration,
    pub allowed: Duration,
    /// Of its pings: how many a route refused.
    pub refused: usize,
    /// It was not over when the play was.
    pub to_the_end: bool,
}

impl Worse {
    pub fn excess(&self) -> Duration {
        self.lasts.saturating_sub(self.allowed)
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Flow { host, tunnel, .. } = self.flow;
        let over = if self.to_the_end { "to the end, " } else { "" };
        write!(f, "R{} tunnel {tunnel}: from {:.1?} for {:.1?}, ", host + 1, self.from, self.lasts)?;
        write!(f, "{over}{:.1?} allowed", self.allowed)?;
        if self.refused > 0 {
            write!(f, ", {} pings refused", self.refused)?;
        }
        Ok(())
    }
}

/// What the comparison of two plays of a world says.
#[derive(Default)]
pub struct Verdict {
    /// The worst that lasts longer than it may.
    pub worst: Option<Worse>,
    /// By how much the tunnel was later than alone, at most; within what is allowed, too.
    pub latest: Duration,
}

pub fn judge(plan: &Plan, alone: &Played, with: &Played) -> Verdict {
    let mut found: Vec<Worse> = Vec::new();
    for (number, flow) in flows(plan).into_iter().enumerate() {
        stretches(flow, (&alone.pings[number], &alone.calls), &with.pings[number], with, &mut found);
    }
    let latest = found.iter().map(|worse| worse.lasts).max().unwrap_or_default();
    let too_long = found.into_iter().filter(|worse| !worse.excess().is_zero());
    Verdict { worst: too_long.max_by_key(Worse::excess), latest }
}

/// With wgroam on these routers the tunnel has to be up in the end: whoever calls knows a name that has told the truth for a
/// while, nothing stands in the way, and a name server can be reached around the tunnel.
pub fn ought_to_work(plan: &Plan, with: [bool; 2]) -> bool {
    let calls = |end: usize| {
        let own = &plan.ends[end];
        with[end]
            && own.names_other
            && plan.ends[1 - end].place.callable()
            && own.servers != Servers::Inside { public: false }
    };
    // Whose WireGuard's own packets go into the tunnel, and nobody gives them another route.
    let lost = |end: usize| plan.ends[end].carries == Carries::Everything && !with[end];
    let clear = |event: &Event| match event.what {
        // An interface that waits for an address comes up late.
        What::Lie { time, .. } => {
            (!calls(event.end) && plan.ends[event.end].literal) || event.at + time + CALM < plan.until
        }
        What::NoNames { time } => event.at + time + CALM < plan.until,
        // It may wait for the tunnel to learn that it is late; WireGuard takes no call from the past.
        What::Reboot { behind: Some((_, ClockSet::ThroughTunnel)), .. } => false,
        _ => event.at + event.what.lasts() + CALM < plan.until,
    };
    (calls(R1) || calls(R2)) && !lost(R1) && plan.events.iter().all(clear)
}

/// Does the first flow of each LAN get answers in the end?
pub fn works(plan: &Plan, played: &Played) -> bool {
    let flows = flows(plan);
    let main = flows.iter().zip(&played.pings).filter(|(flow, _)| flow.host <= R2 && flow.tunnel == 0);
    main.map(|(_, pings)| pings)
        .all(|pings| pings.iter().rev().skip(3).take(10).any(|&ping| ping == Ping::Answered))
}

fn stretches(
    flow: Flow,
    (alone, calls): (&[Ping], &[(Time, usize)]),
    with: &[Ping],
    played: &Played,
    found: &mut Vec<Worse>,
) {
    // A single ping that got lost is no outage.
    let answered = |pings: &[Ping], at: usize| pings.get(at) == Some(&Ping::Answered);
    let connected =
        |at: usize| answered(alone, at) || (at > 0 && answered(alone, at - 1) && answered(alone, at + 1));
    let mut at = 0;
    while at < alone.len() {
        let begin = at;
        while at < alone.len() && connected(at) && !answered(with, at) {
            at += 1;
        }
        if at == begin {
            at += 1;
            continue;
        }
        let (from, lasts) = (flow.sent(begin), PING * (at - begin) as u32);
        let allowed = match flow.ends().iter().any(|&end| does_not_call(end, from, lasts, calls, played)) {
            true => lasts,
            false => allowed(flow, from, lasts, played),
        };
        let refused = with[begin..at].iter().filter(|&&ping| ping == Ping::Refused).count();
        let to_the_end = at + 3 >= alone.len();
        found.push(Worse { flow, from, lasts, allowed, refused, to_the_end });
    }
}

/// An end without wgroam is content: something came from the far end just before the outage, a poke of its wgroam or a ping.
/// Alone it was waiting for an answer just then, and called.
fn does_not_call(end: usize, from: Time, lasts: Duration, alone: &[(Time, usize)], played: &Played) -> bool {
    let calls = |list: &[(Time, usize)], from: Time, until: Time| {
        list.iter().any(|&(when, who)| who == end && when + RETRY * 2 > from && when <= until)
    };
    !played.with[end] && calls(alone, from, from + PING) && !calls(&played.calls, from, from + lasts)
}

/// 2 s, and a handshake retry if one of that pair came to nothing just before; one for each that was lost by bad luck; and one if
/// two crossed (or two: WireGuard alone was seen to do that twice in a row, once in 1,000 worlds). What is wasted where nobody is, while alone is connected, is wgroam's own doing.
///
/// More if the packet got lost that tells the responder that its new session is in use: it goes on with the one before,
/// which the initiator has dropped if two handshakes crossed (noise.c: add_new_keypair). That was seen once in 6,000 worlds.
///
/// Whoever calls with a clock that is behind gets in alone if it never called before, or not since the far end began anew. With
/// wgroam it has called earlier and oftener, the far end knows a later time of it, and nothing helps until the clock is set.
fn allowed(flow: Flow, from: Time, lasts: Duration, played: &Played) -> Duration {
    let [_, far] = flow.ends();
    let near = |when: Time| when + RETRY > from && when <= from + lasts;
    let lost = |how: How| {
        let its = played.lost.iter().filter(move |lost| (lost.far, lost.how) == (far, how) && near(lost.at));
        its.map(|lost| lost.at)
    };
    let before = lost(How::NoWay).chain(lost(How::Past)).any(|when| when <= from + PING);
    let crossed = lost(How::Crossed).take(2).count() as u32;
    let retries = u32::from(before) + crossed + lost(How::Luck).count() as u32;
    let unconfirmed = lost(How::Keepalive).next().map_or(Duration::ZERO, |_| UNANSWERED);
    let past = lost(How::Past).next_back().map_or(Duration::ZERO, |when| when.saturating_sub(from) + RETRY);
    LATER + PING + (RETRY * retries).max(past) + unconfirmed
}
