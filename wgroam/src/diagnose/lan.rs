// SPDX-License-Identifier: GPL-2.0-only
//! IPv6 between the tunnel, the Internet and the LAN: on the router that travels, what the LAN needs; on the other one,
//! what lets it through. Pure.

use std::net::IpAddr;

use super::judge::Judge;
use super::ruleset::Packet;
use super::{LanFacts, text};
use crate::model::Interface;

const NOT_CARRIED: &str = "no IPv6 for a LAN goes through this tunnel";

/// The checks that come after the peers'.
pub(super) fn judge(judge: &mut Judge) {
    refusal(judge);
    lan_prefix(judge);
    default_route(judge);
    forwarding(judge);
    ra(judge);
    forward(judge);
}

fn refusal(judge: &mut Judge) {
    match judge.facts.lan.refused {
        true => judge.skip(
            "refusal",
            "wgroam refuses IPv6 while nobody answers (`ip -6 route show proto 119`), so that the LAN does not hang: it is \
             no fault, and ends with the first sign of life",
        ),
        false => judge.ok("refusal", text("nothing is refused")),
    }
}

/// Do global addresses lie beyond the tunnel? Those of the tunnel itself and its like are local.
fn has_way_through(lan: &LanFacts) -> bool {
    lan.through.iter().any(|through| match through.to.address() {
        // 2000::/3 (RFC 4291, 2.4), and the default route.
        IpAddr::V6(ip) => ip.octets()[0] & 0xe0 == 0x20 || through.to.length() == 0,
        IpAddr::V4(_) => false,
    })
}

fn lan_prefix(judge: &mut Judge) {
    let lan = &judge.facts.lan;
    match (&lan.prefix, &lan.holder) {
        _ if !judge.roams() => judge.skip("lan-prefix", "the prefix belongs to the other end's LAN"),
        (None, _) => judge.skip("lan-prefix", "it is not known which prefix belongs to the LAN"),
        (Some(_), Some((holder, address))) => judge.ok("lan-prefix", format!("{holder} has {address}")),
        (Some(prefix), None) => {
            let name = judge.facts.interface;
            let remedy = judge.words(
                format!(
                    "ip6assign '{}' and list ip6class '{name}' in config interface 'lan' of /etc/config/network, then: \
                     ifup lan; ifup {name}",
                    prefix.length().max(64)
                ),
                format!("ip address add ADDRESS dev LAN, with an address of {prefix}"),
            );
            judge.bad("lan-prefix", format!("no interface has an address of {prefix}"), remedy);
        }
    }
}

fn default_route(judge: &mut Judge) {
    let lan = &judge.facts.lan;
    let name = judge.facts.interface;
    let seen_from = match lan.holder {
        Some((_, address)) => format!("from {address} "),
        None => String::new(),
    };
    match lan.internet {
        Some(by) => judge.ok("default-route", format!("{seen_from}IPv6 leaves by {by}")),
        None if lan.prefix.is_none() && !has_way_through(lan) => judge.skip("default-route", NOT_CARRIED),
        None if lan.refused => judge.skip("default-route", "it is refused for now, see above"),
        None => {
            let remedy = if judge.roams() {
                let from = lan.prefix.map(|prefix| format!("from {prefix} ")).unwrap_or_default();
                judge.words(
                    format!(
                        "list allowed_ips '::/0' and route_allowed_ips '1' in config wireguard_{name} of /etc/config/network, \
                         then: wgroam-setup apply {name}"
                    ),
                    format!("ip -6 route add default {from}dev {name}, with ::/0 among the peer's allowed IPs"),
                )
            } else {
                judge.words(
                    text("ifup wan6; `ifstatus wan6` says what it waits for"),
                    text("get IPv6 from the provider"),
                )
            };
            judge.bad("default-route", format!("{seen_from}no route leads to the IPv6 Internet"), remedy);
        }
    }
}

