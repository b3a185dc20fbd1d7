// SPDX-License-Identifier: GPL-2.0-only
//! Asks the system for [`Facts`]: WireGuard, routes, names, files, the daemon; and the tunnel itself, by echo requests.
//! Takes a fraction of a second where all is well, and up to some 12 s for each peer that is silent.

mod ask;

use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::site::{self, Site};
use super::{Echoed, Facts, LanFacts, Leads, PeerFacts};
use crate::config::{self, Config, uci};
use crate::linux::control::{self, SOCKET};
use crate::linux::echo::Echo;
use crate::linux::own_routes::OwnRoutes;
use crate::linux::resolver::{ResolveError, Resolver};
use crate::linux::route::message::{DefaultRoute, Link};
use crate::linux::route::{Links, Lookup};
use crate::linux::thread::pause;
use crate::linux::wireguard::WireGuard;
use crate::linux::{files, program};
use crate::model::{Device, Interface, Peer, PublicKey, WallTime, digits};
use crate::routing::{Prefix, RouteQuery};
use crate::state;

/// So many peers are looked at, those that are dialed first: a screen has no room for more.
const MAX_PEERS: usize = 8;

/// Of so many peers the allowed IPs are compared with the configuration's: each takes a dump of the device.
const MAX_COMPARED: usize = 64;

/// Between two looks at a socket, in milliseconds.
const TICK: u16 = 10;

/// An address of the IPv6 Internet that no table has for something else: a.root-servers.net. Nothing is sent there.
const INTERNET: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));

/// Of each half of IPv4's Internet an address that no table has for something else. Nothing is sent there.
const HALVES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(12, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4))];

/// The first plausible time: wgroam did not exist before (2026-01-01).
const FIRST_TIME: u64 = 1_767_225_600;

/// The largest ruleset that is read, in bytes: lists of addresses of whole countries stay below it.
const MAX_RULESET: usize = 4 << 20;

/// Where things are.
pub struct Places<'a> {
    /// The configuration; with `may_be_missing` the default one.
    pub config: &'a Path,
    /// Without the file the defaults apply.
    pub may_be_missing: bool,
    /// What is remembered over reboots.
    pub state: &'a Path,
    /// The daemon's.
    pub runtime_dir: &'a Path,
}

/// The facts of this interface, or, without a name, of those that the configuration names; of all there are if it names
/// none.
pub fn gather(places: &Places, interface: Option<Interface>) -> Vec<Facts> {
    // Not freed, nor is what is known in the end, as the process ends: the code for that is a kilobyte on MIPS.
    let read = Box::leak(Box::new(config::read(places.config, places.may_be_missing)));
    let none = Box::leak(Box::default());
    let (config, mistake): (&Config, Option<String>) = match read {
        Ok(loaded) => (&loaded.config, None),
        Err(error) => (none, error.to_string().lines().next().map(str::to_owned)),
    };
    let mut wireguard = WireGuard::new();
    let mut interfaces: Vec<Interface> = match interface {
        Some(interface) => vec![interface],
        None => {
            config.tunnels.iter().filter(|tunnel| tunnel.enabled).map(|tunnel| tunnel.interface).collect()
        }
    };
    if interfaces.is_empty() {
        interfaces = wireguard.interfaces().unwrap_or_default();
    }
    let mut gatherer = Gatherer {
        places,
        config,
        wireguard,
        links: Links::default(),
        known: Vec::new(),
        echo: Echo::open().ok(),
        ruleset: program::output(c"/usr/sbin/nft", &[c"-s", c"list", c"ruleset"], MAX_RULESET)
            .and_then(|text| String::from_utf8(text).ok()),
    };
    gatherer.known = gatherer.links.all().unwrap_or_default();
    interfaces.into_iter().map(|interface| gatherer.facts(interface, mistake.clone())).collect()
}

struct Gatherer<'a> {
    places: &'a Places<'a>,
    config: &'a Config,
    wireguard: WireGuard,
    links: Links,
    /// All links.
    known: Vec<Link>,
    /// None: without CAP_NET_RAW.
    echo: Option<Echo>,
    ruleset: Option<String>,
}

fn now() -> u64 {
    WallTime::from(SystemTime::now()).seconds
}

