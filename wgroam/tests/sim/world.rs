// SPDX-License-Identifier: GPL-2.0-only
//! Two routers, a NAT, a network and somebody bad, in simulated time:
//!
//! R1 10.0.0.2 | NAT 203.0.113.2 | network | R2 198.51.100.2, attacker 192.0.2.66

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use wgroam::config::Config;
use wgroam::engine::{
    Action, DeviceStatus, Engine, Event, Reason, Remembered, Report, ResolveError, WanChange,
};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Interface, Peer, PublicKey, WallTime};

use super::nat::Nat;
use super::referee::{Referee, concerns};
use super::rng::Rng;
use super::wireguard::{Body, Packet, Payload, Time, WireGuard};

pub const R1: usize = 0;
pub const R2: usize = 1;
pub const KEYS: [PublicKey; 2] = [PublicKey([1; 32]), PublicKey([2; 32])];
/// A peer of R1 that has only a name, and its name never has an answer.
pub const STRAY: PublicKey = PublicKey([3; 32]);
/// That name.
pub const SILENT_NAME: &str = "silent.example";
pub const PORT: u16 = 51820;
/// One way. A round trip of 40 ms.
const LATENCY: Duration = Duration::from_millis(20);
/// From a question to WireGuard to its answer.
const ANSWER_TIME: Duration = Duration::from_millis(1);
/// The adapter's debouncing of a WAN change.
pub const DEBOUNCE: Duration = Duration::from_millis(100);
/// A name server's.
const DNS_TIME: Duration = Duration::from_millis(30);
/// Pings from here on are the engine's probes.
const PROBE: u64 = 1 << 40;
/// Where R2's port is reachable a second time: port forwarding.
pub const OTHER_PORT: u16 = 443;
/// The wall clock when the world begins.
const WALL: u64 = 1_700_000_000;

pub fn attacker() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 66], 6666))
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A datagram is where it was sent to.
    Arrival(Packet),
    /// The engine of a host is told.
    Told(usize, Event),
    /// WireGuard of a host answers its engine.
    Answer(usize),
    /// A host sends a ping through the tunnel, and again after this time.
    Ping(usize, Duration),
}

/// A router.
pub struct Host {
    pub address: IpAddr,
    pub wireguard: Option<WireGuard>,
    pub engine: Option<Engine>,
    /// How far its wall clock is off, in seconds.
    pub clock_off: i64,
    /// Does its firewall let initiations in to WireGuard? (The tap sees them anyway.)
    pub firewall_open: bool,
    /// It answers no pings.
    pub mute: bool,
    /// More addresses of it.
    pub more: Vec<IpAddr>,
    /// Another peer on its interface, of which nothing is ever heard.
    pub stray: Option<Peer>,
    pub config: Config,
    /// Under which own address and port others reached it: conntrack answers from there.
    reached: BTreeMap<SocketAddr, SocketAddr>,
    /// What its verifier knows.
    newest: BTreeMap<PublicKey, Timestamp>,
    /// Every endpoint that its WireGuard ever had.
    pub endpoints: BTreeSet<SocketAddr>,
    pub sets: Vec<(Time, SocketAddr, Reason)>,
    pub pokes: usize,
    pub probes: usize,
    pub questions: usize,
    pub snapshots: usize,
    pub reports: Vec<Report>,
    /// Reports with their time.
    pub told: Vec<(Time, Report)>,
    /// When answers to its pings came.
    pub pongs: Vec<Time>,
}

impl Host {
    fn new(address: [u8; 4]) -> Self {
        Self {
            address: address.into(),
            wireguard: None,
            engine: None,
            clock_off: 0,
            firewall_open: true,
            mute: false,
            more: Vec::new(),
            stray: None,
            config: Config::default(),
            reached: BTreeMap::new(),
            newest: BTreeMap::new(),
            endpoints: BTreeSet::new(),
            sets: Vec::new(),
            pokes: 0,
            probes: 0,
            questions: 0,
            snapshots: 0,
            told: Vec::new(),
            reports: Vec::new(),
            pongs: Vec::new(),
        }
    }

