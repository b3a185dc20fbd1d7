// SPDX-License-Identifier: GPL-2.0-only
//! Facts to checks: the interface and the router here, each peer in `peer`, IPv6 and the LAN in `lan`. Pure.

mod peer;

use std::time::Duration;

use super::ruleset::{Fate, Packet, fate};
use super::{Check, Facts, PeerFacts, Verdict, lan, text};
use crate::linux::wireguard::Error;
use crate::model::Device;
use crate::render::ago;

/// A session is good for so many seconds (REJECT_AFTER_TIME of the whitepaper, 6.1).
pub const SESSION: u64 = 180;

/// Clocks that differ by less do no harm, and differ everywhere.
const CLOCK_SLACK: u64 = 60;

/// What IPv6 asks of every link (RFC 8200, 5).
pub const LEAST_MTU: u16 = 1280;

/// All checks that can be made, in the order of causes. Where the interface itself is at fault nothing follows.
pub fn judge(facts: &Facts) -> Vec<Check> {
    let mut judge = Judge { facts, peer: None, checks: Vec::new() };
    match &facts.mistake {
        Some(mistake) => {
            judge.bad("config", mistake.clone(), text("correct it; `wgroam check` lists all mistakes"))
        }
        None => judge.ok("config", text("the configuration is fine")),
    }
    if let Some(device) = judge.device() {
        judge.router(device);
        for peer in &facts.peers {
            judge.peer = Some(peer.name.clone());
            judge.peer(device, peer);
        }
        judge.peer = None;
        lan::judge(&mut judge);
        // These keep nothing from working, so they come last.
        judge.leak(device);
        judge.let_in();
    }
    judge.checks
}

/// Collects checks.
pub(super) struct Judge<'a> {
    pub facts: &'a Facts,
    /// Whom the next check is about.
    peer: Option<String>,
    checks: Vec<Check>,
}

impl<'a> Judge<'a> {
    fn add(&mut self, name: &'static str, verdict: Verdict, seen: String, remedy: String) {
        self.checks.push(Check { name, peer: self.peer.clone(), verdict, seen, remedy });
    }

    pub fn ok(&mut self, name: &'static str, seen: String) {
        self.add(name, Verdict::Ok, seen, String::new());
    }

    pub fn bad(&mut self, name: &'static str, seen: String, remedy: String) {
        self.add(name, Verdict::Bad, seen, remedy);
    }

    pub fn unknown(&mut self, name: &'static str, seen: String) {
        self.add(name, Verdict::Unknown, seen, String::new());
    }

    pub fn skip(&mut self, name: &'static str, seen: &str) {
        self.add(name, Verdict::Skipped, seen.into(), String::new());
    }

    /// Words for OpenWrt, or those for any other Linux.
    pub fn words(&self, openwrt: String, other: String) -> String {
        if self.facts.site.is_some() { openwrt } else { other }
    }

    /// Is a peer dialed?
    pub fn roams(&self) -> bool {
        self.facts.peers.iter().any(|peer| peer.dialed)
    }

