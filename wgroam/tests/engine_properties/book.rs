// SPDX-License-Identifier: GPL-2.0-only
//! The referee's own book of the peers that are dialed: when each was last heard, what it owes an answer to, where it
//! may be. It shares no code with the engine and knows only what docs/how-it-decides.md promises.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use wgroam::config::{self, Config, Family};
use wgroam::model::{Device, Interface, WallTime};
use wgroam::wan::WanChange;

use super::draw::Key;
use super::outside::Answer;
use super::tale::Tale;

const SECOND: Duration = Duration::from_secs(1);
/// A decision may have to wait for its turn so long: the poke of a peer that has used up its burst.
pub const TURN: Duration = Duration::from_secs(2);
/// 180 s, less what a wall clock of whole seconds is off.
const SESSION: Duration = Duration::from_secs(178);

#[derive(Default)]
struct Name {
    /// The last good answer, and when it was asked for.
    good: Option<(Vec<IpAddr>, Instant)>,
    /// The one before, and when it ended.
    before: Option<(Vec<IpAddr>, Instant)>,
    open: Option<Instant>,
    asked: Option<Instant>,
}

/// Something that devices act on with their next look while they are up: those that had none, and when the others had it.
#[derive(Default)]
struct Acts {
    waits: BTreeSet<Interface>,
    taken: BTreeMap<Interface, Instant>,
}

impl Acts {
    fn begin(&mut self, links: &BTreeMap<Interface, (u32, bool)>) {
        self.waits = links.keys().copied().collect();
    }

    fn look(&mut self, now: Instant, interface: Interface) {
        if self.waits.remove(&interface) {
            self.taken.insert(interface, now);
        }
    }

    /// When it was acted on.
    fn when(&self, interface: Interface) -> Option<Instant> {
        self.taken.get(&interface).copied()
    }
}

/// The book.
pub struct Book {
    config: Config,
    pub tales: BTreeMap<Key, Tale>,
    /// What outlives that WireGuard lost a peer: origin, and whether it answered probes.
    lost: BTreeMap<Key, (Option<SocketAddr>, bool)>,
    pub links: BTreeMap<Interface, (u32, bool)>,
    /// This machine's addresses.
    pub own: Vec<IpAddr>,
    /// When each link last went up: what is overdue is done then.
    pub risen: BTreeMap<Interface, Instant>,
    names: BTreeMap<String, Name>,
    /// The last change of our WAN.
    wan: Option<Instant>,
    wan_acts: Acts,
    /// The last event that begins things anew.
    pub event: Instant,
    event_acts: Acts,
    /// The owner asked for pokes.
    command_acts: Acts,
    /// The last answer that said something new.
    pub news: Instant,
}

impl Book {
    pub fn new(config: &Config, now: Instant) -> Self {
        let mut book = Self {
            config: Config::default(),
            tales: BTreeMap::new(),
            lost: BTreeMap::new(),
            links: BTreeMap::new(),
            own: Vec::new(),
            risen: BTreeMap::new(),
            names: BTreeMap::new(),
            wan: None,
            wan_acts: Acts::default(),
            event: now,
            event_acts: Acts::default(),
            command_acts: Acts::default(),
            news: now,
        };
        book.reload(config);
        book
    }

    pub fn reload(&mut self, config: &Config) {
        self.config = config.clone();
        let hosts: BTreeSet<_> = self.hosts().collect();
        self.names.retain(|host, _| hosts.contains(host));
        for host in hosts {
            self.names.entry(host).or_default();
        }
    }

    fn hosts(&self) -> impl Iterator<Item = String> {
        let tunnels = self.config.tunnels.clone();
        let watched = move |peer: &&config::Peer| {
            let ours = |tunnel: &config::Tunnel| tunnel.interface == peer.tunnel && tunnel.enabled;
            tunnels.is_empty() || tunnels.iter().any(ours)
        };
        let peers: Vec<_> = self.config.peers.iter().filter(watched).cloned().collect();
        let candidates = peers.into_iter().flat_map(|peer| peer.endpoints);
        candidates.map(|candidate| candidate.host).filter(|host| host.parse::<IpAddr>().is_err())
    }

