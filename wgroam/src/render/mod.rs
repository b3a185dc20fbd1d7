// SPDX-License-Identifier: GPL-2.0-only
//! What people and programs read: status and events as text for 80 columns, and as JSON. Pure; the daemon renders, the
//! command line only relays.

mod diagnosis;
mod json;
mod report;
mod status;

pub use diagnosis::{diagnosis_json, diagnosis_text, is_sound};
pub use report::{report_json, report_text};
pub use status::{is_alive, status_json, status_text};

use status::wrapped;

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::Config;
use crate::engine::Step;
use crate::initiation::Verdict;
use crate::model::{Interface, PublicKey};
use crate::routing::{OwnRoute, Via};

/// A length of time as people say it: `4s`, `12m`, `3h 12m`, `5d 2h`.
pub fn ago(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

/// A short time, to the tenth of a second.
fn short(time: Duration) -> String {
    // Not as a float: printing those takes 20 KB on MIPS.
    let tenths = (time.as_secs().min(60) * 1000 + u64::from(time.subsec_millis()) + 50) / 100;
    if tenths < 600 { format!("{}.{}s", tenths / 10, tenths % 10) } else { ago(time) }
}

/// Addresses for a line of text.
fn listed(addresses: &[IpAddr]) -> String {
    let mut text = String::new();
    for address in addresses {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{address}");
    }
    text
}

/// What it means that our own clock is behind, and the remedy.
fn own_clock_text(behind: Duration) -> String {
    format!(
        "the clock of this router is {} behind the newest time remembered: the others drop its handshakes as repeated \
         until it is right; set it (NTP)",
        ago(behind)
    )
}

/// The members `step` and, where there is one, `endpoint` or `rest_s`.
fn json_step(json: &mut json::Json, step: Step) {
    json.string("step", step.word());
    match step {
        Step::Try(endpoint) | Step::GoBack(endpoint) => json.shown("endpoint", &endpoint),
        Step::Rest(time) => json.seconds("rest_s", Some(time)),
        Step::ChangePort(port) if port != 0 => json.number("port", port.into()),
        _ => {}
    }
}

/// The members of a route: `to`, `from` and `via` (null where there is none), `unreachable`.
fn json_route(json: &mut json::Json, route: &OwnRoute) {
    json.shown("to", &route.to);
    json.maybe_shown("from", route.from);
    let gateway = match route.via {
        Via::By(hop) => hop.gateway,
        Via::Unreachable => None,
    };
    json.maybe_shown("via", gateway);
    json.bool("unreachable", route.via == Via::Unreachable);
}

/// What a person calls a peer: the name of its section, else nothing.
fn name_of<'a>(config: &'a Config, interface: Interface, peer: &PublicKey) -> Option<&'a str> {
    let named = |p: &&crate::config::Peer| p.public_key == *peer && p.tunnel == interface;
    config.peers.iter().find(named).map(|p| p.name.as_str())
}

/// The peer for a line of text: `home (kT3x…Zw=)`, or the whole key when it has no name.
fn who(name: Option<&str>, peer: &PublicKey) -> String {
    match name {
        Some(name) => format!("{name} ({})", peer.short()),
        None => peer.to_string(),
    }
}

/// One word for programs.
fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Authentic { .. } => "authentic",
        Verdict::Replay { .. } => "replay",
        Verdict::UnknownPeer { .. } => "unknown-peer",
        Verdict::Forged { .. } => "forged",
        Verdict::WrongKey => "wrong-key",
        Verdict::Malformed => "malformed",
    }
}

/// The key that a verdict names.
fn verdict_key(verdict: &Verdict) -> Option<PublicKey> {
    match verdict {
        Verdict::Authentic { peer, .. } | Verdict::Replay { peer, .. } => Some(*peer),
        Verdict::UnknownPeer { claimed } => Some(*claimed),
        Verdict::Forged { claimed } => *claimed,
        Verdict::WrongKey | Verdict::Malformed => None,
    }
}

/// What somebody did wrong, in words and with the remedy.
fn verdict_text(verdict: &Verdict, interface: Interface) -> String {
    match verdict {
        Verdict::Authentic { peer, .. } => format!("proved to be {peer}"),
        Verdict::Replay { peer, behind, .. } if behind.is_zero() => {
            format!("repeated an old packet of {peer}; harmless, it is not believed")
        }
        Verdict::Replay { peer, behind, .. } => format!(
            "{peer} says it is {} earlier than it said before: set that router's clock, or it is a repeated packet",
            ago(*behind)
        ),
        Verdict::UnknownPeer { claimed } => {
            format!("holds a key that no peer of {interface} has: {claimed}; add it, or ignore")
        }
        Verdict::Forged { claimed: Some(peer) } => {
            format!("pretends to be {peer} and cannot prove it; not believed, nothing to do")
        }
        Verdict::Forged { claimed: None } => {
            "damaged or forged packets; not believed, nothing to do".to_string()
        }
        Verdict::WrongKey => format!(
            "calls with another public key than {interface} has: correct it at the caller, or it is only noise"
        ),
        Verdict::Malformed => "not a WireGuard packet; ignore".to_string(),
    }
}