    pub fn is_at(&self, address: IpAddr) -> bool {
        self.address == address || self.more.contains(&address)
    }

    fn wall(&self, now: Time) -> WallTime {
        WallTime {
            seconds: (WALL + now.as_secs()).saturating_add_signed(self.clock_off),
            nanos: now.subsec_nanos(),
        }
    }
}

/// All there is.
pub struct World {
    base: Instant,
    pub now: Time,
    pub hosts: [Host; 2],
    /// None: R1 is reachable.
    pub nat: Option<Nat>,
    /// None: no server answers.
    pub dns: Option<BTreeMap<String, Vec<IpAddr>>>,
    /// What R1's network does not let out: to these ports, over IPv6, any UDP, from these source ports of R1.
    pub blocked_ports: BTreeSet<u16>,
    pub no_ipv6: bool,
    pub no_udp: bool,
    pub swallowed: BTreeSet<u16>,
    /// Datagrams in a thousand that get lost.
    pub loss: u64,
    /// Handshakes of R1 that came to nothing only for that.
    pub lost_handshakes: usize,
    /// That many are lost next.
    pub lose_next: u32,
    /// Genuine initiations, as somebody on the path records them.
    pub recorded: Vec<Body>,
    pub rng: Rng,
    pub referee: Referee,
    calendar: BTreeMap<(Time, u64), Happening>,
    happenings: u64,
}

impl World {
    /// Both interfaces up and configured, R1 with R2's endpoint and this keepalive; R2 waits. `engines` of R1 and R2.
    pub fn new(seed: u64, keepalive: u16, engines: [bool; 2]) -> Self {
        let mut world = Self::empty(seed);
        for host in [R2, R1] {
            if engines[host] {
                world.start_engine(host, Vec::new());
            }
            world.create_interface(host);
            world.configure(host, if host == R1 { keepalive } else { 0 });
            world.set_link(host, true);
        }
        world
    }

    /// The same where R1 is told by its configuration where R2 is, and by WireGuard nothing.
    pub fn chasing(seed: u64, keepalive: u16, config: Config, dns: &[IpAddr]) -> Self {
        let mut world = Self::empty(seed);
        world.hosts[R1].config = config;
        world.set_dns(dns);
        for host in [R2, R1] {
            world.start_engine(host, Vec::new());
            world.create_interface(host);
            world.configure(host, if host == R1 { keepalive } else { 0 });
            if host == R1 {
                world.wireguard(R1).endpoint = None;
                world.wireguard(R1).outbox.clear();
            }
            world.set_link(host, true);
        }
        world
    }

