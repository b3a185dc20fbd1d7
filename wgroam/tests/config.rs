// SPDX-License-Identifier: GPL-2.0-only
//! The typed configuration and what is said about a wrong one.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use wgroam::config::{self, Config, Errors, Family, Globals, Loaded, LogLevel, RotatePort};

const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const OTHER_KEY: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

fn load(text: &str) -> Result<Loaded, Errors> {
    config::parse(text.as_bytes(), "/etc/config/wgroam")
}

fn good(text: &str) -> Loaded {
    load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The messages about a text that is wrong.
fn mistakes(text: &str) -> Vec<String> {
    load(text).expect_err(text).mistakes.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(ToString::to_string).collect()
}

fn peer(name: &str, tunnel: &str, key: &str) -> String {
    format!("config peer '{name}'\n\toption tunnel '{tunnel}'\n\toption public_key '{key}'\n")
}

#[test]
fn an_empty_file_gives_the_defaults() {
    for text in ["", "\n\n", "# nothing yet\n", "\u{20}\t\r\n"] {
        let nothing = Loaded { network: Some(vec![]), ..Loaded::default() };
        assert_eq!(good(text), nothing, "{text:?}");
        assert_eq!(good(text).config, Config::default());
    }
    let globals = Globals::default();
    assert!(globals.enabled && globals.persist && globals.wan.is_empty());
    assert_eq!(globals.log_level, LogLevel::Info);
}

#[test]
fn every_option_is_read() {
    let config = good(&format!(
        "config wgroam 'globals'\n\
         \toption enabled 'no'\n\toption log_level 'debug'\n\toption persist 'off'\n\
         \tlist wan 'wan'\n\tlist wan 'pppoe-wan2'\n\
         config tunnel 'wgr'\n\
         \toption enabled '0'\n\toption unreachable 'false'\n\toption rotate_port '1'\n\
         config peer 'home'\n\
         \toption tunnel 'wgr'\n\toption public_key '{KEY}'\n\
         \tlist endpoint 'home.example.net:51820'\n\tlist endpoint '[2001:db8::1]:443'\n\
         \toption family 'ipv6'\n\toption keepalive '20'\n\toption probe 'fd00:99::1'\n\toption readd 'yes'\n"
    ))
    .config;
    assert!(!config.globals.enabled && !config.globals.persist);
    assert_eq!(config.globals.log_level, LogLevel::Debug);
    let wan: Vec<_> = config.globals.wan.iter().map(|wan| wan.as_str()).collect();
    assert_eq!(wan, ["wan", "pppoe-wan2"]);
    let [tunnel] = config.tunnels.as_slice() else { panic!("{:?}", config.tunnels) };
    assert_eq!(tunnel.interface.as_str(), "wgr");
    assert!(!tunnel.enabled && !tunnel.unreachable);
    assert_eq!(tunnel.rotate_port, RotatePort::Always);
    let [peer] = config.peers.as_slice() else { panic!("{:?}", config.peers) };
    assert_eq!((peer.name.as_str(), peer.tunnel.as_str()), ("home", "wgr"));
    assert_eq!(peer.public_key.to_string(), KEY);
    let endpoints: Vec<_> = peer.endpoints.iter().map(|end| (end.host.as_str(), end.port)).collect();
    assert_eq!(endpoints, [("home.example.net", 51820), ("2001:db8::1", 443)]);
    assert_eq!((peer.family, peer.keepalive, peer.readd), (Family::Ipv6, Some(20), true));
    assert_eq!(peer.probe, Some("fd00:99::1".parse::<IpAddr>().unwrap()));
}

#[test]
fn a_wrong_word_is_told_with_its_place_and_what_is_allowed() {
    let text = format!("config tunnel 'wgr'\n\n{}\toption family 'ipv5'\n", peer("home", "wgr", KEY));
    assert_eq!(
        mistakes(&text),
        ["/etc/config/wgroam:6: peer 'home', option 'family': 'ipv5' is not known; allowed: any, ipv4, ipv6"]
    );
}

#[test]
fn an_endpoint_at_an_address_of_nobody_is_told_with_its_place_and_the_remedy() {
    let text = format!("{}\tlist endpoint '0.0.0.0:51820'\n", peer("home", "wgr", KEY));
    assert_eq!(
        mistakes(&text),
        [
            "/etc/config/wgroam:4: peer 'home', option 'endpoint': '0.0.0.0:51820': nobody can have that address; \
          allowed: the other end's name or its own address, IPv4 without ::ffff:"
        ]
    );
}

#[test]
fn every_mistake_of_a_file_is_told_in_the_order_of_its_lines() {
    let text = "config wgroam 'globals'\n\toption enabled 'maybe'\n\toption log_level 'loud'\n\tlist wan 'a/b'\n\
                config tunnel 'a_name_that_is_too_long'\n\
                config tunnel\n\
                config peer 'p'\n\toption public_key 'short'\n\tlist endpoint 'host:0'\n\tlist endpoint 'host'\n\
                \toption keepalive '0'\n\toption probe 'fd00::/64'\n";
    let found = mistakes(text);
    let wanted = [
        ":2: wgroam 'globals', option 'enabled': 'maybe' is not known; allowed: 0 or 1, and no, yes, off,",
        ":3: wgroam 'globals', option 'log_level': 'loud' is not known; allowed: error, warn, info, debug",
        ":4: wgroam 'globals', option 'wan': 'a/b' is no interface name: an interface's name has 1 to 15",
        ":5: tunnel 'a_name_that_is_too_long': 'a_name_that_is_too_long' is no interface name",
        ":6: tunnel @tunnel[1]: has no name; write the interface's name behind the type: config tunnel 'wg0'",
        ":7: peer 'p', option 'tunnel': is missing; add a line: option tunnel 'wg0', with the name of",
        ":8: peer 'p', option 'public_key': 'short' is no key: a key is 44 characters of base64",
        ":9: peer 'p', option 'endpoint': 'host:0': the port is wrong; allowed: 1 to 65535",
        ":10: peer 'p', option 'endpoint': 'host': the port is missing; allowed: NAME:PORT or ADDRESS:PORT",
        ":11: peer 'p', option 'keepalive': '0': allowed: whole seconds from 1 to 65535",
        ":12: peer 'p', option 'probe': 'fd00::/64': allowed: an IPv4 or IPv6 address, without a prefix",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(&format!("/etc/config/wgroam{wanted}")), "{found}\n{wanted}");
    }
}