    /// The device, if it is fit for all the rest.
    fn device(&mut self) -> Option<&'a Device> {
        let name = self.facts.interface;
        let bring_up = |up: &str| {
            self.words(format!("ifup {name}; `logread` says what netifd does not like"), up.into())
        };
        let device = match &self.facts.device {
            Ok(device) if device.up => device,
            Ok(_) => {
                let remedy = bring_up(&format!("ip link set up dev {name}"));
                self.bad("device", format!("{name} is down: WireGuard hears nothing"), remedy);
                return None;
            }
            Err(error) => {
                let remedy = match error {
                    Error::Gone(_) => {
                        bring_up(&format!("wg-quick up {name}, or: ip link add {name} type wireguard"))
                    }
                    Error::NotWireGuard(_) => text("name another one: `wg show interfaces` lists them"),
                    Error::Denied(_) | Error::SocketDenied(_) => text("run `wgroam diagnose` as root"),
                    _ => text("ask again; the system's log may say more"),
                };
                self.bad("device", error.to_string(), remedy);
                return None;
            }
        };
        let mtu = self.facts.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        self.ok("device", format!("{name} is up, port {}{mtu}", device.listen_port));
        if device.public_key.is_none() {
            let remedy = self.words(
                format!("uci set network.{name}.private_key=\"$(wg genkey)\"; uci commit network; ifup {name}"),
                format!("wg genkey | wg set {name} private-key /dev/stdin, and make it lasting where {name} is configured"),
            );
            self.bad("key", format!("{name} has no private key: WireGuard hears nothing"), remedy);
            return None;
        }
        self.ok("key", text("it has a private key"));
        Some(device)
    }

    /// What is no peer's own.
    fn router(&mut self, device: &Device) {
        let (facts, name) = (self.facts, self.facts.interface);
        match &facts.daemon {
            Some(status) if status.contains(&format!("{{\"interface\":\"{name}\"")) => {
                self.ok("daemon", text("wgroam runs"));
            }
            Some(_) => self.skip("daemon", "wgroam runs, and does not look after this interface"),
            None => self.skip("daemon", "wgroam does not run: who calls in vain is not known"),
        }
        let behind = facts.newest.saturating_sub(facts.now);
        if behind > CLOCK_SLACK {
            let behind = ago(Duration::from_secs(behind));
            let remedy = self.words(text("service sysntpd restart"), text("start an NTP client"));
            self.bad(
                "clock",
                format!(
                    "the clock of this router is {behind} behind the newest time remembered: the others drop its \
                     handshakes as repeated"
                ),
                format!("set it: {remedy}, or: date -s 'YYYY-MM-DD hh:mm'"),
            );
        } else {
            self.ok("clock", text("it is not behind any time remembered"));
        }
        self.applied(device);
        if !self.missing() {
            self.count(device);
        }
        match facts.lan.uplink {
            Some((uplink, _)) => self.ok("uplink", format!("a default route leads to {uplink}")),
            None if self.roams() => {
                let remedy = self.words(
                    text("ifup wan; `ifstatus wan` says what it waits for"),
                    text("bring the uplink up, with an address and a default route: `ip route`"),
                );
                self.bad(
                    "uplink",
                    text("no default route leads out of this router, but for the tunnel's"),
                    remedy,
                );
            }
            None => self.unknown("uplink", text("there is no default route but for the tunnel's")),
        }
        self.door(device.listen_port);
    }

    /// None that is configured is missing: are there any?
    fn count(&mut self, device: &Device) {
        let name = self.facts.interface;
        if !device.peers.is_empty() {
            let more = match self.facts.left_out {
                0 => String::new(),
                n => format!("; {n} of them are not looked at"),
            };
            self.ok("peers", format!("{name} has {}{more}", device.peers.len()));
        } else if let Some(remedy) = self.no_peer() {
            self.bad("peers", format!("{name} has no peer"), remedy);
        } else {
            self.skip("peers", "those there are have to be applied first");
        }
    }

    /// Can those get in who have to call?
    fn door(&mut self, port: u16) {
        if self.facts.peers.iter().all(|peer| peer.dialed) {
            return self.skip("port-open", "nobody has to call this router");
        }
        let packet = self.facts.lan.uplink.as_ref().map(|(uplink, ipv6)| Packet {
            from: uplink.as_str(),
            to: None,
            ipv6: *ipv6,
            udp: Some(port),
        });
        let open = self.facts.site.as_ref().and_then(|site| site.open);
        self.firewall("port-open", packet, open, &format!("UDP port {port} from the WAN"), &|chain| {
            format!("nft insert rule {chain} udp dport {port} accept, and the same where the rules are kept")
        });
    }

    /// A full tunnel whose peer has a name: each address that the name is said to have gets a route around the tunnel, and
    /// whoever else is asked for at that address is led there too. Only DNS knows whose address it is.
    fn leak(&mut self, device: &Device) {
        let name = self.facts.interface;
        let named = |peer: &&PeerFacts| peer.dialed && !peer.names.is_empty();
        let Some(peer) = self.facts.peers.iter().find(named).filter(|_| self.facts.lan.everything) else {
            return;
        };
        let host = &peer.names[0].0;
        match device.fwmark {
            0 => self.unknown(
                "leak",
                format!(
                    "{name} carries everything and has no fwmark: whoever answers the DNS question for {host} can lead \
                     traffic to the address that he names out of the tunnel while it is tried. fwmark is the cure: \
                     docs/diagnose.md, A full tunnel whose peer has a name"
                ),
            ),
            mark => self.ok("leak", format!("the fwmark {mark:#x} leads nothing but WireGuard's own packets past {name}")),
        }
    }

    /// What the rules in force say counts for more than the configuration, which may not be.
    pub fn firewall(
        &mut self,
        name: &'static str,
        packet: Option<Packet>,
        configured: Option<bool>,
        what: &str,
        open: &dyn Fn(&str) -> String,
    ) {
        let fate = match (&self.facts.ruleset, packet) {
            (Some(ruleset), Some(packet)) => fate(ruleset, &packet),
            _ => Fate::Unknown,
        };
        let remedy = |chain: &str| {
            let openwrt = match name {
                "port-open" => {
                    "allow it in /etc/config/firewall: config rule with src 'wan', proto 'udp', dest_port and \
                     target 'ACCEPT'"
                }
                _ => {
                    "add a section `config forwarding` with src and dest to /etc/config/firewall, and the tunnel's \
                     interface to a zone"
                }
            };
            self.words(format!("{openwrt}; then: service firewall restart"), open(chain))
        };
        match (fate, configured) {
            (Fate::Passes, _) | (Fate::Unknown, Some(true)) => {
                self.ok(name, format!("the firewall lets {what} through"))
            }
            (Fate::Dropped(chain), _) => {
                let remedy = remedy(&chain);
                self.bad(name, format!("the firewall drops {what}, in chain {chain}"), remedy);
            }
            (Fate::Unknown, Some(false)) => {
                let remedy = remedy("");
                self.bad(name, format!("/etc/config/firewall does not allow {what}"), remedy);
            }
            (Fate::Unknown, None) => {
                self.unknown(name, format!("it is not known whether the firewall drops {what}"))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