impl Gatherer<'_> {
    fn facts(&mut self, interface: Interface, mistake: Option<String>) -> Facts {
        // The key is dropped at once.
        let device = self.wireguard.device(interface).map(|(device, _)| device);
        let mut facts = Facts {
            interface,
            mistake,
            device,
            mtu: number(&format!("/sys/class/net/{interface}/mtu")),
            now: now(),
            newest: FIRST_TIME,
            daemon: self.daemon(interface),
            missing: Vec::new(),
            allowed: Vec::new(),
            peers: Vec::new(),
            left_out: 0,
            lan: LanFacts::default(),
            site: None,
            ruleset: self.ruleset.clone(),
        };
        let Ok(device) = &facts.device else {
            facts.site = self.site(interface, 0);
            return facts;
        };
        facts.site = self.site(interface, device.listen_port);
        facts.newest = self.newest(device);
        let ours = self.config.peers.iter().filter(|peer| peer.tunnel == interface);
        let missing = ours.filter(|ours| device.peers.iter().all(|peer| peer.public_key != ours.public_key));
        facts.missing = missing.map(|peer| (peer.name.clone(), peer.public_key)).collect();
        let device = device.clone();
        facts.allowed = self.allowed(&device, facts.site.as_ref());
        if device.up && device.public_key.is_some() {
            (facts.peers, facts.left_out) = self.peers(&device);
            facts.lan = self.lan(&device, facts.site.as_ref());
            for peer in &mut facts.peers {
                self.ask(&device, peer, facts.mtu);
            }
            facts.now = now();
        }
        facts
    }

    fn daemon(&self, interface: Interface) -> Option<String> {
        let mut answer =
            control::ask(&self.places.runtime_dir.join(SOCKET), &format!("status json {interface}")).ok()?;
        let mut text = Vec::new();
        loop {
            let bytes = answer.body.fill_buf().ok()?;
            if bytes.is_empty() {
                return String::from_utf8(text).ok();
            }
            text.extend_from_slice(bytes);
            let read = bytes.len();
            answer.body.consume(read);
        }
    }

    /// What OpenWrt's packages beside our own say.
    fn site(&self, interface: Interface, port: u16) -> Option<Site> {
        if !config::is_openwrts(self.places.config) {
            return None;
        }
        let read = |name: &str| {
            let text =
                files::read_limited(&files::beside(self.places.config, name), config::MAX_BYTES).ok()?;
            Some(uci::parse(&text, name, 1, site::keep))
        };
        let network = read("network")?;
        let [dhcp, firewall] = ["dhcp", "firewall"].map(|name| read(name).unwrap_or_default());
        Some(Site::read(&network, &dhcp, &firewall, interface.as_str(), port))
    }

    /// What WireGuard lets the peers of package network send from.
    fn allowed(&mut self, device: &Device, site: Option<&Site>) -> Vec<(PublicKey, Vec<Prefix>)> {
        let described = site.and_then(|site| site.peers.as_deref()).unwrap_or_default();
        let present = described.iter().filter(|described| {
            !described.disabled && device.peers.iter().any(|peer| peer.public_key == described.public_key)
        });
        let mut allowed = Vec::new();
        for described in present.take(MAX_COMPARED) {
            let key = described.public_key;
            if let Ok(found) = self.wireguard.allowed_ips(device.interface, &key) {
                allowed.push((key, found.into_iter().map(|(ip, length)| Prefix::new(ip, length)).collect()));
            }
        }
        allowed
    }

    /// The newest time that anything here remembers.
    fn newest(&self, device: &Device) -> u64 {
        let read = |path: &Path| {
            let text = files::read_limited_file(path, state::MAX_BYTES).ok()?;
            let entries = state::parse(std::str::from_utf8(&text).ok()?).ok()?;
            entries.iter().map(|entry| entry.confirmed.seconds).max()
        };
        let files = [read(self.places.state), read(&self.places.runtime_dir.join("state"))];
        let handshakes = device.peers.iter().filter_map(|peer| peer.last_handshake).map(|time| time.seconds);
        files.into_iter().flatten().chain(handshakes).fold(FIRST_TIME, u64::max)
    }

    #[inline(never)]
    fn name_of(&self, ifindex: u32) -> Option<Interface> {
        self.known.iter().find(|link| link.ifindex == ifindex).map(|link| link.interface)
    }

    /// The peers, their names asked for and their ways known.
    fn peers(&mut self, device: &Device) -> (Vec<PeerFacts>, usize) {
        let config = self.config;
        let section = |peer: &Peer| section(config, device.interface, peer);
        let is_dialed = |peer: &Peer| section(peer).is_some_and(|section| !section.endpoints.is_empty());
        let mut peers: Vec<Peer> = Vec::new();
        for dialed in [true, false] {
            peers.extend(device.peers.iter().filter(|peer| is_dialed(peer) == dialed));
        }
        let left_out = peers.len().saturating_sub(MAX_PEERS);
        peers.truncate(MAX_PEERS);
        let hosts = peers.iter().filter_map(section).flat_map(|section| &section.endpoints);
        let found = resolve(hosts.map(|candidate| candidate.host.as_str()));
        let mut facts = Vec::new();
        for peer in peers {
            let section = section(&peer);
            let mut known = PeerFacts {
                peer,
                name: section.map_or_else(|| peer.public_key.short(), |section| section.name.clone()),
                dialed: is_dialed(&peer),
                probed: section.is_some_and(|section| section.probe_interval > 0),
                has_address: false,
                names: Vec::new(),
                ways: Vec::new(),
                target: section.and_then(|section| section.probe).map(|target| (target, true)),
                echo: Echoed::NotSent,
                heard: false,
                largest: None,
                trace: None,
            };
            let mut places: Vec<SocketAddr> = peer.endpoint.into_iter().collect();
            for candidate in section.into_iter().flat_map(|section| &section.endpoints) {
                let Some((host, addresses)) = found.iter().find(|(host, _)| *host == candidate.host) else {
                    continue;
                };
                if host.parse::<IpAddr>().is_ok() {
                    known.has_address = true;
                } else if !known.names.iter().any(|(known, _)| known == host) {
                    known.names.push((host.clone(), addresses.clone()));
                }
                for address in addresses.iter().flatten() {
                    let wanted = section.is_some_and(|section| section.family.takes(*address));
                    let place = SocketAddr::new(*address, candidate.port);
                    if wanted && !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
            for place in places {
                let way = self.links.lookup(place.ip(), None, device.fwmark).ok().flatten();
                known.ways.push((place, self.leads(device, way)));
            }
            facts.push(known);
        }
        for peer in &mut facts {
            self.find_target(device, peer);
        }
        (facts, left_out)
    }

    fn leads(&self, device: &Device, way: Option<Lookup>) -> Leads {
        match way {
            Some(Lookup { local: true, .. }) => Leads::Here,
            Some(way) if way.ifindex == device.ifindex => Leads::Inside,
            Some(way) => self.name_of(way.ifindex).map_or(Leads::Nowhere, |by| Leads::By(by, way.source)),
            None => Leads::Nowhere,
        }
    }

    /// Whom to ask for an echo, where nobody is named: an address that is the peer's alone, or the first one of our own
    /// network, if that is the peer's.
    fn find_target(&mut self, device: &Device, peer: &mut PeerFacts) {
        if peer.target.is_some() {
            return;
        }
        let allowed = self.wireguard.allowed_ips(device.interface, &peer.peer.public_key).unwrap_or_default();
        let alone = |ip: &IpAddr, length: u8| length == if ip.is_ipv4() { 32 } else { 128 };
        let alone = allowed.iter().find(|(ip, length)| alone(ip, *length)).map(|(ip, _)| *ip);
        let addresses = self.links.addresses().unwrap_or_default();
        let own = addresses.iter().filter(|address| address.ifindex == device.ifindex);
        let mut first = own.filter_map(|address| match address.ip {
            IpAddr::V6(ip) if !ip.is_unicast_link_local() => {
                let mut octets = ip.octets();
                octets[8..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                let first = IpAddr::from(octets);
                let carried = allowed.iter().any(|(ip, length)| Prefix::new(*ip, *length).contains(first));
                (first != address.ip && carried).then_some(first)
            }
            _ => None,
        });
        peer.target = alone.or(first.next()).map(|target| (target, false));
    }

    /// An address of the Internet's that a peer sends from, where one has some of it and not all.
    fn shared_with(&mut self, device: &Device) -> Option<IpAddr> {
        // 2000::/3 (RFC 4291, 2.4), and nobody is given more than a /16 of it.
        let global = |ip: &IpAddr, length: u8| match ip {
            IpAddr::V6(ip) => length >= 16 && ip.octets()[0] & 0xe0 == 0x20,
            IpAddr::V4(_) => false,
        };
        device.peers.iter().take(MAX_PEERS).find_map(|peer| {
            let allowed = self.wireguard.allowed_ips(device.interface, &peer.public_key).unwrap_or_default();
            allowed.into_iter().find(|(ip, length)| global(ip, *length)).map(|(ip, _)| ip)
        })
    }

    fn lan(&mut self, device: &Device, site: Option<&Site>) -> LanFacts {
        let mut lan = LanFacts {
            forwards: number::<u8>("/proc/sys/net/ipv6/conf/all/forwarding").map(|value| value != 0),
            ..LanFacts::default()
        };
        let question =
            RouteQuery { tunnels: vec![device.interface], targets: HALVES.to_vec(), ..RouteQuery::default() };
        if let Ok(ways) = OwnRoutes::new().survey(&question, &|_| Some(device.ifindex)) {
            lan.refused = ways.own.iter().any(|route| route.via == crate::routing::Via::Unreachable);
            lan.through = ways.through;
            lan.everything = HALVES.iter().all(|half| ways.led.iter().any(|led| led.target == *half));
        }
        let routed = lan.through.iter().find_map(|through| through.from);
        lan.prefix = site.and_then(|site| site.prefix).or(routed);
        if let Some(prefix) = lan.prefix {
            let addresses = self.links.addresses().unwrap_or_default();
            let outside = addresses.iter().filter(|address| address.ifindex != device.ifindex);
            let mut holders = outside.filter(|address| prefix.contains(address.ip));
            lan.holder = holders.find_map(|address| Some((self.name_of(address.ifindex)?, address.ip)));
        }
        // OpenWrt's default routes are each for what its provider gave: who asks without a source finds none of them.
        let from = lan.holder.map(|(_, address)| address).or_else(|| self.shared_with(device));
        let way = self.links.lookup(INTERNET, from, 0).ok().flatten();
        lan.internet = way.and_then(|way| self.name_of(way.ifindex));
        let routes = self.links.default_routes().unwrap_or_default();
        let outside =
            |route: &DefaultRoute| Some(route.hops.iter().find(|hop| hop.ifindex != device.ifindex)?.ifindex);
        let outsides = routes.iter().filter(|route| outside(route).is_some());
        let best = outsides.min_by_key(|route| (route.ipv6, route.rank()));
        lan.uplink = best.and_then(|best| Some((self.name_of(outside(best)?)?, best.ipv6)));
        lan
    }
}

/// What the configuration says of a peer.
#[inline(never)]
fn section<'a>(config: &'a Config, interface: Interface, peer: &Peer) -> Option<&'a config::Peer> {
    config.peers.iter().find(|ours| ours.tunnel == interface && ours.public_key == peer.public_key)
}

/// Looks all names up, each once.
fn resolve<'a>(hosts: impl Iterator<Item = &'a str>) -> Vec<(String, Result<Vec<IpAddr>, ResolveError>)> {
    let mut found = Vec::new();
    let Ok(mut resolver) = Resolver::start() else { return found };
    hosts.for_each(|host| resolver.ask(host));
    loop {
        resolver.expire(Instant::now());
        while let Some(answer) = resolver.next() {
            found.push((answer.host, answer.addresses));
        }
        if resolver.deadline().is_none() {
            return found;
        }
        pause(TICK);
    }
}

/// The number that a file of the kernel's holds; one of sysfs counts as a page.
fn number<N: TryFrom<u64>>(path: &str) -> Option<N> {
    let text = files::read_limited(Path::new(path), 4096).ok()?;
    digits(std::str::from_utf8(&text).ok()?.trim_ascii())
}
