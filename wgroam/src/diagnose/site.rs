// SPDX-License-Identifier: GPL-2.0-only
//! What OpenWrt's packages `network`, `dhcp` and `firewall` say about a tunnel, as far as it is asked here. Pure.

use super::ruleset::in_range;
use crate::config;
use crate::config::uci::{Keep, Package, Parsed, Section, Value};
use crate::model::PublicKey;
use crate::routing::Prefix;

/// The options that are read; keys are not among them.
const OPTIONS: &[&str] = &[
    "ip6prefix",
    "ip6assign",
    "interface",
    "ra",
    "ignore",
    "name",
    "network",
    "input",
    "forward",
    "src",
    "src_ip",
    "dest",
    "proto",
    "dest_port",
    "target",
    "enabled",
    "family",
    "disabled",
    "public_key",
    "description",
    "persistent_keepalive",
    "allowed_ips",
];

/// For [`crate::config::uci::parse`].
pub fn keep(_package: &str) -> Keep {
    Keep::Only(OPTIONS)
}

/// A peer of the tunnel in package network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Who it is.
    pub public_key: PublicKey,
    /// Its description, or the name of its section.
    pub name: String,
    /// It is switched off there.
    pub disabled: bool,
    /// It has a persistent keepalive there.
    pub keepalive: bool,
    /// `list allowed_ips`.
    pub allowed: Vec<Prefix>,
}

/// What is configured. None: that package says nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// `ip6prefix` of the tunnel's interface.
    pub prefix: Option<Prefix>,
    /// The peers of the tunnel, each key once; None: it is not this package that describes them.
    pub peers: Option<Vec<Described>>,
    /// The networks that get a part of a prefix (`ip6assign`).
    pub lans: Vec<String>,
    /// Does one of those announce itself to its computers?
    pub announces: Option<bool>,
    /// Is the tunnel's UDP port open to the WAN?
    pub open: Option<bool>,
    /// May the LAN send into the tunnel?
    pub lan_to_tunnel: Option<bool>,
    /// May the tunnel send to the WAN?
    pub tunnel_to_wan: Option<bool>,
}

impl Site {
    /// Reads the three packages; `port` is the one that the tunnel listens on.
    pub fn read(network: &Parsed, dhcp: &Parsed, firewall: &Parsed, interface: &str, port: u16) -> Self {
        let mut site = Self::default();
        for section in sections(network, "interface") {
            let Some(name) = &section.name else { continue };
            if name == interface {
                site.prefix = words(section, "ip6prefix").iter().find_map(|word| prefix(word));
            } else if section.get("ip6assign").is_some() {
                site.lans.push(name.clone());
            }
        }
        site.peers = peers(network, interface);
        let is_lan = |name: &&str| site.lans.iter().any(|lan| lan == name);
        let mut served = sections(dhcp, "dhcp")
            .filter(|section| !is(section, "ignore", "1") && words(section, "interface").iter().any(is_lan))
            .peekable();
        if served.peek().is_some() {
            let announces =
                |section: &Section| ["server", "relay", "hybrid"].iter().any(|word| is(section, "ra", word));
            site.announces = Some(served.any(announces));
        }
        let zones = Zones(firewall);
        let (lan, tunnel) = (zones.of(&is_lan), zones.of(&|name| *name == interface));
        let wan = zones.of(&|name| *name == "wan" || *name == "wan6");
        if let Some(wan) = wan {
            site.open = Some(zones.opens(wan, port));
            site.tunnel_to_wan = Some(tunnel.is_some_and(|tunnel| zones.forwards(tunnel, wan)));
        }
        if let Some(lan) = lan {
            site.lan_to_tunnel = Some(tunnel.is_some_and(|tunnel| zones.forwards(lan, tunnel)));
        }
        site
    }
}

/// Package firewall.
struct Zones<'a>(&'a Parsed);

impl<'a> Zones<'a> {
    /// The zone of the first network that is meant.
    fn of(&self, meant: &dyn Fn(&&str) -> bool) -> Option<&'a Section> {
        sections(self.0, "zone").find(|zone| words(zone, "network").iter().any(meant))
    }

    /// Is UDP to this port of the router let in from this zone?
    fn opens(&self, zone: &Section, port: u16) -> bool {
        let from = name(zone);
        is(zone, "input", "ACCEPT")
            || sections(self.0, "rule").any(|rule| {
                let protocols = words(rule, "proto");
                let ports = words(rule, "dest_port");
                is_on(rule)
                    && is(rule, "target", "ACCEPT")
                    && (is(rule, "src", from) || is(rule, "src", "*"))
                    && rule.get("dest").is_none()
                    && rule.get("src_ip").is_none()
                    && !is(rule, "family", "ipv6")
                    && (protocols.is_empty()
                        || ["udp", "tcpudp", "all", "any"].iter().any(|word| protocols.contains(word)))
                    && (ports.is_empty() || ports.iter().any(|range| in_range(range, port)))
            })
    }

    /// Is IPv6 let through from one zone to the other?
    fn forwards(&self, from: &Section, to: &Section) -> bool {
        if name(from) == name(to) {
            return is(from, "forward", "ACCEPT");
        }
        sections(self.0, "forwarding").any(|forwarding| {
            is_on(forwarding)
                && is(forwarding, "src", name(from))
                && is(forwarding, "dest", name(to))
                && !is(forwarding, "family", "ipv4")
        })
    }
}

