// SPDX-License-Identifier: GPL-2.0-only
//! The names of the configuration and what they stand for. Answers are kept until a newer one comes: an old address is
//! better than none. One name that fails touches no other.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ResolveError;
use super::constants::*;
use super::instant::{Instant, earliest, nanos, within};
use crate::config;
use crate::sorted::SortedMap;

#[derive(Debug, Default)]
struct Name {
    addresses: Vec<IpAddr>,
    /// When the last good answer came.
    answered: Option<Instant>,
    /// The question that has no answer yet.
    asked: Option<Instant>,
    last_asked: Option<Instant>,
    /// When it is to be asked for next.
    wanted: Option<Instant>,
    /// Since when it fails, and why.
    failing: Option<(Instant, ResolveError)>,
}

/// All names that are in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: SortedMap<String, Name>,
}

impl Names {
    /// These names are in use from now on. Those that are new are asked for.
    pub fn set(&mut self, now: Instant, hosts: &[&str]) {
        let mut old = std::mem::take(&mut self.names);
        for &host in hosts {
            if host.parse::<IpAddr>().is_err() && !self.names.contains_key(host) {
                let new = || Name { wanted: Some(now), ..Name::default() };
                self.names.insert(host.to_owned(), old.remove(host).unwrap_or_else(new));
            }
        }
    }

    /// Somebody needs an answer of now. A name that fails keeps to its backoff; one that was just asked for will have it.
    pub fn want(&mut self, now: Instant, host: &str) {
        let just_asked = |name: &Name| within(name.asked, NAME_SPACING, now);
        if let Some(name) = self.names.get_mut(host).filter(|name| name.wanted.is_none() && !just_asked(name))
        {
            name.wanted = Some(spaced(now, name));
        }
    }

    /// The network or the clock changed: each name is asked for again, and backoffs begin anew.
    pub fn reset(&mut self, now: Instant) {
        for name in self.names.values_mut() {
            name.wanted = Some(spaced(now, name));
            if let Some((since, _)) = &mut name.failing {
                *since = now;
            }
        }
    }

    /// The next name to ask for; it counts as asked.
    pub fn due(&mut self, now: Instant) -> Option<String> {
        let due = |name: &Name| moment(name).is_some_and(|at| at <= now);
        let (host, name) = self.names.iter_mut().find(|(_, name)| due(name))?;
        (name.asked, name.last_asked, name.wanted) = (Some(now), Some(now), None);
        Some(host.clone())
    }

    /// When [`Names::due`] has something.
    pub fn deadline(&self) -> Option<Instant> {
        self.names.values().map(moment).fold(None, earliest)
    }

    /// Takes an answer in. True when it is another one than before.
    pub fn answer(&mut self, now: Instant, host: &str, answer: &Result<Vec<IpAddr>, ResolveError>) -> bool {
        let Some(name) = self.names.get_mut(host) else { return false };
        let asked = name.asked.take().unwrap_or(now);
        let error = match answer {
            Ok(addresses) if !addresses.is_empty() => {
                let changed = name.addresses != *addresses || name.failing.is_some();
                name.addresses.clone_from(addresses);
                // What it says is true of the moment of the question, not of that of the answer.
                name.answered = Some(asked);
                name.failing = None;
                return changed;
            }
            Ok(_) => ResolveError::NotFound,
            Err(error) => error.clone(),
        };
        let before = name.failing.take();
        let changed = before.as_ref().is_none_or(|(_, old)| *old != error);
        let since = before.map_or(asked, |(since, _)| since);
        name.failing = Some((since, error));
        // From the question on: one that nobody heard takes seconds to fail, and they count.
        let again = asked + backoff(now.saturating_duration_since(since), NAME_BACKOFF, NAME_RETRY);
        name.wanted = Some(again.max(now));
        changed
    }

    /// Is what the name stands for known as of this moment? An address needs no answer, and a name that never had one does
    /// not speak for any.
    pub fn fresh(&self, host: &str, since: Instant) -> bool {
        self.names.get(host).is_none_or(|name| name.answered.is_none_or(|answered| answered >= since))
    }

    /// What a name or literal address stands for, and why nothing newer is known.
    pub fn lookup(&self, host: &str) -> (Vec<IpAddr>, Option<&ResolveError>) {
        if let Ok(literal) = host.parse() {
            return (vec![literal], None);
        }
        let known = |name: &Name| name.addresses.clone();
        let name = self.names.get(host);
        let error = name.and_then(|name| name.failing.as_ref()).map(|(_, error)| error);
        (name.map(known).unwrap_or_default(), error)
    }