    pub fn section(&self, at: Key) -> Option<&config::Peer> {
        self.config.peers.iter().find(|peer| (peer.tunnel, peer.public_key) == at)
    }

    pub fn rotates(&self, interface: Interface, first: u16) -> bool {
        let tunnel = self.config.tunnels.iter().find(|tunnel| tunnel.interface == interface);
        match tunnel.map_or(config::RotatePort::Auto, |tunnel| tunnel.rotate_port) {
            config::RotatePort::Always => true,
            config::RotatePort::Never => false,
            config::RotatePort::Auto if self.listen_port(interface).is_some() => false,
            // Nobody sets up a port that the kernel would choose, but those around the usual one.
            config::RotatePort::Auto if !(32_768..61_000).contains(&first) => false,
            config::RotatePort::Auto if (51_820..51_830).contains(&first) => false,
            config::RotatePort::Auto => {
                let sections = self.config.peers.iter().filter(|peer| peer.tunnel == interface);
                let goes = |at: &Key| self.section(*at).is_some_and(|peer| !peer.endpoints.is_empty());
                sections.into_iter().all(|peer| !peer.endpoints.is_empty())
                    && self.peers(interface).all(|(at, _)| goes(at))
            }
        }
    }

    /// The port of package network.
    pub fn listen_port(&self, interface: Interface) -> Option<u16> {
        self.config.listen_ports.iter().find(|(of, _)| *of == interface).map(|&(_, port)| port)
    }

    /// Can somebody else than this machine be there? What the owner wrote as an address is his.
    pub fn takes(&self, at: Key, endpoint: SocketAddr) -> bool {
        let ip = endpoint.ip();
        let nobody = match ip {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.to_ipv4_mapped().is_some(),
        };
        let mut candidates = self.section(at).into_iter().flat_map(|section| &section.endpoints);
        let written =
            candidates.any(|candidate| candidate.port == endpoint.port() && candidate.host.parse() == Ok(ip));
        let ours = ip.is_loopback() || self.own.contains(&ip);
        endpoint.port() != 0 && !nobody && (!ours || written)
    }

    pub fn peers(&self, interface: Interface) -> impl Iterator<Item = (&Key, &Tale)> {
        self.tales.iter().filter(move |(at, _)| at.0 == interface)
    }

    // What happens.

    pub fn gone(&mut self, interface: Interface) {
        if let Some(link) = self.links.get_mut(&interface) {
            link.1 = false;
        }
        self.wan_acts.waits.remove(&interface);
    }

    pub fn event(&mut self, now: Instant) {
        self.event = now;
        self.event_acts.begin(&self.links);
    }

    /// The owner asks for pokes.
    pub fn commanded(&mut self, now: Instant) {
        self.event(now);
        self.command_acts.begin(&self.links);
    }

    pub fn wan_changed(&mut self, now: Instant, change: &WanChange) {
        if !matches!(change, WanChange::Down(_) | WanChange::Route(None)) {
            self.event(now);
            self.wan = Some(now);
            self.wan_acts.begin(&self.links);
        }
    }

    pub fn resolved(&mut self, now: Instant, host: &str, answer: &Answer) {
        let before: BTreeMap<_, _> =
            self.tales.keys().map(|&at| (at, self.list(now, at, Duration::ZERO))).collect();
        let Some(name) = self.names.get_mut(host) else { return };
        let asked = name.open.take().unwrap_or(now);
        if let Ok(addresses) = answer
            && !addresses.is_empty()
        {
            if name.good.as_ref().is_none_or(|(known, _)| known != addresses) {
                self.news = now;
            }
            name.before = name.good.take().map(|(old, _)| (old, now));
            name.good = Some((addresses.clone(), asked));
            let keys: Vec<_> = self.tales.keys().copied().collect();
            for at in keys {
                let new: Vec<_> = self.list(now, at, Duration::ZERO).into_iter().collect();
                if let Some(tale) = self.tales.get_mut(&at) {
                    tale.news.extend(new.into_iter().filter(|endpoint| !before[&at].contains(endpoint)));
                }
            }
        }
    }