#[test]
fn mistakes_are_told_up_to_a_bound() {
    let text: String =
        (0..50).map(|number| format!("config tunnel 'wg{number}'\n\toption enabled 'x'\n")).collect();
    let errors = load(&text).unwrap_err();
    assert_eq!(errors.mistakes.len(), 20);
    assert!(errors.more);
    assert!(errors.to_string().ends_with("there may be more mistakes; put these right first"));
    let syntax = load(&"nonsense here\n".repeat(50)).unwrap_err();
    assert_eq!((syntax.mistakes.len(), syntax.more), (20, true));
}

#[test]
fn two_peers_with_one_key_contradict_each_other_on_one_tunnel_only() {
    assert_eq!(
        mistakes(&(peer("home", "wgr", KEY) + &peer("away", "wgr", KEY))),
        ["/etc/config/wgroam:4: peer 'away': has the same public key and tunnel as peer 'home' (line 1); \
          remove one of the two sections"]
    );
    good(&(peer("home", "wgr", KEY) + &peer("away", "wgr2", KEY) + &peer("third", "wgr", OTHER_KEY)));
}

#[test]
fn a_peer_needs_a_section_for_its_tunnel_only_when_others_have_one() {
    assert_eq!(
        mistakes(&("config tunnel 'wgr'\n".to_owned() + &peer("home", "wg0", KEY))),
        ["/etc/config/wgroam:3: peer 'home', option 'tunnel': tunnel 'wg0' has no section; allowed: wgr, \
          or add: config tunnel 'wg0'"]
    );
    good(&peer("home", "wg0", KEY));
}

#[test]
fn sections_with_one_purpose_contradict_each_other() {
    assert_eq!(
        mistakes("config wgroam 'globals'\nconfig wgroam\n"),
        ["/etc/config/wgroam:2: wgroam @wgroam[1]: has the same purpose as wgroam 'globals' (line 1); \
          remove one of the two sections"]
    );
    let interface = "config tunnel 'wgr'\nconfig tunnel 'other'\n\toption interface 'wgr'\n";
    assert!(mistakes(interface)[0].contains("the same interface as tunnel 'wgr' (line 1)"));
}

#[test]
fn a_tunnel_can_have_a_name_that_uci_can_not_spell() {
    let tunnel = "config tunnel 'road'\n\toption interface 'wg-road'\n".to_owned();
    let config = good(&(tunnel + &peer("a", "road", KEY) + &peer("b", "wg-road", OTHER_KEY))).config;
    assert_eq!(config.tunnels[0].interface.as_str(), "wg-road");
    assert!(config.peers.iter().all(|peer| peer.tunnel.as_str() == "wg-road"));
    assert_eq!(
        mistakes("config tunnel 'wg-road'\n"),
        ["/etc/config/wgroam:1: 'wg-road' can't be the name of a section; allowed: letters, digits and _ \
          (a tunnel may have option interface 'wg-road')"]
    );
}

#[test]
fn a_typo_in_a_name_is_a_warning_with_a_suggestion() {
    let text = format!(
        "config wgroams 'globals'\n\
         config wgroam 'global'\n\
         config tunnel 'wgr'\n\toption enable '1'\n\toption colour 'red'\n\
         {}\toption keep_alive '9'\n\
         \toption 'pubilc_key' 'x'\n\toption Readd '1'\n\toption key 'x'\n",
        peer("home", "wgr", KEY)
    );
    let found = warnings(&text);
    let wanted = [
        ":1: wgroams 'globals': sections of this type are not known and have no effect; did you mean 'wgroam'?",
        ":2: wgroam 'global': has no effect; the section of this type is called globals: config wgroam 'globals'",
        ":4: tunnel 'wgr', option 'enable': is not known and has no effect; did you mean 'enabled'?",
        ":5: tunnel 'wgr', option 'colour': is not known and has no effect; known here: enabled, interface, \
         unreachable, rotate_port",
        ":9: peer 'home', option 'keep_alive': is not known and has no effect; did you mean 'keepalive'?",
        ":10: peer 'home', option 'pubilc_key': is not known and has no effect; did you mean 'public_key'?",
        ":11: peer 'home', option 'Readd': is not known and has no effect; did you mean 'readd'?",
        ":12: peer 'home', option 'key': is not known and has no effect; did you mean 'public_key'?",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(*found, format!("/etc/config/wgroam{wanted}"));
    }
}

