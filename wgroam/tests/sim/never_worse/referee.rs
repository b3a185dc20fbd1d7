// SPDX-License-Identifier: GPL-2.0-only
//! The referee compares two plays of one world: where was WireGuard alone connected, and with wgroam it was not?

use std::fmt;
use std::time::Duration;

use super::plan::{Plan, R1};
use super::world::{Flow, PING, Ping, Played, flows};
use crate::wireguard::Time;

/// Later than WireGuard alone by this is not worse.
const LATER: Duration = Duration::from_secs(2);
/// What a lost handshake costs: REKEY_TIMEOUT, its jitter, and the way.
const RETRY: Duration = Duration::from_millis(5400);

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

/// The worst of those that last longer than they may.
pub fn worst(plan: &Plan, alone: &Played, with: &Played) -> Option<Worse> {
    let mut found: Vec<Worse> = Vec::new();
    for (number, flow) in flows(plan).into_iter().enumerate() {
        stretches(flow, &alone.pings[number], &with.pings[number], with, &mut found);
    }
    found.into_iter().max_by_key(Worse::excess)
}

fn stretches(flow: Flow, alone: &[Ping], with: &[Ping], played: &Played, found: &mut Vec<Worse>) {
    // A single ping that got lost is no outage.
    let answered = |pings: &[Ping], at: usize| pings.get(at) == Some(&Ping::Answered);
    let connected = |at: usize| {
        answered(alone, at) || (at > 0 && answered(alone, at - 1) && answered(alone, at + 1))
    };
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
        let allowed = allowed(flow, from, lasts, played);
        if lasts > allowed {
            let refused = with[begin..at].iter().filter(|&&ping| ping == Ping::Refused).count();
            let to_the_end = at + 3 >= alone.len();
            found.push(Worse { flow, from, lasts, allowed, refused, to_the_end });
        }
    }
}

/// 2 s, and one handshake retry if a handshake of that pair came to nothing just before; and one for each that was lost by bad luck.
fn allowed(flow: Flow, from: Time, lasts: Duration, played: &Played) -> Duration {
    let far = if flow.host == R1 { flow.tunnel + 1 } else { flow.host };
    let near = |when: Time| when + RETRY > from && when <= from + lasts;
    let lost = || played.lost.iter().filter(move |lost| lost.far == far && near(lost.at));
    let unlucky = lost().filter(|lost| lost.luck).count() as u32;
    LATER + PING + RETRY * unlucky.max(u32::from(lost().next().is_some()))
}