    fn empty(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let nat = Nat::new([203, 0, 113, 2].into(), Rng(rng.next()));
        Self {
            base: Instant::now(),
            now: Time::ZERO,
            hosts: [Host::new([10, 0, 0, 2]), Host::new([198, 51, 100, 2])],
            nat: Some(nat),
            dns: Some(BTreeMap::new()),
            blocked_ports: BTreeSet::new(),
            no_ipv6: false,
            no_udp: false,
            swallowed: BTreeSet::new(),
            loss: 0,
            lost_handshakes: 0,
            lose_next: 0,
            recorded: Vec::new(),
            rng,
            referee: Referee::default(),
            calendar: BTreeMap::new(),
            happenings: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub fn start_engine(&mut self, host: usize, memory: Vec<Remembered>) {
        let newest = memory.iter().filter_map(|r| r.newest.map(|newest| (r.peer, newest)));
        self.hosts[host].newest = newest.collect();
        self.hosts[host].engine = Some(Engine::new(self.hosts[host].config.clone(), memory, self.instant()));
        self.carry_out(host);
        if let Some(wireguard) = &self.hosts[host].wireguard {
            let interface = wireguard.interface;
            self.tell(host, Event::DeviceUp { interface });
        }
    }

    /// `ip link add`. What was there before is gone.
    pub fn create_interface(&mut self, host: usize) {
        let interface: Interface = "wgr".parse().unwrap();
        let ifindex = self.hosts[host].wireguard.take().map_or(10, |old| old.ifindex + 1);
        self.referee.begin(host);
        let rng = Rng(self.rng.next());
        self.hosts[host].wireguard = Some(WireGuard::new(interface, ifindex, KEYS[host], PORT, rng));
        self.tell(host, Event::DeviceUp { interface });
    }

    /// `ip link del`.
    pub fn delete_interface(&mut self, host: usize) {
        let Some(old) = self.hosts[host].wireguard.take() else { return };
        self.tell(host, Event::DeviceGone { interface: old.interface });
    }

    /// `wg setconf`: the engine is not told. R1 knows R2's address, R2 knows no address of R1.
    pub fn configure(&mut self, host: usize, keepalive: u16) {
        let endpoint = (host == R1).then_some(SocketAddr::new(self.hosts[R2].address, PORT));
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        let wireguard = self.wireguard(host);
        (wireguard.peer, wireguard.endpoint) = (Some(KEYS[1 - host]), endpoint);
        wireguard.set_keepalive(now, wall, keepalive);
        self.flush(host);
    }

    /// `ip link set up`.
    pub fn set_link(&mut self, host: usize, up: bool) {
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        self.wireguard(host).set_link(now, wall, up);
        let interface = self.wireguard(host).interface;
        self.tell(host, Event::DeviceUp { interface });
        self.flush(host);
    }

    /// R1 leaves for another place: another address, another NAT. Its engine hears of it when the adapter is sure.
    pub fn move_r1(&mut self) {
        let place = self.rng.below(200) as u8 + 3;
        self.hosts[R1].address = [10, 0, 1, place].into();
        let rng = Rng(self.rng.next());
        self.nat = Some(Nat::new([203, 0, 113, place].into(), rng));
        let change = WanChange::Address("wan".parse().unwrap(), self.hosts[R1].address);
        self.at(self.now + DEBOUNCE, Happening::Told(R1, Event::WanChanged(change)));
    }

    /// R2 gets another address; its name follows when `dns` says so.
    pub fn move_r2(&mut self, address: IpAddr) {
        self.hosts[R2].address = address;
        self.hosts[R2].reached.clear();
        let change = WanChange::Address("wan".parse().unwrap(), address);
        self.at(self.now + DEBOUNCE, Happening::Told(R2, Event::WanChanged(change)));
    }

    /// What home.example stands for.
    pub fn set_dns(&mut self, addresses: &[IpAddr]) {
        self.referee.named.extend(addresses);
        self.dns = Some([("home.example".to_string(), addresses.to_vec())].into());
    }

    /// What the host's engine says now.
    pub fn status(&self, host: usize) -> DeviceStatus {
        let engine = self.hosts[host].engine.as_ref().expect("an engine");
        engine.status(self.instant()).devices.remove(0)
    }

    pub fn wireguard(&mut self, host: usize) -> &mut WireGuard {
        self.hosts[host].wireguard.as_mut().expect("an interface")
    }

    /// Puts something into the calendar.
    pub fn at(&mut self, when: Time, what: Happening) {
        self.happenings += 1;
        self.calendar.insert((when, self.happenings), what);
    }

    /// From now on the host pings the other through the tunnel.
    pub fn ping(&mut self, host: usize, every: Duration) {
        self.at(self.now, Happening::Ping(host, every));
    }

    /// No more pings.
    pub fn hush(&mut self) {
        self.calendar.retain(|_, what| !matches!(what, Happening::Ping(..)));
    }

    /// How long from `since` to the first answer to the host's pings; None: never so far.
    pub fn recovery(&self, host: usize, since: Time) -> Option<Duration> {
        self.hosts[host].pongs.iter().find(|&&pong| pong > since).map(|&pong| pong - since)
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|&next| next <= end) {
            assert!(next >= self.now, "time went back");
            self.now = next;
            self.step();
        }
        self.now = end;
    }

    /// Until the host got an answer to a ping, or the limit is over. Returns how long it took.
    pub fn run_until_answer(&mut self, host: usize, limit: Duration) -> Option<Duration> {
        let since = self.now;
        while self.now < since + limit && self.recovery(host, since).is_none() {
            self.run(Duration::from_millis(100));
        }
        self.recovery(host, since)
    }

    fn next(&self) -> Option<Time> {
        let calendar = self.calendar.first_key_value().map(|(&(when, _), _)| when);
        let hosts = self.hosts.iter().flat_map(|host| {
            let wireguard = host.wireguard.as_ref().and_then(WireGuard::deadline);
            let engine = host.engine.as_ref().and_then(Engine::next_deadline);
            [wireguard, engine.map(|at| at.saturating_duration_since(self.base).max(self.now))]
        });
        hosts.chain([calendar]).flatten().min()
    }

    fn step(&mut self) {
        while self.calendar.first_key_value().is_some_and(|(&(when, _), _)| when <= self.now) {
            if let Some((_, what)) = self.calendar.pop_first() {
                self.happen(what);
            }
        }
        let (now, instant) = (self.now, self.instant());
        for host in [R1, R2] {
            let wall = self.hosts[host].wall(now);
            if let Some(wireguard) = &mut self.hosts[host].wireguard {
                wireguard.expire(now, wall);
                self.flush(host);
            }
            if let Some(engine) = &mut self.hosts[host].engine
                && engine.next_deadline().is_some_and(|deadline| deadline <= instant)
            {
                engine.handle_timeout(instant);
                assert!(engine.next_deadline().is_none_or(|next| next > instant), "a busy loop");
                self.carry_out(host);
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrival(packet) => self.arrive(packet),
            Happening::Told(host, event) => self.tell(host, event),
            Happening::Answer(host) => {
                let wall = self.hosts[host].wall(self.now);
                if let Some(wireguard) = &self.hosts[host].wireguard {
                    let mut device = wireguard.device();
                    device.peers.extend(self.hosts[host].stray);
                    self.tell(host, Event::Snapshot { device, wall });
                }
            }
            Happening::Ping(host, every) => {
                let (now, wall) = (self.now, self.hosts[host].wall(self.now));
                self.note_whether_it_works();
                if let Some(wireguard) = &mut self.hosts[host].wireguard {
                    wireguard.transmit(now, wall, Payload::Ping(now.as_millis() as u64));
                    self.flush(host);
                }
                self.at(now + every, Happening::Ping(host, every));
            }
        }
    }

    /// Tells the host's engine, if it has one, and does what it wants.
    pub fn tell(&mut self, host: usize, event: Event) {
        let instant = self.instant();
        if host == R1 && matches!(event, Event::WanChanged(_)) {
            self.referee.wan_changed = Some(self.now);
        }
        if let Some(engine) = &mut self.hosts[host].engine {
            engine.handle_event(instant, event);
            self.carry_out(host);
        }
    }

    fn carry_out(&mut self, host: usize) {
        while let Some(action) = self.hosts[host].engine.as_mut().and_then(Engine::poll_action) {
            let (now, wall) = (self.now, self.hosts[host].wall(self.now));
            self.judge(host, &action);
            if concerns(&action) == Some(STRAY) {
                continue;
            }
            let router = &mut self.hosts[host];
            match (action, &mut router.wireguard) {
                (Action::TakeSnapshot { .. }, _) => {
                    router.snapshots += 1;
                    self.at(now + ANSWER_TIME, Happening::Answer(host));
                }
                (Action::SetEndpoint { endpoint, reason, .. }, wireguard) => {
                    router.sets.push((now, endpoint, reason));
                    if let Some(wireguard) = wireguard {
                        wireguard.endpoint = Some(endpoint);
                    }
                    self.flush(host);
                }
                (Action::Poke { keepalive, .. }, Some(wireguard)) => {
                    router.pokes += 1;
                    wireguard.poke(now, wall, keepalive);
                    self.flush(host);
                }
                // Linux drops an IPv4 source by itself when its address is gone, which the model's WireGuard is.
                (Action::ClearSource { endpoint, .. }, wireguard) => {
                    assert!(
                        wireguard.as_ref().is_none_or(|w| w.endpoint == Some(endpoint)),
                        "it moved something"
                    );
                }
                (Action::Poke { .. } | Action::Remember, _) => {}
                (Action::Resolve { host: name }, _) if name == SILENT_NAME => {}
                (Action::Resolve { host: name }, _) => {
                    router.questions += 1;
                    let temporary = ResolveError::Temporary("no server answers".into());
                    let answer = match &self.dns {
                        Some(dns) => dns.get(&name).cloned().ok_or(ResolveError::NotFound),
                        None => Err(temporary),
                    };
                    let event = Event::Resolved { host: name, answer };
                    self.at(now + DNS_TIME, Happening::Told(host, event));
                }
                (Action::Probe { token, .. }, Some(wireguard)) => {
                    router.probes += 1;
                    wireguard.transmit(now, wall, Payload::Ping(PROBE + u64::from(token)));
                    self.flush(host);
                }
                (Action::RotatePort { .. }, Some(wireguard)) => {
                    wireguard.port = 32_768 + (self.rng.next() % 28_000) as u16;
                }
                (Action::ReaddPeer { .. }, Some(wireguard)) => {
                    wireguard.readd(now, wall);
                    self.referee.begin(host);
                    self.flush(host);
                }
                (Action::Probe { .. } | Action::RotatePort { .. } | Action::ReaddPeer { .. }, None) => {}
                (Action::Report(report), _) => {
                    router.told.push((now, report.clone()));
                    router.reports.push(report);
                }
            }
        }
    }

    /// Sends what WireGuard has to send, and answers pings.
    fn flush(&mut self, host: usize) {
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        let router = &mut self.hosts[host];
        let Some(wireguard) = &mut router.wireguard else { return };
        let mut probed = Vec::new();
        for payload in std::mem::take(&mut wireguard.inbox) {
            match payload {
                Payload::Ping(_) if router.mute => {}
                Payload::Ping(n) => wireguard.transmit(now, wall, Payload::Pong(n)),
                Payload::Pong(n) if n >= PROBE => probed.push((n - PROBE) as u16),
                Payload::Pong(_) => router.pongs.push(now),
                Payload::Keepalive => {}
            }
        }
        router.endpoints.extend(wireguard.endpoint);
        let (interface, port) = (wireguard.interface, wireguard.port);
        let own = SocketAddr::new(router.address, port);
        let outbox = std::mem::take(&mut wireguard.outbox);
        let mut reached = router.reached.clone();
        reached.retain(|_, local| router.address == local.ip() || router.more.contains(&local.ip()));
        for token in probed {
            let event = Event::ProbeReply { interface, target: "fd00::1".parse().unwrap(), token };
            self.at(now, Happening::Told(host, event));
        }
        for (destination, body) in outbox {
            if host == R1 && self.swallowed.contains(&port) {
                continue;
            }
            let source = reached.get(&destination).copied().unwrap_or(own);
            if host == R1 && matches!(body, Body::Initiation { .. }) {
                self.recorded.push(body);
            }
            let source = match &mut self.nat {
                Some(nat) if host == R1 => nat.outbound(now, source, destination),
                _ => source,
            };
            self.send(Packet { source, destination, body });
        }
    }

    /// Puts a datagram onto the network.
    pub fn send(&mut self, packet: Packet) {
        let (bad_luck, passes) = (self.rng.below(1000) < self.loss, self.lets_pass(&packet));
        let lost = bad_luck || !passes;
        let of_r1 = match packet.body {
            Body::Initiation { from, .. } => from == KEYS[R1],
            Body::Response { .. } => true,
            _ => false,
        };
        self.lost_handshakes += usize::from(bad_luck && passes && of_r1);
        if self.lose_next > 0 {
            self.lose_next -= 1;
        } else if !lost {
            self.at(self.now + LATENCY, Happening::Arrival(packet));
        }
    }

    /// Filters near R1, in both directions.
    pub fn lets_pass(&self, packet: &Packet) -> bool {
        let ports = [packet.source.port(), packet.destination.port()];
        let v6 = packet.source.is_ipv6() || packet.destination.is_ipv6();
        let filtered = ports.iter().any(|port| self.blocked_ports.contains(port));
        let dead = self.no_udp || (v6 && self.no_ipv6);
        !filtered && !dead
    }

    fn arrive(&mut self, packet: Packet) {
        let now = self.now;
        let mut packet = packet;
        if let Some(nat) = self.nat.as_mut().filter(|nat| nat.address == packet.destination.ip()) {
            let Some(inside) = nat.inbound(now, packet.source, packet.destination.port()) else { return };
            packet.destination = inside;
        }
        let Some(host) = self.hosts.iter().position(|host| host.is_at(packet.destination.ip())) else {
            return;
        };
        let router = &mut self.hosts[host];
        let wall = router.wall(now);
        let to = packet.destination.port();
        let forwarded = host == R2 && to == OTHER_PORT;
        let Some(wireguard) = router.wireguard.as_mut().filter(|wg| forwarded || wg.port == to) else {
            return;
        };
        if host == R2 {
            router.reached.insert(packet.source, packet.destination);
        }
        let interface = wireguard.interface;
        let blocked = !router.firewall_open && matches!(packet.body, Body::Initiation { .. });
        if !blocked {
            let received = wireguard.rx_bytes;
            wireguard.receive(now, wall, &packet);
            if wireguard.rx_bytes > received {
                self.referee.heard(now, host, &packet);
            }
        }
        let verdict = router.verify(&packet.body);
        self.flush(host);
        if let Some(verdict) = verdict {
            self.tell(host, Event::Initiation { interface, source: packet.source, verdict });
        }
    }
}

impl Host {
    /// What the packet tap and the verifier would say. None: the tap's filter lets no data packets through.
    fn verify(&mut self, body: &Body) -> Option<Verdict> {
        let own = self.wireguard.as_ref()?;
        let Body::Initiation { from, to, timestamp, genuine, .. } = *body else {
            return matches!(body, Body::Noise).then_some(Verdict::Malformed);
        };
        if to != own.key {
            return Some(Verdict::WrongKey);
        }
        if own.peer != Some(from) {
            return Some(Verdict::UnknownPeer { claimed: from });
        }
        if !genuine {
            return Some(Verdict::Forged { claimed: Some(from) });
        }
        let label = tai64n(timestamp);
        Some(match self.newest.get(&from) {
            Some(&newest) if label <= newest => {
                let behind = Duration::from_nanos(nanos(newest) - nanos(label));
                Verdict::Replay { peer: from, timestamp: label, behind }
            }
            _ => {
                self.newest.insert(from, label);
                Verdict::Authentic { peer: from, timestamp: label }
            }
        })
    }
}

fn tai64n(nanos: u64) -> Timestamp {
    let mut label = [0; 12];
    label[..8].copy_from_slice(&((1 << 62) + 10 + nanos / 1_000_000_000).to_be_bytes());
    label[8..].copy_from_slice(&((nanos % 1_000_000_000) as u32).to_be_bytes());
    Timestamp(label)
}

fn nanos(label: Timestamp) -> u64 {
    let seconds = u64::from_be_bytes(label.0[..8].try_into().unwrap()) - (1 << 62) - 10;
    seconds * 1_000_000_000 + u64::from(u32::from_be_bytes(label.0[8..].try_into().unwrap()))
}