#[test]
fn a_list_may_be_written_as_an_option_with_blanks() {
    let loaded = good("config wgroam 'globals'\n\toption wan 'wan wan6\twwan0'\n");
    assert_eq!(loaded.config.globals.wan.len(), 3);
}

#[test]
fn an_option_given_as_a_list_has_to_have_one_entry() {
    assert!(!good("config wgroam 'globals'\n\tlist enabled '0'\n").config.globals.enabled);
    assert_eq!(
        mistakes("config wgroam 'globals'\n\tlist enabled '0'\n\tlist enabled '1'\n"),
        ["/etc/config/wgroam:2: wgroam 'globals', option 'enabled': has 2 values; allowed: one, \
          written with option"]
    );
}

#[test]
fn a_mistake_in_a_line_is_not_repeated_as_its_consequences() {
    let text = "config tunnel 'w-r'\n\toption enabled 'x'\nconfig peer 'home'\n\toption tunnel 'w-r'\n\
                \toption public_key 'unfinished\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("/etc/config/wgroam:1: 'w-r' can't be the name of a section"));
    assert!(found[1].starts_with("/etc/config/wgroam:5: the quote ' that begins here is never closed"));
}

#[test]
fn a_half_written_file_is_told_by_the_line_where_the_quote_began() {
    let text = peer("home", "wgr", KEY) + "\toption probe 'fd00\n\nconfig tunnel wgr\n\toption enabled 1\n";
    assert_eq!(
        mistakes(&text),
        ["/etc/config/wgroam:4: the quote ' that begins here is never closed; the file may be half written"]
    );
}

#[test]
fn binary_content_is_told_by_its_line() {
    let said = |text: &[u8]| config::parse(text, "f").unwrap_err().to_string();
    assert_eq!(said(b"config tunnel 'wgr'\n\0\0"), "f:2: has a NUL byte: this is no text file");
    assert!(said(b"# caf\xe9\n").starts_with("f:1: is not UTF-8"));
    assert!(said(b"\x7fELF\x02\x01\x01\0\0").contains("NUL byte"));
    // Whatever the file puts into a message can't play with the terminal.
    let hostile = said(b"config tunnel 'wgr'\n\toption enabled '\x1b[2J\x07'\n");
    assert!(hostile.contains(r"'\x1b[2J\x07' is not known"), "{hostile}");
    let long = said(format!("config tunnel 'wgr'\n\toption enabled '{}'\n", "é".repeat(9999)).as_bytes());
    assert!(long.chars().count() < 250, "{long}");
}

#[test]
fn a_repeated_option_counts_as_the_last_one_says() {
    let loaded = good(
        "config tunnel 'wgr'\n\toption enabled '1'\n\toption enabled '0'\n\toption enabled ''\n\
         config tunnel 'wgr'\n\toption rotate_port '0'\n",
    );
    let [tunnel] = loaded.config.tunnels.as_slice() else { panic!() };
    assert!(!tunnel.enabled);
    assert_eq!(tunnel.rotate_port, RotatePort::Never);
}

#[test]
fn only_package_wgroam_counts_in_an_export() {
    let loaded = good(
        "package network\n\nconfig interface 'wan'\n\toption proto 'dhcp'\n\n\
         package wgroam\n\nconfig tunnel 'wgr'\n\n",
    );
    assert_eq!(loaded.config.tunnels.len(), 1);
    assert!(loaded.warnings.is_empty());
    assert_eq!(
        warnings("package wireless\nconfig wifi-device 'radio0'\n"),
        ["/etc/config/wgroam: holds package 'wireless' and no package 'wgroam'; defaults apply"]
    );
}

#[test]
fn an_anonymous_peer_is_called_as_uci_show_calls_it() {
    let anonymous = format!("config peer\n\toption tunnel 'wg0'\n\toption public_key '{OTHER_KEY}'\n");
    assert_eq!(good(&(peer("home", "wg0", KEY) + &anonymous)).config.peers[1].name, "@peer[1]");
}

#[test]
fn what_could_hide_a_mistake_is_bounded_too() {
    let text = "config tunnel 'wgr'\n".to_owned() + &"\toption colour 'red'\n".repeat(5);
    assert_eq!(warnings(&text).len(), 1);
    let text: String = (0..100).map(|number| format!("config sort{number} 'x{number}'\n")).collect();
    assert_eq!(warnings(&text).len(), 20);
}