    /// This is said to be tried next. What was news until then is not any more.
    pub fn chosen(&mut self, at: Key, endpoint: SocketAddr) {
        if let Some(tale) = self.tales.get_mut(&at) {
            let news = std::mem::take(&mut tale.news);
            tale.chosen = Some(endpoint).filter(|endpoint| tale.silent && news.contains(endpoint));
        }
    }

    /// Did a name of the peer stand for this since it became silent, and for the first time when it was chosen?
    pub fn is_news(&self, at: Key, endpoint: SocketAddr) -> bool {
        self.tales.get(&at).is_some_and(|tale| tale.chosen == Some(endpoint))
    }

    /// A reply to a probe comes. Returns whose it is.
    pub fn replied(&mut self, now: Instant, interface: Interface, target: IpAddr, token: u16) -> Vec<Key> {
        let asked = |peer: &&config::Peer| peer.tunnel == interface && peer.probe == Some(target);
        let keys = self.config.peers.iter().filter(asked).map(|peer| (interface, peer.public_key));
        let mut keys: Vec<_> = keys.collect();
        // What was asked before an event, in an older session, or elsewhere may count or not.
        let waits = self.event_acts.waits.contains(&interface);
        let event = if waits { Some(now) } else { self.event_acts.when(interface) };
        keys.retain(|at| {
            let Some(tale) = self.tales.get_mut(at) else { return false };
            let Some(&(_, sent)) = tale.probes.iter().find(|&&(sent, _)| sent == token) else { return false };
            tale.answers_probes = true;
            if now < sent + SECOND && Some(sent) > tale.readded.max(tale.left).max(event) {
                tale.lived(now);
                // No look has shown it yet.
                tale.lived = false;
            }
            true
        });
        keys
    }

    pub fn probed(&mut self, now: Instant, at: Key, token: u16) -> usize {
        let Some(tale) = self.tales.get_mut(&at) else { return 0 };
        tale.untested = false;
        tale.probes.push((token, now));
        tale.probes.iter().filter(|&&(_, when)| now < when + SECOND).count()
    }

    pub fn readded(&mut self, now: Instant, at: Key) {
        if let Some(tale) = self.tales.get_mut(&at) {
            tale.readded = Some(now);
        }
    }

    /// Something was sent there, or is about to be.
    pub fn had(&mut self, at: Key, endpoint: SocketAddr) {
        self.tales.get_mut(&at).into_iter().for_each(|tale| tale.had.extend([endpoint]));
    }

    pub fn set(&mut self, now: Instant, at: Key, endpoint: SocketAddr) {
        self.had(at, endpoint);
        self.tales.get_mut(&at).into_iter().for_each(|tale| tale.left = Some(now));
    }

    pub fn set_port(&mut self, now: Instant, interface: Interface) {
        let tales = self.tales.iter_mut().filter(|(at, _)| at.0 == interface);
        tales.for_each(|(_, tale)| tale.left = Some(now));
    }

    /// Somebody else moved it.
    pub fn moved(&mut self, now: Instant, at: Key) {
        self.tales.get_mut(&at).into_iter().for_each(|tale| tale.moved = Some(now));
    }

    /// A question: when the one before it was asked, and whether that is still open.
    pub fn asks(&mut self, now: Instant, host: &str) -> Option<(Option<Instant>, bool)> {
        let name = self.names.get_mut(host)?;
        let before = (name.asked, name.open.is_some());
        (name.asked, name.open) = (Some(now), Some(now));
        Some(before)
    }