fn forwarding(judge: &mut Judge) {
    let lan = &judge.facts.lan;
    match lan.forwards {
        _ if lan.holder.is_none() && (judge.roams() || !has_way_through(lan)) => {
            judge.skip("forwarding", "there is nothing to forward");
        }
        Some(true) => judge.ok("forwarding", text("this router forwards IPv6")),
        Some(false) => judge.bad(
            "forwarding",
            text("this router does not forward IPv6"),
            text("sysctl -w net.ipv6.conf.all.forwarding=1, and the same in /etc/sysctl.conf"),
        ),
        None => judge.unknown("forwarding", text("/proc/sys can't be read")),
    }
}

fn ra(judge: &mut Judge) {
    let announces = judge.facts.site.as_ref().and_then(|site| site.announces);
    match announces {
        _ if judge.facts.lan.holder.is_none() || !judge.roams() => {
            judge.skip("ra", "there is nothing to announce")
        }
        Some(true) => judge.ok("ra", text("the LAN is told of its prefix")),
        Some(false) => judge.bad(
            "ra",
            text("nobody tells the LAN of its prefix: router advertisements are off"),
            text("option ra 'server' in config dhcp 'lan' of /etc/config/dhcp, then: service odhcpd restart"),
        ),
        None => judge.skip("ra", "only OpenWrt's /etc/config/dhcp is looked at"),
    }
}

fn forward(judge: &mut Judge) {
    let lan = &judge.facts.lan;
    let site = judge.facts.site.as_ref();
    let tunnel = judge.facts.interface;
    let (from, to, configured): (Interface, Interface, _) = match (judge.roams(), lan.holder, lan.internet) {
        (true, Some((holder, _)), _) => (holder, tunnel, site.and_then(|site| site.lan_to_tunnel)),
        (false, _, Some(by)) if by != tunnel && has_way_through(lan) => {
            (tunnel, by, site.and_then(|site| site.tunnel_to_wan))
        }
        _ => return judge.skip("forward", "there is nothing to forward"),
    };
    let packet = Packet { from: from.as_str(), to: Some(to.as_str()), ipv6: true, udp: None };
    judge.firewall("forward", Some(packet), configured, &format!("IPv6 from {from} to {to}"), &|chain| {
        format!("nft insert rule {chain} iifname {from} oifname {to} accept, and the same where the rules are kept")
    });
}

#[cfg(test)]
mod tests {
    use crate::diagnose::judge::tests::{facts, find, roamer};
    use crate::diagnose::{Check, Facts, Verdict};
    use crate::routing::{Prefix, Through};

    fn prefix() -> Prefix {
        Prefix::new("2001:db8:a::".parse().unwrap(), 64)
    }

    /// A router whose LAN has a part of the prefix.
    fn with_lan() -> Facts {
        let mut facts = roamer();
        let lan = "lan".parse().unwrap();
        let address = "2001:db8:a::1".parse().unwrap();
        facts.lan.prefix = Some(prefix());
        facts.lan.holder = Some((lan, address));
        facts.lan.internet = Some(facts.interface);
        facts.lan.forwards = Some(true);
        facts
    }

    fn check(facts: &Facts, name: &str) -> Check {
        find(facts, name)
    }

    #[test]
    fn a_lan_that_has_all_it_needs_has_no_cross() {
        let facts = with_lan();
        for name in ["lan-prefix", "default-route", "forwarding"] {
            assert_eq!(check(&facts, name).verdict, Verdict::Ok, "{name}");
        }
        assert_eq!(check(&facts, "ra").verdict, Verdict::Skipped);
        assert_eq!(check(&facts, "forward").verdict, Verdict::Unknown, "nft can't be asked");
    }