    /// Was there no good answer since then, or does it fail since the last one?
    pub fn is_unknown(&self, host: &str, since: Instant) -> bool {
        let unknown = |name: &Name| name.answered.is_none_or(|answered| answered < since);
        self.names.get(host).is_some_and(|name| unknown(name) || name.failing.is_some())
    }

    /// Where the peer may be: candidate by candidate, each address once.
    pub fn endpoints(&self, section: &config::Peer) -> Vec<SocketAddr> {
        let mut list = Vec::new();
        for candidate in &section.endpoints {
            for ip in self.lookup(&candidate.host).0 {
                let endpoint = SocketAddr::new(ip, candidate.port);
                if section.family.takes(ip) && !list.contains(&endpoint) {
                    list.push(endpoint);
                }
            }
        }
        list
    }
}

fn spaced(now: Instant, name: &Name) -> Instant {
    name.last_asked.map_or(now, |last| now.max(last + NAME_SPACING))
}

fn moment(name: &Name) -> Option<Instant> {
    let wanted = name.wanted?;
    Some(name.asked.map_or(wanted, |asked| wanted.max(asked + NAME_LOST)))
}

/// A part of the time that something has failed for, within bounds: what fails for seconds is tried again after one,
/// what fails for an hour after a minute.
pub(super) fn backoff(failed: Duration, part: u64, least: Duration) -> Duration {
    Duration::from_nanos(nanos(failed) / part).clamp(least, BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn names(now: Instant) -> Names {
        let mut names = Names::default();
        names.set(now, &["a.example", "192.0.2.1", "b.example", "a.example"]);
        names
    }

    #[test]
    fn each_name_is_asked_once_at_a_time_and_an_address_never() {
        let now = Instant::now();
        let mut names = names(now);
        assert_eq!(names.due(now).as_deref(), Some("a.example"));
        assert_eq!(names.due(now).as_deref(), Some("b.example"));
        names.want(now, "a.example");
        names.reset(now + 2 * SECOND);
        assert_eq!(names.due(now + 3 * SECOND), None, "both are still being asked for");
        names.answer(now + 3 * SECOND, "a.example", &Err(ResolveError::TimedOut));
        assert_eq!(names.due(now + 3 * SECOND).as_deref(), Some("a.example"), "it took longer than a rest");
        names.answer(now + 3 * SECOND, "a.example", &Err(ResolveError::NotFound));
        assert_eq!(names.due(now + 3 * SECOND), None);
        assert_eq!(names.due(now + 4 * SECOND).as_deref(), Some("a.example"));
    }

    #[test]
    fn a_name_that_fails_is_asked_for_within_two_seconds_of_a_minute_and_once_a_minute_later() {
        let start = Instant::now();
        let mut names = names(start);
        let (mut asked, mut asked_in_first_minute) = (0, 0);
        let mut last = start;
        while let Some(at) = names.deadline().filter(|&at| at < start + 7200 * SECOND) {
            while let Some(host) = names.due(at) {
                assert!(at < start + 60 * SECOND || at - last <= BACKOFF_MAX + SECOND);
                names.answer(at, &host, &Err(ResolveError::NotFound));
                asked += 1;
                asked_in_first_minute += u32::from(at < start + 60 * SECOND);
                assert!(at >= start + 60 * SECOND || at - last <= 2 * SECOND);
                last = at;
            }
        }
        assert!((60..=120).contains(&asked_in_first_minute), "{asked_in_first_minute} of two names");
        assert!(asked < 700, "{asked} in two hours");
        names.reset(last);
        assert_eq!(names.deadline(), Some(last + NAME_SPACING));
    }

    #[test]
    fn an_old_answer_outlives_a_failure() {
        let now = Instant::now();
        let mut names = names(now);
        let answer = Ok(vec![IpAddr::from([192, 0, 2, 7])]);
        names.due(now);
        assert!(names.answer(now, "a.example", &answer));
        assert!(names.answer(now, "a.example", &Err(ResolveError::TimedOut)));
        assert_eq!(names.lookup("a.example").0.len(), 1);
        assert!(names.lookup("a.example").1.is_some());
        assert!(!names.fresh("a.example", now + SECOND));
    }
}
