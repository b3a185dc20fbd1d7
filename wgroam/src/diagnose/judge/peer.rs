// SPDX-License-Identifier: GPL-2.0-only
//! The checks of one peer: its names, the way to it, and what comes back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Judge, LEAST_MTU, SESSION};
use crate::diagnose::{Echoed, Leads, PeerFacts, text, told};
use crate::linux::resolver::ResolveError;
use crate::model::Device;
use crate::render::ago;

impl Judge<'_> {
    pub(super) fn peer(&mut self, device: &Device, peer: &PeerFacts) {
        if peer.dialed {
            self.names(peer);
            self.route(peer);
        }
        self.handshake(device, peer);
        self.echo(peer);
        self.mtu(peer);
        if peer.dialed {
            self.keepalive(peer);
        }
    }

    fn names(&mut self, peer: &PeerFacts) {
        let say = |(host, found): &(String, Result<Vec<IpAddr>, _>)| match found {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                format!("{host} is {}", addresses.join(", "))
            }
            Err(error) => format!("{host}: {error}"),
        };
        let said = peer.names.iter().map(say).collect::<Vec<_>>().join("; ");
        if peer.names.is_empty() {
            self.skip("names", "there are only addresses");
        } else if peer.names.iter().all(|(_, found)| found.is_err()) && !peer.has_address {
            let missing = peer.names.iter().any(|(_, found)| *found == Err(ResolveError::NotFound));
            let remedy = match missing {
                true => {
                    "correct the name (list endpoint, or endpoint_host), or have its owner point it to the peer"
                }
                false => {
                    "find out why DNS is silent: `nslookup` by the servers in /etc/resolv.conf; an address in `list \
                     endpoint` needs none"
                }
            };
            self.bad("names", said, remedy.into());
        } else {
            self.ok("names", said);
        }
    }

    fn route(&mut self, peer: &PeerFacts) {
        let name = self.facts.interface;
        let say = |(to, leads): &(SocketAddr, Leads)| match leads {
            Leads::Nowhere => format!("no route to {}", to.ip()),
            Leads::Inside => format!("{} is led into {name} itself", to.ip()),
            Leads::Here => format!("{} is this router itself", to.ip()),
            Leads::By(by, _) => format!("{} by {by}", to.ip()),
        };
        let said = peer.ways.iter().map(say).collect::<Vec<_>>().join(", ");
        let has = |wanted: Leads| peer.ways.iter().any(|(_, leads)| *leads == wanted);
        // What it uses now counts alone; else one good way will do.
        let used = peer.peer.endpoint.and_then(|used| peer.ways.iter().find(|(to, _)| *to == used));
        let good = match used {
            Some((_, leads)) => matches!(leads, Leads::By(..)),
            None => peer.ways.iter().any(|(_, leads)| matches!(leads, Leads::By(..))),
        };
        if peer.ways.is_empty() {
            self.skip("route", "no address is known");
        } else if good {
            self.ok("route", said);
        } else {
            let remedy = if has(Leads::Inside) {
                text(
                    "start wgroam: it keeps a route around the tunnel, and moves it with the uplink; or take that network out of \
                 allowed_ips, or set a fwmark and a rule for it",
                )
            } else if has(Leads::Here) {
                text("correct the endpoint: it has to be the peer's address")
            } else {
                text("see what stands in the way: `ip route get` with that address")
            };
            self.bad("route", said, remedy);
        }
    }

    fn handshake(&mut self, device: &Device, peer: &PeerFacts) {
        let age = peer.peer.last_handshake.map(|last| self.facts.now.saturating_sub(last.seconds));
        let last = match age {
            Some(age) => format!("the last handshake was {} ago", ago(Duration::from_secs(age))),
            None => text("there was never a handshake"),
        };
        let alive = age.is_some_and(|age| age < SESSION);
        let untried = !peer.dialed || matches!(peer.echo, Echoed::NotSent | Echoed::Failed(_));
        if peer.heard || alive && untried {
            return self.ok("handshake", last);
        }
        let daemon = self.facts.daemon.as_deref().unwrap_or_default();
        if let Some((word, why)) = told::problem(daemon, &peer.peer.public_key) {
            let remedy = match word {
                "clock-behind" => text("set the clock of that router (NTP)"),
                _ => format!("let UDP port {} in on the WAN", device.listen_port),
            };
            return self.bad("handshake", format!("{last}; {why}"), remedy);
        }
        if let Some((source, word, why)) = told::stranger(daemon, |key| self.is_known(key)) {
            let own = device.public_key.map(|key| key.to_string()).unwrap_or_default();
            let remedy = match word {
                "unknown-peer" => {
                    let then = self.words(format!(", then: {}", self.apply()), String::new());
                    format!(
                        "if it is this peer, its key is another one: give it back its old private key, or correct \
                         public_key here{then}"
                    )
                }
                _ => format!("if it is this peer, correct this router's public key there: {own}"),
            };
            return self.bad("handshake", format!("{last}; {source} {why}"), remedy);
        }
        if !peer.dialed {
            return self.unknown(
                "handshake",
                format!("{last}; it has to call: `wgroam diagnose` at its end says why not"),
            );
        }
        if peer.peer.endpoint.is_none() {
            let remedy = self.words(text("service wgroam start"), text("start `wgroam run`"));
            return self.bad(
                "handshake",
                format!("{last}; nobody has told WireGuard where the peer is"),
                remedy,
            );
        }
        self.silence(device, peer, last);
    }

    /// Why nothing comes back, as far as packets outside the tunnel tell.
    fn silence(&mut self, device: &Device, peer: &PeerFacts, last: String) {
        let nothing = format!("{last}, and nothing comes back now");
        let Some((to, trace)) = peer.trace else {
            return self.bad("handshake", nothing, text("see whether the other router is on, has Internet, and is still at this address; then run `wgroam diagnose` there"));
        };
        let (port, hops, other_hops) = (to.port(), trace.hops, trace.other_hops);
        let (seen, remedy) = if trace.refused {
            (
                format!("the host of {to} says that nothing listens on that port"),
                text("bring WireGuard up there, or correct the port here: `wg show` there names it"),
            )
        } else if other_hops > hops {
            (
                format!(
                    "UDP to port {port} gets as far as hop {hops}, to another port as far as hop {other_hops}: the port is \
                     filtered on the way"
                ),
                format!(
                    "give another port that is not: list endpoint 'HOST:443', redirected to {port} at the other end \
                     (`option rotate_port` does not help)"
                ),
            )
        } else if trace.alive {
            let own = device.public_key.map(|key| key.to_string()).unwrap_or_default();
            (
                format!("the host of {to} is there, and WireGuard on it is silent"),
                format!(
                    "run `wgroam diagnose` there, which tells whether it knows this router at all; else compare the keys: \
                     there this router has to be {own}, and `wg show` there has to say of itself what the peer is here; the \
                     preshared key is the same at both ends. Then its clock, and its firewall for UDP port {port}"
                ),
            )
        } else {
            let far = match hops {
                0 => text("no router on the way says anything"),
                hops => format!("packets get {hops} hops far"),
            };
            (
                format!("the host of {to} does not answer at all; {far}"),
                text(
                    "see whether the other router is on and has Internet, and this is still its address; then run `wgroam \
                 diagnose` there",
                ),
            )
        };
        self.bad("handshake", format!("{nothing}; {seen}"), remedy);
    }

    fn echo(&mut self, peer: &PeerFacts) {
        let Some((target, asked_for)) = peer.target else {
            return self.skip("echo", "no address of the other end is known; option probe names one");
        };
        let (seen, remedy) = match &peer.echo {
            Echoed::Answered => return self.ok("echo", format!("{target} answers")),
            Echoed::NotSent => return self.skip("echo", "there is no session"),
            Echoed::Silent if !peer.heard => return self.skip("echo", "nothing at all comes back"),
            Echoed::Silent => (
                format!("{target} does not answer, though the peer is there"),
                "let ICMPv6 echo requests in from the tunnel at the other end, or name another address: option probe",
            ),
            Echoed::Failed(why) => {
                (why.clone(), "option probe has to be an address among the peer's allowed IPs")
            }
        };
        match asked_for {
            true => self.bad("echo", seen, remedy.into()),
            // It was a guess.
            false => self.unknown("echo", seen),
        }
    }

    fn mtu(&mut self, peer: &PeerFacts) {
        let (Some(largest), Some(mtu)) = (peer.largest, self.facts.mtu) else {
            return self.skip("mtu", "nobody there answers an echo");
        };
        let name = self.facts.interface;
        if largest >= mtu {
            self.ok("mtu", format!("packets of {mtu} bytes get through"));
        } else if largest >= LEAST_MTU {
            let remedy = self.words(
                format!("uci set network.{name}.mtu='{largest}'; uci commit network; ifup {name}; ra_mtu on the LAN"),
                format!("ip link set mtu {largest} dev {name}"),
            );
            self.bad(
                "mtu",
                format!(
                    "packets of {mtu} bytes, the MTU of {name}, are lost; those of {largest} get through"
                ),
                format!("{remedy}; and the same at the other end"),
            );
        } else {
            self.bad(
                "mtu",
                format!("packets of {LEAST_MTU} bytes are lost, and IPv6 needs those"),
                text("the network between drops large packets or fragments: take another uplink, or another endpoint; at the \
                 other end see that its firewall lets fragments in"),
            );
        }
    }

    fn keepalive(&mut self, peer: &PeerFacts) {
        let name = self.facts.interface;
        let behind_nat = peer.ways.iter().find_map(|(to, leads)| match leads {
            Leads::By(_, Some(source)) => (is_private(*source) && !is_private(to.ip())).then_some(*source),
            _ => None,
        });
        let Some(source) = behind_nat else {
            return self.skip("keepalive", "this router is not behind a NAT");
        };
        match peer.peer.keepalive {
            0 if peer.probed && self.facts.daemon.is_some() => {
                self.ok("keepalive", text("wgroam's probes keep the NAT open"));
            }
            0 => {
                let key = peer.peer.public_key;
                let configured = self.described_peer(&key).is_some_and(|peer| peer.keepalive);
                let write = match configured {
                    true => String::new(),
                    false => {
                        format!("persistent_keepalive '25' in its section `config wireguard_{name}`, then: ")
                    }
                };
                let remedy = self.words(
                    write + &self.apply(),
                    format!("wg set {name} peer {key} persistent-keepalive 25, and make it lasting"),
                );
                self.bad(
                    "keepalive",
                    format!("there is none, and {source} is behind a NAT, which forgets an idle tunnel: the peer can't reach \
                         this router then"),
                    remedy,
                );
            }
            seconds => self.ok("keepalive", format!("every {seconds} s")),
        }
    }
}

/// An address that nobody on the Internet can send to: RFC 1918, RFC 6598, RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_link_local() || ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
        }
        IpAddr::V6(ip) => ip.octets()[0] & 0xfe == 0xfc,
    }
}