fn sections<'a>(parsed: &'a Parsed, kind: &'static str) -> impl Iterator<Item = &'a Section> {
    let package: Option<&Package> = parsed.packages.first();
    package.map_or(&[][..], |package| &package.sections).iter().filter(move |section| section.kind == kind)
}

/// The values of an option or list, of which an option may hold several.
fn words<'a>(section: &'a Section, option: &str) -> Vec<&'a str> {
    match section.get(option).map(|setting| &setting.value) {
        Some(Value::One(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::List(entries)) => entries.iter().map(|(text, _)| text.as_str()).collect(),
        None => Vec::new(),
    }
}

fn is(section: &Section, option: &str, value: &str) -> bool {
    words(section, option).contains(&value)
}

fn is_on(section: &Section) -> bool {
    !is(section, "enabled", "0")
}

/// What a zone is called by rules.
fn name(zone: &Section) -> &str {
    words(zone, "name").first().copied().unwrap_or_default()
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    Some(Prefix::new(address.parse().ok()?, length.parse().ok()?))
}

/// The peers of a WireGuard interface that netifd sets up. As with `wg setconf` the last of two sections with one key counts.
fn peers(network: &Parsed, interface: &str) -> Option<Vec<Described>> {
    let is_ours = |section: &Section| section.name.as_deref() == Some(interface);
    sections(network, "interface")
        .find(|section| is_ours(section) && config::network::interface(section).is_some())?;
    // What follows a mistake is not known, and would be missed.
    if !network.mistakes.is_empty() || !network.elsewhere.is_empty() {
        return None;
    }
    let package = network.packages.first()?;
    let is_its = |section: &&Section| section.kind.strip_prefix("wireguard_") == Some(interface);
    let mut peers: Vec<Described> = Vec::new();
    for section in package.sections.iter().filter(is_its) {
        let Some(public_key) = words(section, "public_key").first().and_then(|key| key.parse().ok()) else {
            continue;
        };
        let disabled = config::network::is_off(section);
        if peers.iter().any(|peer| peer.public_key == public_key) {
            if disabled {
                continue;
            }
            peers.retain(|peer| peer.public_key != public_key);
        }
        // wg takes an address alone for a network of that one, and several with commas between them.
        let allowed = words(section, "allowed_ips").into_iter().flat_map(|word| word.split(','));
        let network = |word: &str| prefix(word).or_else(|| Some(Prefix::host(word.parse().ok()?)));
        peers.push(Described {
            public_key,
            name: config::network::name(section),
            disabled,
            keepalive: words(section, "persistent_keepalive")
                .iter()
                .any(|word| !matches!(*word, "0" | "off")),
            allowed: allowed.filter_map(network).collect(),
        });
    }
    Some(peers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::uci;

    const NETWORK: &str = "
config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ip6assign '64'

config interface 'wgr'
	option proto 'wireguard'
	list ip6prefix '2001:db8:a::/64'
";
    const DHCP: &str = "
config dhcp 'lan'
	option interface 'lan'
	option ra 'server'

config dhcp 'wan'
	option interface 'wan'
	option ignore '1'
";
    const FIREWALL: &str = "
config defaults
	option input 'REJECT'

config zone
	option name 'lan'
	list network 'lan'
	option input 'ACCEPT'
	option forward 'ACCEPT'

config zone
	option name 'wan'
	option network 'wan wan6'
	option input 'REJECT'

config zone
	option name 'tunnel'
	list network 'wgr'

config forwarding
	option src 'lan'
	option dest 'tunnel'

config forwarding
	option src 'tunnel'
	option dest 'wan'

config rule
	option name 'Allow-WireGuard'
	option src 'wan'
	option proto 'udp'
	option dest_port '443 51820'
	option target 'ACCEPT'
";

    fn site(network: &str, dhcp: &str, firewall: &str) -> Site {
        let parse = |text: &str, name| uci::parse(text.as_bytes(), name, 20, keep);
        Site::read(
            &parse(network, "network"),
            &parse(dhcp, "dhcp"),
            &parse(firewall, "firewall"),
            "wgr",
            51820,
        )
    }

    #[test]
    fn all_that_belongs_to_a_tunnel_is_found() {
        let site = site(NETWORK, DHCP, FIREWALL);
        assert_eq!(site.prefix.unwrap().to_string(), "2001:db8:a::/64");
        assert_eq!(site.lans, ["lan"]);
        assert_eq!((site.announces, site.open), (Some(true), Some(true)));
        assert_eq!((site.lan_to_tunnel, site.tunnel_to_wan), (Some(true), Some(true)));
    }

    #[test]
    fn the_peers_of_a_wireguard_interface_are_described_without_their_secrets() {
        let (key, other) = (PublicKey([7; 32]), PublicKey([8; 32]));
        let peers = format!(
            "
config wireguard_wgr 'home'
	option public_key '{key}'
	option preshared_key '{other}'
	list allowed_ips '::/0'
	list allowed_ips 'fd00:99::1'
	option persistent_keepalive '25'

config wireguard_wgr
	option description 'A phone'
	option public_key '{other}'
	option disabled '1'
	option allowed_ips '10.0.0.9/24, 10.1.0.0/16'

config wireguard_other
	option public_key '{other}'

config wireguard_wgr
	option public_key 'no key'
"
        );
        let read = |network: &str| site(network, "", "").peers;
        let found = read(&format!("{NETWORK}{peers}")).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].public_key, &*found[0].name, found[0].disabled), (key, "home", false));
        assert_eq!((found[1].public_key, &*found[1].name, found[1].disabled), (other, "A phone", true));
        assert_eq!((found[0].keepalive, found[1].keepalive), (true, false));
        let allowed = |peer: &Described| peer.allowed.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(allowed(&found[0]), ["::/0", "fd00:99::1/128"]);
        assert_eq!(allowed(&found[1]), ["10.0.0.0/24", "10.1.0.0/16"]);
        assert_eq!(read(NETWORK), Some(Vec::new()));
        // Described by nobody: another proto, a plain Linux, one that is switched off, a file that breaks off.
        for network in [
            NETWORK.replace("'wireguard'", "'amneziawg'"),
            NETWORK.replace("'wgr'", "'wg2'"),
            format!("{NETWORK}\toption disabled '1'\n"),
            format!("{NETWORK}{peers}config wireguard_wgr 'x"),
        ] {
            assert_eq!(read(&network), None, "{network}");
        }
    }

    #[test]
    fn of_two_sections_with_one_key_the_last_counts_that_is_on() {
        let key = PublicKey([7; 32]);
        let section = |more: &str| format!("config wireguard_wgr\n\toption public_key '{key}'\n{more}");
        let text = section("\tlist allowed_ips 'fd00::1'\n") + &section("\tlist allowed_ips 'fd00::2'\n");
        let found =
            site(&format!("{NETWORK}{text}{}", section("\toption disabled 1\n")), "", "").peers.unwrap();
        assert_eq!(
            (found.len(), found[0].disabled, found[0].allowed[0].to_string()),
            (1, false, "fd00::2/128".into())
        );
    }

    #[test]
    fn packages_that_are_not_there_say_nothing() {
        assert_eq!(site("", "", ""), Site::default());
    }

    #[test]
    fn a_rule_opens_the_port_only_if_it_means_it() {
        for (from, to) in [
            ("'443 51820'", "'443'"),
            ("'443 51820'", "'51821-51900'"),
            ("option proto 'udp'", "option proto 'tcp'"),
            ("\toption src 'wan'\n\toption proto", "\toption src 'lan'\n\toption proto"),
            ("option dest_port", "option dest 'lan'\n\toption dest_port"),
            ("option dest_port", "option enabled '0'\n\toption dest_port"),
            ("option dest_port", "option src_ip '192.0.2.1'\n\toption dest_port"),
            ("'443 51820'\n\toption target 'ACCEPT'", "'443 51820'\n\toption target 'DROP'"),
        ] {
            let firewall = FIREWALL.replace(from, to);
            assert_ne!(firewall, FIREWALL, "{to}");
            assert_eq!(site(NETWORK, DHCP, &firewall).open, Some(false), "{to}");
        }
        for (from, to) in [
            ("'443 51820'", "'51000:52000'"),
            ("option proto 'udp'", "list proto 'udp'"),
            ("network 'wan wan6'\n\toption input 'REJECT'", "network 'wan'\n\toption input 'ACCEPT'"),
        ] {
            assert_eq!(site(NETWORK, DHCP, &FIREWALL.replace(from, to)).open, Some(true), "{to}");
        }
    }

    #[test]
    fn without_forwarding_or_zone_nothing_passes() {
        let site = |from, to| site(NETWORK, DHCP, &FIREWALL.replace(from, to));
        assert_eq!(site("option dest 'tunnel'", "option dest 'wan'").lan_to_tunnel, Some(false));
        assert_eq!(site("option src 'tunnel'", "option src 'guest'").tunnel_to_wan, Some(false));
        assert_eq!(site("list network 'wgr'", "").lan_to_tunnel, Some(false));
        assert_eq!(
            site("option dest 'tunnel'", "option dest 'tunnel'\n\toption family 'ipv4'").lan_to_tunnel,
            Some(false)
        );
        let one_zone = site("list network 'lan'", "list network 'lan'\n\tlist network 'wgr'");
        assert_eq!(one_zone.lan_to_tunnel, Some(true));
    }

    #[test]
    fn a_lan_without_ra_is_told_from_one_that_is_not_served() {
        assert_eq!(site(NETWORK, &DHCP.replace("'server'", "'disabled'"), "").announces, Some(false));
        assert_eq!(site(NETWORK, &DHCP.replace("\toption ra 'server'\n", ""), "").announces, Some(false));
        assert_eq!(site(NETWORK, "", "").announces, None);
    }
}
