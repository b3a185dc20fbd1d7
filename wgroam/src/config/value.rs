// SPDX-License-Identifier: GPL-2.0-only
//! Single values: what a word means, and what to say when it means nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::finding::What;
use super::{Candidate, Family, LogLevel, RotatePort};
use crate::model::{Interface, PublicKey, digits, is_nobodys};

/// A Boolean as OpenWrt writes it (config_get_bool of /lib/functions.sh, and rpcd's and netifd's readers).
pub(super) fn boolean(text: &str) -> Result<bool, What> {
    match text {
        "1" | "yes" | "on" | "true" | "enabled" => Ok(true),
        "0" | "no" | "off" | "false" | "disabled" => Ok(false),
        _ => Err(not_one_of(text, "0 or 1, and no, yes, off, on, false, true, disabled, enabled")),
    }
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, What> {
    match text {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        _ => Err(not_one_of(text, "error, warn, info, debug")),
    }
}

pub(super) fn rotate_port(text: &str) -> Result<RotatePort, What> {
    match text {
        "auto" => Ok(RotatePort::Auto),
        _ => match boolean(text) {
            Ok(true) => Ok(RotatePort::Always),
            Ok(false) => Ok(RotatePort::Never),
            Err(_) => Err(not_one_of(text, "auto, 0, 1")),
        },
    }
}

pub(super) fn family(text: &str) -> Result<Family, What> {
    match text {
        "any" => Ok(Family::Any),
        "ipv4" => Ok(Family::Ipv4),
        "ipv6" => Ok(Family::Ipv6),
        _ => Err(not_one_of(text, "any, ipv4, ipv6")),
    }
}

/// Seconds, as WireGuard takes them: 1 to 65535. Zero would be no keepalive at all: a poke needs one.
pub(super) fn keepalive(text: &str) -> Result<u16, What> {
    match digits(text) {
        Some(seconds @ 1..) => Ok(seconds),
        _ => Err(bad_value(text, "allowed: whole seconds from 1 to 65535")),
    }
}

/// Seconds; 0 is off.
pub(super) fn probe_interval(text: &str) -> Result<u16, What> {
    match digits(text) {
        Some(seconds @ 0..=3600) => Ok(seconds),
        _ => {
            Err(bad_value(text, "allowed: whole seconds from 1 to 3600, 0 = only when the peer seems silent"))
        }
    }
}

pub(super) fn address(text: &str) -> Result<IpAddr, What> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| bad_value(text, "allowed: an IPv4 or IPv6 address, without a prefix length"))
}

pub(super) fn key(text: &str) -> Result<PublicKey, What> {
    text.parse().map_err(|_| What::BadKey(text.to_owned()))
}

pub(super) fn interface(text: &str) -> Result<Interface, What> {
    text.parse().map_err(|_| What::BadInterface(text.to_owned()))
}

/// `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
pub(super) fn candidate(text: &str) -> Result<Candidate, What> {
    let bad = |reason| Err(bad_value(text, reason));
    if text.parse::<Ipv6Addr>().is_ok() {
        return bad("an IPv6 address goes in brackets and needs a port, as in [2001:db8::1]:51820");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return bad("the port is missing; allowed: NAME:PORT or ADDRESS:PORT, as in home.example.net:51820");
    };
    let port = self::port(port).map_err(|_| bad_value(text, WRONG_PORT))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']').filter(|inner| inner.parse::<Ipv6Addr>().is_ok()) {
            Some(inner) => inner,
            None => return bad("no IPv6 address between the brackets; allowed: as in [2001:db8::1]:51820"),
        },
        None if host.parse::<Ipv6Addr>().is_ok() => {
            return bad("an IPv6 address goes in brackets, as in [2001:db8::1]:51820");
        }
        None if host.parse::<Ipv4Addr>().is_ok() || is_host_name(host) => host,
        None => return bad("neither a host name nor an address; allowed: as in home.example.net:51820"),
    };
    match host.parse() {
        Ok(ip) if is_nobodys(ip) => bad(NOBODYS),
        _ => Ok(Candidate { host: host.to_owned(), port }),
    }
}

const NOBODYS: &str =
    "nobody can have that address; allowed: the other end's name or its own address, IPv4 without ::ffff:";

const WRONG_PORT: &str = "the port is wrong; allowed: 1 to 65535";