    #[test]
    fn a_lan_without_prefix_is_told_how_to_get_one() {
        let mut facts = with_lan();
        facts.lan.holder = None;
        let found = check(&facts, "lan-prefix");
        assert_eq!(found.verdict, Verdict::Bad);
        assert!(found.remedy.starts_with("ip address add"), "{}", found.remedy);
        facts.site = Some(Default::default());
        let found = check(&facts, "lan-prefix");
        assert!(found.remedy.starts_with("ip6assign '64' and list ip6class 'wgr'"), "{}", found.remedy);
    }

    #[test]
    fn no_way_out_is_bad_unless_it_is_our_own_refusal() {
        let mut facts = with_lan();
        facts.lan.internet = None;
        let found = check(&facts, "default-route");
        assert_eq!(found.verdict, Verdict::Bad);
        assert!(found.remedy.contains("default from 2001:db8:a::/64 dev wgr"), "{}", found.remedy);
        facts.lan.refused = true;
        assert_eq!(check(&facts, "default-route").verdict, Verdict::Skipped);
        assert!(check(&facts, "refusal").seen.contains("no fault"));
    }

    #[test]
    fn a_router_that_does_not_forward_is_told_so_only_if_there_is_something_to_forward() {
        let mut facts = with_lan();
        facts.lan.forwards = Some(false);
        assert_eq!(check(&facts, "forwarding").verdict, Verdict::Bad);
        facts.lan.holder = None;
        assert_eq!(check(&facts, "forwarding").verdict, Verdict::Skipped);
    }

    #[test]
    fn ra_that_is_off_and_a_closed_forwarding_are_found_in_openwrts_files() {
        let mut facts = with_lan();
        facts.site = Some(crate::diagnose::site::Site {
            announces: Some(false),
            lan_to_tunnel: Some(false),
            ..Default::default()
        });
        assert_eq!(check(&facts, "ra").verdict, Verdict::Bad);
        let found = check(&facts, "forward");
        assert_eq!(found.verdict, Verdict::Bad);
        assert!(found.remedy.contains("config forwarding"), "{}", found.remedy);
    }

    #[test]
    fn what_is_in_force_counts_for_more_than_what_is_configured() {
        let mut facts = with_lan();
        facts.site = Some(crate::diagnose::site::Site { lan_to_tunnel: Some(true), ..Default::default() });
        facts.ruleset = Some(
            "table inet f {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy drop;\n".into(),
        );
        assert_eq!(check(&facts, "forward").verdict, Verdict::Bad);
        facts.ruleset = Some(String::new());
        facts.site = Some(crate::diagnose::site::Site { lan_to_tunnel: Some(false), ..Default::default() });
        assert_eq!(check(&facts, "forward").verdict, Verdict::Ok);
    }

    #[test]
    fn the_other_end_needs_ipv6_only_where_global_addresses_lie_behind_the_tunnel() {
        let mut facts = facts();
        for (to, verdict) in [("fd00:99::2", Verdict::Skipped), ("2001:db8:a::", Verdict::Bad)] {
            let to = Prefix::new(to.parse().unwrap(), 64);
            facts.lan.through =
                vec![Through { interfaces: vec![facts.interface], to, from: None, metric: 1024 }];
            facts.lan.forwards = Some(false);
            for name in ["default-route", "forwarding"] {
                assert_eq!(check(&facts, name).verdict, verdict, "{name} {to}");
            }
        }
        facts.lan.internet = Some("wan".parse().unwrap());
        assert_eq!(check(&facts, "default-route").verdict, Verdict::Ok);
        facts.ruleset = Some(
            "table inet f {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy drop;\n".into(),
        );
        assert!(check(&facts, "forward").remedy.contains("inet f c iifname wgr oifname wan accept"));
    }

    #[test]
    fn a_tunnel_without_ipv6_for_a_lan_asks_for_none() {
        for mut facts in [facts(), roamer()] {
            facts.lan.internet = None;
            for name in ["lan-prefix", "default-route", "forwarding", "ra", "forward"] {
                assert_eq!(check(&facts, name).verdict, Verdict::Skipped, "{name}");
            }
        }
    }
}
