// SPDX-License-Identifier: GPL-2.0-only
//! What `wgroam-setup` writes is what `wgroam diagnose` looks for: its golden files, read as a router's own.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use wgroam::config::uci::{self, Parsed};
use wgroam::diagnose::site::{Site, keep};

fn site(role: &str, release: &str, firewall: impl Fn(String) -> String) -> Site {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/openwrt/golden").join(release).join(role);
    let read = |name: &str| std::fs::read_to_string(golden.join(name)).unwrap_or_default();
    let parse = |name: &str, text: &str| -> Parsed { uci::parse(text.as_bytes(), name, 20, keep) };
    Site::read(
        &parse("network", &read("network")),
        &parse("dhcp", &read("dhcp")),
        &parse("firewall", &firewall(read("firewall"))),
        "wg_home",
        51820,
    )
}

#[test]
fn a_router_that_was_set_up_lacks_nothing() {
    for release in ["24.10", "25.12"] {
        let anchor = site("anchor", release, |text| text);
        assert_eq!((anchor.open, anchor.tunnel_to_wan), (Some(true), Some(true)), "{release}: {anchor:?}");
        let roamer = site("roamer", release, |text| text);
        assert_eq!(
            (roamer.announces, roamer.lan_to_tunnel),
            (Some(true), Some(true)),
            "{release}: {roamer:?}"
        );
        assert_eq!(roamer.prefix.unwrap().to_string(), "2001:db8:1200::/64");
    }
}

#[test]
fn the_peers_of_both_ends_are_known_and_switched_on() {
    for release in ["24.10", "25.12"] {
        for role in ["anchor", "roamer"] {
            let peers = site(role, release, |text| text).peers.unwrap();
            assert!(peers.iter().all(|peer| !peer.disabled && !peer.allowed.is_empty()), "{role}: {peers:?}");
            assert_eq!(peers.len(), 1, "{role} of {release}");
        }
    }
}

#[test]
fn a_rule_that_was_taken_away_is_missed() {
    let without = |section: &'static str| {
        move |text: String| {
            assert!(text.contains(section));
            text.replace(section, "config gone")
        }
    };
    let anchor = site("anchor", "25.12", without("config rule 'wg_home_port'"));
    assert_eq!(anchor.open, Some(false));
    let roamer = site("roamer", "25.12", without("config zone 'wg_home'"));
    assert_eq!(roamer.lan_to_tunnel, Some(false));
}