    /// The device shows itself.
    pub fn look(&mut self, now: Instant, device: &Device, wall: WallTime) {
        let interface = device.interface;
        let before = self.links.insert(interface, (device.ifindex, device.up));
        let recreated = before.is_some_and(|(ifindex, _)| ifindex != device.ifindex);
        let risen = device.up && before.is_some_and(|(_, up)| !up);
        if risen {
            self.risen.insert(interface, now);
        }
        if device.up {
            [&mut self.wan_acts, &mut self.event_acts, &mut self.command_acts]
                .into_iter()
                .for_each(|acts| acts.look(now, interface));
        }
        let there: BTreeSet<_> = device.peers.iter().map(|peer| peer.public_key).collect();
        let (lost, kept) =
            std::mem::take(&mut self.tales).into_iter().partition::<BTreeMap<_, _>, _>(|(at, _)| {
                at.0 == interface && (recreated || !there.contains(&at.1))
            });
        self.tales = kept;
        self.lost.extend(lost.into_iter().map(|(at, tale)| (at, (tale.origin, tale.answers_probes))));
        for peer in &device.peers {
            let at = (interface, peer.public_key);
            let made = |then: WallTime| now.checked_sub(wall.since(then)).unwrap_or(now);
            let session = peer.last_handshake.map(made);
            match self.tales.get_mut(&at) {
                Some(tale) => tale.look(now, peer, session, risen),
                None => {
                    let (origin, answers_probes) = self.lost.remove(&at).unwrap_or_default();
                    let tale = Tale { origin, answers_probes, ..Tale::new(now, *peer, session) };
                    self.tales.insert(at, tale);
                }
            }
            self.weigh(now, at);
        }
    }

    // What follows from it.

    /// Keeps what stays true until the next sign of life.
    fn weigh(&mut self, now: Instant, at: Key) {
        let candidates = self.list(now, at, Duration::ZERO);
        let silent = self.is_silent(now, at);
        let dialed = self.section(at).is_some_and(|section| !section.endpoints.is_empty());
        if let Some(tale) = self.tales.get_mut(&at) {
            (tale.silent, tale.dialed) = (tale.silent || silent, dialed);
            tale.was_silent = if tale.silent { Some(now) } else { tale.was_silent };
            tale.origin = tale.seen.endpoint.filter(|endpoint| candidates.contains(endpoint)).or(tale.origin);
        }
        let may_leave = self.proven_dead(now, at) || self.is_stale(now, at);
        if let Some(tale) = self.tales.get_mut(&at).filter(|_| may_leave) {
            tale.may_leave = Some(now);
        }
    }

    /// Where the configuration says that the peer may be; `past`: also by what names stood for so long ago.
    pub fn list(&self, now: Instant, at: Key, past: Duration) -> Vec<SocketAddr> {
        let Some(section) = self.section(at) else { return Vec::new() };
        let mut list = Vec::new();
        for candidate in &section.endpoints {
            let ips = match (candidate.host.parse(), self.names.get(&candidate.host)) {
                (Ok(literal), _) => vec![literal],
                (_, None) => Vec::new(),
                (_, Some(name)) => {
                    let before =
                        name.before.iter().filter(|&&(_, end)| now < end + past).flat_map(|(ips, _)| ips);
                    name.good.iter().flat_map(|(ips, _)| ips).chain(before).copied().collect()
                }
            };
            let family = |ip: &IpAddr| match section.family {
                Family::Any => true,
                Family::Ipv4 => ip.is_ipv4(),
                Family::Ipv6 => ip.is_ipv6(),
            };
            let endpoints = ips.into_iter().filter(family).map(|ip| SocketAddr::new(ip, candidate.port));
            list.extend(endpoints.filter(|&endpoint| self.takes(at, endpoint)));
        }
        list
    }

    pub fn alive(&self, now: Instant, at: Key) -> bool {
        self.tales.get(&at).and_then(|tale| tale.session).is_some_and(|made| now < made + SESSION)
    }

    /// Did our WAN change lately, as far as this device could know?
    pub fn wan_within(&self, now: Instant, interface: Interface, time: Duration) -> bool {
        let waits = self.wan.filter(|_| self.wan_acts.waits.contains(&interface));
        self.wan_acts.when(interface).max(waits).is_some_and(|when| now < when + time)
    }

    /// Did the owner ask for pokes, as far as this device could know?
    pub fn commanded_within(&self, now: Instant, interface: Interface, time: Duration) -> bool {
        self.command_acts.when(interface).is_some_and(|when| now <= when + time)
    }

