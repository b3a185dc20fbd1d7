// SPDX-License-Identifier: GPL-2.0-only
//! Events, a line each.

use super::json::Json;
use super::{
    json_route, json_step, listed, name_of, own_clock_text, short, verdict_key, verdict_text, verdict_word,
    who,
};
use crate::config::Config;
use crate::engine::Report;
use crate::model::{Interface, PublicKey, WallTime};
use crate::wan::WanChange;

/// One event as a line of text, without time and newline.
pub fn report_text(report: &Report, config: &Config) -> String {
    let who = |interface: Interface, peer: &PublicKey| who(name_of(config, interface, peer), peer);
    match report {
        Report::DeviceFound { interface, peers } => {
            format!("{interface}: watching it, {peers} peer{}", if *peers == 1 { "" } else { "s" })
        }
        Report::DeviceGone { interface } => format!("{interface}: gone"),
        Report::DeviceReturned { interface } => format!("{interface}: was created anew"),
        Report::Moved { interface, peer, old, new, reason } => {
            let from = old.map(|old| format!(" from {old}")).unwrap_or_default();
            format!("{interface}: {} is at {new} now{from}: {reason}", who(*interface, peer))
        }
        Report::Poked { interface, peer, reason } => {
            format!("{interface}: poked {}: {reason}", who(*interface, peer))
        }
        Report::Stranger { interface, source, verdict } => {
            format!("{interface}: {source} {}", verdict_text(verdict, *interface))
        }
        Report::NotTaken { interface, peer, source, up } => {
            let why = if *up {
                "a firewall drops it: allow the port"
            } else {
                "the interface is down: bring it up"
            };
            format!(
                "{interface}: {} calls from {source}, and WireGuard did not take it: {why}",
                who(*interface, peer)
            )
        }
        Report::Step { interface, peer, step, evidence, after } => {
            format!(
                "{interface}: {}: {step}: {evidence}, silent for {}",
                who(*interface, peer),
                short(*after)
            )
        }
        Report::Recovered { interface, peer, step, took, .. } => {
            let after = step.map(|step| format!(", after wgroam {step}")).unwrap_or_default();
            format!("{interface}: {} answers again after {}{after}", who(*interface, peer), short(*took))
        }
        Report::Name { host, answer: Ok(addresses) } => {
            format!("{host} is {}", listed(addresses))
        }
        Report::Name { host, answer: Err(error) } => format!("{host} can't be resolved: {error}"),
        Report::RouteAdded { interface, route, purpose } => {
            format!("{interface}: added the route {route}: {purpose}")
        }
        Report::RouteRemoved { interface: Some(interface), route } => {
            format!("{interface}: removed the route {route}")
        }
        Report::RouteRemoved { interface: None, route } => {
            format!("removed the route {route} that an earlier run left behind")
        }
        Report::WanChanged(change) => match change {
            WanChange::Up(device) => format!("WAN: {device} is up"),
            WanChange::Down(device) => format!("WAN: {device} is down"),
            WanChange::Address(device, address) => format!("WAN: {device} has the address {address}"),
            WanChange::Route(Some(device)) => format!("WAN: the default route is on {device}"),
            WanChange::Route(None) => "WAN: no default route".to_string(),
            WanChange::Rules => "WAN: the policy rules changed".to_string(),
        },
        Report::ClockStepped => "the clock was set".to_string(),
        Report::OwnClock { behind: Some(behind) } => own_clock_text(*behind),
        Report::OwnClock { behind: None } => {
            "the clock of this router does not look wrong any more".to_string()
        }
    }
}

