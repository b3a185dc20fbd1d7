// SPDX-License-Identifier: GPL-2.0-only
//! What the daemon knows and nobody else: whose calls were not believed, and whose were and WireGuard dropped them. Found
//! in the line of `wgroam status --json` by the names of its members, which [`crate::render`] writes in this order; what
//! people chose themselves is escaped there, and can't look like one.

use crate::model::{PublicKey, digits};

/// Somebody who called in vain so many seconds ago or less may be the one who is missed.
const RECENT: u64 = 600;

/// Why WireGuard does not let a peer in, if that is known: one word, and words for people.
pub fn problem<'a>(json: &'a str, peer: &PublicKey) -> Option<(&'a str, &'a str)> {
    let key = peer.to_string();
    let member = json.split("{\"public_key\":\"").skip(1).find(|member| member.starts_with(&key))?;
    let problem = member.split_once("\"problems\":[{")?.1;
    // It comes first; what follows is about something else.
    let word = text(problem, "problem").filter(|word| matches!(*word, "clock-behind" | "not-taken"))?;
    Some((word, text(problem, "text")?))
}

/// Somebody who called lately and was not believed, for a reason that can be put right: source, one word, words for people.
/// Whoever calls with a known key is somebody else than the peer in question, and left out.
pub fn stranger(json: &str, is_known: impl Fn(&str) -> bool) -> Option<(&str, &str, &str)> {
    recent(json, |verdict, key| {
        verdict == "wrong-key" || verdict == "unknown-peer" && !key.is_some_and(&is_known)
    })
}

/// Whence somebody called lately with this key, which WireGuard has no peer of.
pub fn caller<'a>(json: &'a str, key: &PublicKey) -> Option<&'a str> {
    let key = key.to_string();
    let (source, ..) = recent(json, |verdict, claimed| verdict == "unknown-peer" && claimed == Some(&*key))?;
    Some(source)
}

/// The first one who called lately and is wanted, by verdict and key: source, verdict, words for people.
fn recent(json: &str, is_wanted: impl Fn(&str, Option<&str>) -> bool) -> Option<(&str, &str, &str)> {
    let list = json.split_once("\"strangers\":[")?.1;
    list.split("{\"source\":\"").skip(1).find_map(|member| {
        let source = member.split('"').next()?;
        let verdict = text(member, "verdict").filter(|verdict| is_wanted(verdict, text(member, "key")))?;
        let age = member.split_once("\"last_age_s\":")?.1.split('.').next()?;
        let recent = digits::<u64>(age).is_some_and(|age| age <= RECENT);
        recent.then_some((source, verdict, text(member, "text")?))
    })
}

/// The value of the first member of this name.
fn text<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut at = json.match_indices(name).map(|(at, _)| at);
    let quoted = |at: &usize| {
        json[..*at].ends_with('"')
            && !json[..*at].ends_with("\\\"")
            && json[at + name.len()..].starts_with("\":\"")
    };
    let value = &json[at.find(quoted)? + name.len() + 3..];
    let mut escaped = false;
    let end = value.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(&value[..end])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{DeviceStatus, PeerStatus, Problem, Status, StrangerStatus};
    use crate::initiation::Verdict;
    use crate::render::status_json;

    const KEY: PublicKey = PublicKey([7; 32]);
    const OTHER: PublicKey = PublicKey([8; 32]);

    fn peer(public_key: PublicKey, name: &str, problems: Vec<Problem>) -> PeerStatus {
        PeerStatus {
            public_key,
            name: Some(name.into()),
            endpoint: None,
            reason: None,
            endpoint_age: None,
            last_handshake: None,
            handshake_age: None,
            alive: false,
            rx_bytes: 0,
            tx_bytes: 0,
            keepalive: 0,
            moves: 0,
            history: Vec::new(),
            dial: None,
            problems,
        }
    }

    fn stranger_of(verdict: Verdict, seconds: u64) -> StrangerStatus {
        let age = Duration::from_secs(seconds);
        let source = "203.0.113.2:4242".parse().unwrap();
        StrangerStatus { source, verdict, packets: 1, first_age: age, last_age: age }
    }

    fn json(peers: Vec<PeerStatus>, strangers: Vec<StrangerStatus>) -> String {
        let device = DeviceStatus {
            interface: "wgr".parse().unwrap(),
            present: true,
            up: true,
            public_key: Some(OTHER),
            listen_port: 51820,
            routes: Vec::new(),
            peers,
            strangers,
            strangers_forgotten: 0,
        };
        status_json(&Status { clock_behind: None, devices: vec![device] }, Duration::ZERO)
    }

    #[test]
    fn a_peers_own_problem_is_found_and_no_other_peers() {
        let behind = Problem::ClockBehind { behind: Duration::from_secs(60), age: Duration::ZERO };
        let json = json(vec![peer(OTHER, "a", vec![behind]), peer(KEY, "b", Vec::new())], Vec::new());
        let (word, text) = problem(&json, &OTHER).unwrap();
        assert_eq!(word, "clock-behind");
        assert!(text.starts_with("its clock is 1m 0s behind"), "{text}");
        assert_eq!(problem(&json, &KEY), None);
    }

    #[test]
    fn a_mute_target_keeps_nobody_out() {
        let mute = Problem::ProbeMute { target: "fd00::1".parse().unwrap() };
        let json = json(vec![peer(KEY, "a", vec![mute])], Vec::new());
        assert!(json.contains("fd00::1 (option probe) does not answer"), "{json}");
        assert_eq!(problem(&json, &KEY), None);
    }

    #[test]
    fn a_stranger_of_late_is_found_who_can_be_helped() {
        let unknown = Verdict::UnknownPeer { claimed: KEY };
        let some = vec![stranger_of(Verdict::Malformed, 1), stranger_of(unknown, 5)];
        let json_of = |strangers| json(vec![peer(KEY, "a", Vec::new())], strangers);
        let json = json_of(some);
        let (source, word, text) = stranger(&json, |_| false).unwrap();
        assert_eq!((source, word), ("203.0.113.2:4242", "unknown-peer"));
        assert!(text.contains(&KEY.to_string()), "{text}");
        assert_eq!(stranger(&json, |key| key == KEY.to_string()), None, "it is somebody else");
        assert_eq!((caller(&json, &KEY), caller(&json, &OTHER)), (Some(source), None));
        assert_eq!(stranger(&json_of(vec![stranger_of(Verdict::WrongKey, 601)]), |_| false), None);
        assert_eq!(
            stranger(&json_of(vec![stranger_of(Verdict::Forged { claimed: None }, 1)]), |_| false),
            None
        );
    }

    #[test]
    fn a_name_can_not_pass_for_a_problem_or_a_stranger() {
        let name =
            "\"problems\":[{\"problem\":\"x\",\"text\":\"y\"},{\"source\":\"1\",\"verdict\":\"wrong-key\"";
        let json = json(vec![peer(KEY, name, Vec::new())], Vec::new());
        assert_eq!((problem(&json, &KEY), stranger(&json, |_| false)), (None, None));
    }

    #[test]
    fn no_answer_and_nonsense_hold_nothing() {
        for json in ["", "{", "\"strangers\":[{\"source\":\"", "\"problems\":[{\"problem\":\"a"] {
            assert_eq!((problem(json, &KEY), stranger(json, |_| false)), (None, None));
        }
    }
}