    fn is_silent(&self, now: Instant, at: Key) -> bool {
        let Some(tale) = self.tales.get(&at) else { return false };
        let unanswered = tale.owes && now >= tale.life + 5 * SECOND;
        !self.alive(now, at) || unanswered || tale.lost(now) > 0 || self.wan_within(now, at.0, 12 * SECOND)
    }

    /// Sure that nothing works.
    pub fn proven_dead(&self, now: Instant, at: Key) -> bool {
        self.is_unanswered(now, at, 11 * SECOND)
    }

    /// Likely enough for another source port.
    pub fn is_hopeless(&self, now: Instant, at: Key) -> bool {
        self.is_unanswered(now, at, 9 * SECOND)
    }

    fn is_unanswered(&self, now: Instant, at: Key, time: Duration) -> bool {
        let Some(tale) = self.tales.get(&at) else { return false };
        let since = tale.life.max(self.wan.unwrap_or(tale.life));
        let recent = self.wan_within(now, at.0, 31 * SECOND) && now >= since + 6 * SECOND;
        let unanswered = tale.owes && (now >= tale.life + time || recent);
        !self.alive(now, at) || unanswered || (tale.answers_probes && tale.lost(now) >= 3)
    }

    /// May the LAN be refused, as far as this interface is concerned?
    pub fn given_up(&self, now: Instant, interface: Interface) -> bool {
        let probed = |at: Key| self.section(at).is_some_and(|section| section.probe.is_some());
        let silent = |at: Key, tale: &Tale| {
            // What came in before an event was acted on tells nothing of the time after it.
            let acted = self.event_acts.when(interface);
            let calls = tale.called.filter(|&when| Some(when) > acted);
            let calls = calls.is_some_and(|when| now < when + 20 * SECOND);
            let proven = match self.alive(now, at) {
                true => {
                    let unanswered = tale.owes && now >= tale.life + 15 * SECOND;
                    unanswered || (tale.answers_probes && tale.lost(now) >= 3)
                }
                // One whose session is over, or that only calls us, has nothing to lose.
                false => !tale.dialed || tale.session.is_some() || now >= tale.life + 2 * SECOND,
            };
            proven && !((tale.dialed || probed(at)) && calls)
        };
        self.peers(interface).any(|(_, tale)| tale.dialed)
            && self.peers(interface).all(|(&at, tale)| silent(at, tale))
    }

    /// Did somebody with a session answer at this very moment?
    pub fn lives(&self, now: Instant, interface: Interface) -> bool {
        let lives = |(&at, tale): (&Key, &Tale)| tale.life == now && tale.lived && self.alive(now, at);
        // What came in before a change of our WAN tells nothing of the new one.
        !self.wan_within(now, interface, 12 * SECOND) && self.peers(interface).any(lives)
    }

    /// Silent at a candidate that is none any more.
    pub fn is_stale(&self, now: Instant, at: Key) -> bool {
        let Some((tale, section)) = self.tales.get(&at).zip(self.section(at)) else { return false };
        let list = self.list(now, at, Duration::ZERO);
        let fresh = |candidate: &config::Candidate| {
            let name = self.names.get(&candidate.host);
            // A name that was never answered speaks for no address, so it keeps nobody waiting for another one.
            let asked = name.and_then(|name| name.good.as_ref()).map(|&(_, asked)| asked);
            asked.is_none_or(|asked| asked >= tale.life)
        };
        let known = tale.seen.endpoint.is_some() && tale.seen.endpoint == tale.origin;
        tale.silent
            && known
            && !list.is_empty()
            && tale.seen.endpoint.is_none_or(|endpoint| !list.contains(&endpoint))
            && section.endpoints.iter().all(fresh)
    }

    /// May it be moved, or a moment ago, when that was decided?
    pub fn may_leave(&self, now: Instant, at: Key) -> bool {
        let decided = self.tales.get(&at).and_then(|tale| tale.may_leave);
        decided.is_some_and(|when| now <= when + TURN) || self.proven_dead(now, at) || self.is_stale(now, at)
    }
}