/// A UDP port.
pub(super) fn port(text: &str) -> Result<u16, What> {
    match digits(text) {
        Some(port @ 1..) => Ok(port),
        _ => Err(bad_value(text, WRONG_PORT)),
    }
}

/// A host as package network has it: a name, or an address with or without brackets. Given back without.
pub(super) fn host(text: &str) -> Result<String, What> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let reason = match bare.parse() {
        Ok(ip) if is_nobodys(ip) => NOBODYS,
        Err(_) if !is_host_name(text) => {
            "neither a host name nor an address; allowed: as in home.example.net, without a port"
        }
        _ => return Ok(bare.to_owned()),
    };
    Err(bad_value(text, reason))
}

/// Host names as resolvers take them: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in all (RFC 1035,
/// 2.3.4), maybe a dot at the end. A name of digits and dots only is a mistyped address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253
        && text.split('.').all(label)
        && !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn not_one_of(found: &str, allowed: &'static str) -> What {
    What::NotOneOf { found: found.to_owned(), allowed }
}

fn bad_value(found: &str, reason: &'static str) -> What {
    What::BadValue { found: found.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_and_port(text: &str) -> Option<(String, u16)> {
        candidate(text).ok().map(|candidate| (candidate.host, candidate.port))
    }

    #[test]
    fn candidates_are_names_or_addresses_with_a_port() {
        for (text, host, port) in [
            ("home.example.net:51820", "home.example.net", 51820),
            ("home.example.net.:1", "home.example.net.", 1),
            ("192.0.2.7:443", "192.0.2.7", 443),
            ("[2001:db8::7]:65535", "2001:db8::7", 65535),
            ("r2_home:51820", "r2_home", 51820),
            // A relay of the owner's.
            ("127.0.0.1:51820", "127.0.0.1", 51820),
            ("[::1]:51820", "::1", 51820),
        ] {
            assert_eq!(host_and_port(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_candidate_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "port is missing"),
            ("home.example.net", "port is missing"),
            ("home.example.net:0", "port is wrong"),
            ("home.example.net:65536", "port is wrong"),
            ("home.example.net:+80", "port is wrong"),
            ("home.example.net:", "port is wrong"),
            ("2001:db8::7", "brackets and needs a port"),
            ("2001:db8:0:0:0:0:0:0:51820", "goes in brackets"),
            ("[home.example.net]:51820", "no IPv6 address between"),
            ("[2001:db8::7:51820", "no IPv6 address between"),
            ("192.0.2.300:51820", "neither"),
            ("-home:51820", "neither"),
            ("ho me:51820", "neither"),
            ("home..net:51820", "neither"),
            (":51820", "neither"),
            ("0.0.0.0:51820", "nobody can have"),
            ("0.1.2.3:51820", "nobody can have"),
            ("224.0.0.1:51820", "nobody can have"),
            ("239.255.255.250:51820", "nobody can have"),
            ("255.255.255.255:51820", "nobody can have"),
            ("[::]:51820", "nobody can have"),
            ("[0:0::0]:51820", "nobody can have"),
            ("[ff02::1]:51820", "nobody can have"),
            ("[::ffff:192.0.2.1]:51820", "nobody can have"),
            ("[::ffff:c000:201]:51820", "nobody can have"),
        ] {
            let what = candidate(text).expect_err(text).to_string();
            assert!(what.contains(reason), "{text}: {what}");
        }
    }

    #[test]
    fn booleans_are_those_of_openwrt_and_no_others() {
        for text in ["1", "yes", "on", "true", "enabled"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "no", "off", "false", "disabled"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "2", "Yes", "TRUE", " 1", "10"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_keepalive_has_a_range() {
        assert_eq!(keepalive("25"), Ok(25));
        assert_eq!(keepalive("65535"), Ok(65535));
        for text in ["0", "65536", "-1", "+5", "25s", ""] {
            assert!(keepalive(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rotate_port_takes_auto_and_booleans() {
        assert_eq!(rotate_port("auto"), Ok(RotatePort::Auto));
        assert_eq!(rotate_port("off"), Ok(RotatePort::Never));
        assert_eq!(rotate_port("1"), Ok(RotatePort::Always));
        assert!(rotate_port("maybe").unwrap_err().to_string().ends_with("allowed: auto, 0, 1"));
    }
}
