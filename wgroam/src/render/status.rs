// SPDX-License-Identifier: GPL-2.0-only
//! The status, for 80 columns and for programs.

use std::fmt::Write;
use std::time::Duration;

use super::json::Json;
use super::{
    ago, json_route, json_step, listed, own_clock_text, verdict_key, verdict_text, verdict_word, who,
};
use crate::engine::{CandidateStatus, DeviceStatus, DialStatus, PeerStatus, Problem, Status};
use crate::model::Interface;

/// How wide the text is at most, where its words allow.
const WIDTH: usize = 80;

/// The status as text. `uptime` is the daemon's.
pub fn status_text(status: &Status, uptime: Duration) -> String {
    let mut text = format!("wgroam {}, running for {}\n", env!("CARGO_PKG_VERSION"), ago(uptime));
    if let Some(behind) = status.clock_behind {
        wrapped(&mut text, "! ", &own_clock_text(behind));
    }
    if status.devices.is_empty() {
        text.push_str("\nThere is no WireGuard interface to watch. `ip link show type wireguard` shows what\nthe kernel has.\n");
    }
    for device in &status.devices {
        text.push('\n');
        device_text(&mut text, device);
    }
    text
}

fn device_text(text: &mut String, device: &DeviceStatus) {
    let interface = device.interface;
    let alive = device.peers.iter().filter(|peer| peer.alive).count();
    let state = match device {
        DeviceStatus { present: false, .. } => "is not there".to_string(),
        DeviceStatus { up: false, .. } => "is down: WireGuard hears nothing, `ip link set up` it".to_string(),
        DeviceStatus { public_key: None, .. } => "has no private key: WireGuard hears nothing".to_string(),
        device => format!("up, port {}, {alive} of {} peers alive", device.listen_port, device.peers.len()),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{interface}: {state}");
    if device.present {
        for peer in &device.peers {
            peer_text(text, peer);
        }
    }
    for (route, purpose) in &device.routes {
        wrapped(text, "  ", &format!("route {route}: {purpose}"));
    }
    if !device.strangers.is_empty() {
        let _ = writeln!(text, "  not believed on {interface}:");
    }
    for stranger in &device.strangers {
        let times = match stranger.packets {
            1 => "once".to_string(),
            n => format!("{n} times"),
        };
        let _ = writeln!(text, "    {}, {times}, last {} ago", stranger.source, ago(stranger.last_age));
        wrapped(text, "      ", &verdict_text(&stranger.verdict, interface));
    }
    if device.strangers_forgotten > 0 {
        let _ = writeln!(text, "    and {} packets more, from elsewhere", device.strangers_forgotten);
    }
}

/// Where it may be, what its silence is, and what was done about it.
fn dial_text(text: &mut String, dial: &DialStatus) {
    for candidate in &dial.candidates {
        let CandidateStatus { host, port, addresses, error } = candidate;
        let addresses = listed(addresses);
        let known = match (addresses.is_empty(), error) {
            (false, None) if addresses == *host => String::new(),
            (false, None) => format!(": {addresses}"),
            (false, Some(error)) => format!(": {addresses}, but not confirmed lately: {error}"),
            (true, Some(error)) => format!(": {error}"),
            (true, None) => ": being asked for".to_string(),
        };
        wrapped(text, "    ", &format!("may be at {host}, port {port}{known}"));
    }
    if let Some(time) = dial.round_trip {
        // Not as_millis(): printing 128 bits takes 2 KB on MIPS. And writing to a String cannot fail.
        let milliseconds = time.as_secs() * 1000 + u64::from(time.subsec_millis());
        let _ = writeln!(text, "    last probe answered in {milliseconds} ms");
    }
    let Some((evidence, since)) = dial.silent else { return };
    wrapped(text, "    ", &format!("silent for {}: {evidence}; tried so far, the latest first:", ago(since)));
    for (age, step) in dial.steps.iter().filter(|(age, _)| *age <= since) {
        wrapped(text, "      ", &format!("{} ago: {step}", ago(*age)));
    }
}

fn peer_text(text: &mut String, peer: &PeerStatus) {
    let _ = writeln!(text, "  {}", who(peer.name.as_deref(), &peer.public_key));
    match (peer.endpoint, peer.reason, peer.endpoint_age) {
        (Some(endpoint), Some(reason), Some(age)) => {
            wrapped(text, "    ", &format!("at {endpoint} for {}: {reason}", ago(age)));
        }
        (Some(endpoint), ..) => {
            let _ = writeln!(text, "    at {endpoint}");
        }
        (None, ..) if peer.dial.as_ref().is_some_and(|dial| !dial.candidates.is_empty()) => {
            text.push_str("    no address of it is known yet\n");
        }
        (None, ..) => text.push_str("    it has not called yet: nobody knows where it is\n"),
    }
    if let Some(dial) = &peer.dial {
        dial_text(text, dial);
    }
    let handshake = match (peer.handshake_age, peer.alive) {
        // WireGuard says when the last one was, and forgot its keys since.
        (None, _) if peer.last_handshake.is_some() => "no session since the link came up".to_string(),
        (Some(age), true) => format!("alive, last handshake {} ago", ago(age)),
        (Some(age), false) => format!("silent, last handshake {} ago", ago(age)),
        (None, _) => "no handshake yet".to_string(),
    };
    let moves = match peer.moves {
        0 => String::new(),
        1 => ", moved once".to_string(),
        n => format!(", moved {n} times"),
    };
    let _ = writeln!(text, "    {handshake}{moves}");
    if let Some(last) = peer.history.first()
        && let Some(old) = last.old
    {
        let _ = writeln!(text, "    was at {old} until {} ago", ago(last.age));
    }
    for problem in &peer.problems {
        wrapped(text, "    ! ", &problem_text(problem));
    }
}

fn problem_text(problem: &Problem) -> String {
    match problem {
        Problem::ClockBehind { behind, age } => format!(
            "its clock is {} behind what it said before ({} ago): WireGuard drops its calls until that clock is set",
            ago(*behind),
            ago(*age)
        ),
        Problem::NotTaken { source, up: true, age } => format!(
            "it called from {source} {} ago and WireGuard did not take it: a firewall drops it; allow the port",
            ago(*age)
        ),
        Problem::NotTaken { source, up: false, age } => {
            format!("it called from {source} {} ago, but the interface is down; bring it up", ago(*age))
        }
        Problem::ProbeMute { target } => {
            format!(
                "{target} (option probe) does not answer, though the peer does: lost probes do not count; let it answer pings, or name another address"
            )
        }
    }
}

/// Writes words behind an indent, broken before they pass the width; a word that is longer stands alone.
pub(super) fn wrapped(text: &mut String, indent: &str, words: &str) {
    let width = indent.chars().count();
    let mut column = width;
    text.push_str(indent);
    for (i, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', width));
            column = width;
        } else if i > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

/// The status as one JSON line. Ages are in seconds, `last_handshake` in seconds since 1970.
pub fn status_json(status: &Status, uptime: Duration) -> String {
    let mut json = Json::object();
    json.string("version", env!("CARGO_PKG_VERSION"));
    json.seconds("uptime_s", Some(uptime));
    json.seconds("clock_behind_s", status.clock_behind);
    json.objects("devices", &status.devices, |json, device| {
        json.string("interface", device.interface.as_str());
        json.bool("present", device.present);
        json.bool("up", device.up);
        json.maybe_shown("public_key", device.public_key);
        json.number("listen_port", device.listen_port.into());
        json.objects("routes", &device.routes, |json, (route, purpose)| {
            json_route(json, route);
            json.string("purpose", purpose.word());
        });
        json.objects("peers", &device.peers, peer_json);
        json.objects("strangers", &device.strangers, |json, stranger| {
            json.shown("source", &stranger.source);
            json.string("verdict", verdict_word(&stranger.verdict));
            json.maybe_shown("key", verdict_key(&stranger.verdict));
            json.number("packets", stranger.packets);
            json.seconds("first_age_s", Some(stranger.first_age));
            json.seconds("last_age_s", Some(stranger.last_age));
            json.string("text", &verdict_text(&stranger.verdict, device.interface));
        });
        json.number("strangers_forgotten", device.strangers_forgotten);
    });
    json.close()
}

/// The members `silent`, `silent_s`, `round_trip_s`, `candidates` and `steps`; none for a peer that is neither dialed nor probed.
fn dial_json(json: &mut Json, dial: &DialStatus) {
    json.maybe_string("silent", dial.silent.map(|(evidence, _)| evidence.word()));
    json.seconds("silent_s", dial.silent.map(|(_, since)| since));
    json.seconds("round_trip_s", dial.round_trip);
    json.objects("candidates", &dial.candidates, |json, candidate| {
        json.string("host", &candidate.host);
        json.number("port", candidate.port.into());
        json.objects("addresses", &candidate.addresses, |json, ip| json.shown("address", ip));
        json.maybe_string("error", candidate.error.as_deref());
    });
    json.objects("steps", &dial.steps, |json, (age, step)| {
        json.seconds("age_s", Some(*age));
        json_step(json, *step);
    });
}

fn peer_json(json: &mut Json, peer: &PeerStatus) {
    json.shown("public_key", &peer.public_key);
    json.maybe_string("name", peer.name.as_deref());
    json.maybe_shown("endpoint", peer.endpoint);
    json.maybe_string("reason", peer.reason.map(|reason| reason.word()));
    json.seconds("endpoint_age_s", peer.endpoint_age);
    match peer.last_handshake {
        Some(time) => json.number("last_handshake", time.seconds),
        None => json.null("last_handshake"),
    }
    json.seconds("handshake_age_s", peer.handshake_age);
    json.bool("alive", peer.alive);
    json.number("rx_bytes", peer.rx_bytes);
    json.number("tx_bytes", peer.tx_bytes);
    json.number("keepalive", peer.keepalive.into());
    json.number("moves", peer.moves);
    if let Some(dial) = &peer.dial {
        dial_json(json, dial);
    }
    json.objects("history", &peer.history, |json, step| {
        json.seconds("age_s", Some(step.age));
        json.maybe_shown("old_endpoint", step.old);
        json.shown("endpoint", &step.new);
        json.string("reason", step.reason.word());
    });
    json.objects("problems", &peer.problems, |json, problem| {
        match problem {
            Problem::ClockBehind { behind, age } => {
                json.string("problem", "clock-behind");
                json.seconds("behind_s", Some(*behind));
                json.seconds("age_s", Some(*age));
            }
            Problem::NotTaken { source, up, age } => {
                json.string("problem", "not-taken");
                json.shown("source", source);
                json.bool("up", *up);
                json.seconds("age_s", Some(*age));
            }
            Problem::ProbeMute { target } => {
                json.string("problem", "probe-mute");
                json.shown("target", target);
            }
        }
        json.string("text", &problem_text(problem));
    });
}

/// Does the interface exist with a live peer? None when it is not known at all.
pub fn is_alive(status: &Status, interface: Interface) -> Option<bool> {
    let device = status.devices.iter().find(|device| device.interface == interface)?;
    Some(device.present && device.peers.iter().any(|peer| peer.alive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_looks_wrong_is_said_first_with_what_it_means_and_the_remedy() {
        let mut status =
            Status { clock_behind: Some(Duration::from_millis(11_520_500)), devices: Vec::new() };
        let text = status_text(&status, Duration::ZERO);
        let lines: Vec<_> = text.lines().skip(1).take(2).collect();
        assert_eq!(
            lines.join("\n"),
            "! the clock of this router is 3h 12m behind the newest time remembered: the\n  others drop its handshakes \
             as repeated until it is right; set it (NTP)"
        );
        assert!(status_json(&status, Duration::ZERO).contains("\"clock_behind_s\":11520.500,"));
        status.clock_behind = None;
        assert!(!status_text(&status, Duration::ZERO).contains("clock"));
        assert!(status_json(&status, Duration::ZERO).contains("\"clock_behind_s\":null,"));
    }
}