/// One event as a JSON line. The members `event` and `time` (seconds since 1970) are always there.
pub fn report_json(report: &Report, config: &Config, wall: WallTime) -> String {
    let mut json = Json::object();
    json.string("event", word(report));
    json.seconds("time", Some(std::time::Duration::new(wall.seconds, wall.nanos)));
    let peer = |json: &mut Json, interface: &Interface, peer: &PublicKey| {
        json.string("interface", interface.as_str());
        json.shown("peer", peer);
        json.maybe_string("name", name_of(config, *interface, peer));
    };
    match report {
        Report::DeviceFound { interface, peers } => {
            json.string("interface", interface.as_str());
            json.number("peers", *peers as u64);
        }
        Report::DeviceGone { interface } | Report::DeviceReturned { interface } => {
            json.string("interface", interface.as_str());
        }
        Report::Moved { interface, peer: key, old, new, reason } => {
            peer(&mut json, interface, key);
            json.shown("endpoint", new);
            json.maybe_shown("old_endpoint", *old);
            json.string("reason", reason.word());
        }
        Report::Poked { interface, peer: key, reason } => {
            peer(&mut json, interface, key);
            json.string("reason", reason.word());
        }
        Report::Stranger { interface, source, verdict } => {
            json.string("interface", interface.as_str());
            json.shown("source", source);
            json.string("verdict", verdict_word(verdict));
            json.maybe_shown("key", verdict_key(verdict));
        }
        Report::NotTaken { interface, peer: key, source, up } => {
            peer(&mut json, interface, key);
            json.shown("source", source);
            json.bool("up", *up);
        }
        Report::Step { interface, peer: key, step, evidence, after } => {
            peer(&mut json, interface, key);
            json_step(&mut json, *step);
            json.string("evidence", evidence.word());
            json.seconds("after_s", Some(*after));
        }
        Report::Recovered { interface, peer: key, step, evidence, took } => {
            peer(&mut json, interface, key);
            match step {
                Some(step) => json_step(&mut json, *step),
                None => json.null("step"),
            }
            json.string("evidence", evidence.word());
            json.seconds("took_s", Some(*took));
        }
        Report::Name { host, answer } => {
            json.string("host", host);
            let addresses = answer.as_deref().unwrap_or_default();
            json.objects("addresses", addresses, |json, ip| json.shown("address", ip));
            json.maybe_shown("error", answer.as_ref().err());
        }
        Report::RouteAdded { interface, route, purpose } => {
            json.string("interface", interface.as_str());
            json_route(&mut json, route);
            json.string("purpose", purpose.word());
        }
        Report::RouteRemoved { interface, route } => {
            json.maybe_string("interface", interface.as_ref().map(Interface::as_str));
            json_route(&mut json, route);
        }
        Report::WanChanged(change) => match change {
            WanChange::Up(device) | WanChange::Down(device) => {
                json.string("device", device.as_str());
                json.string("change", if matches!(change, WanChange::Up(_)) { "up" } else { "down" });
            }
            WanChange::Address(device, address) => {
                json.string("device", device.as_str());
                json.string("change", "address");
                json.shown("address", address);
            }
            WanChange::Rules => json.string("change", "rules"),
            WanChange::Route(device) => {
                json.maybe_string("device", device.as_ref().map(Interface::as_str));
                json.string("change", "route");
            }
        },
        Report::ClockStepped => {}
        Report::OwnClock { behind } => json.seconds("behind_s", *behind),
    }
    json.close()
}

fn word(report: &Report) -> &'static str {
    match report {
        Report::DeviceFound { .. } => "device-found",
        Report::DeviceGone { .. } => "device-gone",
        Report::DeviceReturned { .. } => "device-returned",
        Report::Moved { .. } => "moved",
        Report::Poked { .. } => "poked",
        Report::Stranger { .. } => "stranger",
        Report::NotTaken { .. } => "not-taken",
        Report::Step { .. } => "step",
        Report::Recovered { .. } => "recovered",
        Report::Name { .. } => "name",
        Report::RouteAdded { .. } => "route-added",
        Report::RouteRemoved { .. } => "route-removed",
        Report::WanChanged(_) => "wan-changed",
        Report::ClockStepped => "clock-stepped",
        Report::OwnClock { .. } => "own-clock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Evidence, Step};

    #[test]
    fn our_own_clock_is_told_when_it_begins_and_ends_to_look_wrong() {
        let (config, wall) = (Config::default(), WallTime { seconds: 7, nanos: 0 });
        let said = |behind| {
            let report = Report::OwnClock { behind };
            (report_text(&report, &config), report_json(&report, &config, wall))
        };
        let (text, json) = said(Some(std::time::Duration::from_secs(90)));
        assert!(text.contains("is 1m 30s behind") && text.ends_with("set it (NTP)"), "{text}");
        assert_eq!(json, "{\"event\":\"own-clock\",\"time\":7.000,\"behind_s\":90.000}\n");
        let (text, json) = said(None);
        assert!(
            text.ends_with("not look wrong any more") && json.contains("\"behind_s\":null"),
            "{text} {json}"
        );
    }

    #[test]
    fn a_step_that_goes_back_says_where_to() {
        let (config, wall) = (Config::default(), WallTime { seconds: 7, nanos: 0 });
        let said = |step| {
            let (interface, peer) = ("wg0".parse().unwrap(), PublicKey([1; 32]));
            let after = std::time::Duration::from_secs(5);
            let report = Report::Step { interface, peer, step, evidence: Evidence::Unanswered, after };
            report_json(&report, &config, wall)
        };
        let there = "192.0.2.1:51820".parse().unwrap();
        assert!(
            said(Step::GoBack(there))
                .contains("\"step\":\"go-back\",\"endpoint\":\"192.0.2.1:51820\",\"evidence\"")
        );
        assert!(said(Step::ChangePort(4242)).contains("\"step\":\"restore-port\",\"port\":4242,"));
        assert!(said(Step::ChangePort(0)).contains("\"step\":\"rotate-port\",\"evidence\""));
    }
}
