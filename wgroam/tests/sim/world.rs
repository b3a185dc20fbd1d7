// SPDX-License-Identifier: GPL-2.0-only
//! Two routers, a NAT, a network and somebody bad, in simulated time:
//!
//! R1 10.0.0.2 | NAT 203.0.113.2 | network | R2 198.51.100.2, attacker 192.0.2.66

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use wgroam::config::Config;
use wgroam::engine::{DeviceStatus, Engine, Event, Remembered};
use wgroam::model::{Interface, PublicKey};
use wgroam::wan::WanChange;

use super::host::Host;
use super::nat::Nat;
use super::referee::Referee;
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
/// R1 has none of its own: the kernel chose this one.
pub const R1_PORT: u16 = 41820;
/// The adapter's debouncing of a WAN change.
pub const DEBOUNCE: Duration = Duration::from_millis(100);
/// Where R2's port is reachable a second time: port forwarding.
pub const OTHER_PORT: u16 = 443;

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
    pub fn dialing(seed: u64, keepalive: u16, config: Config, dns: &[IpAddr]) -> Self {
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

    pub(super) fn instant(&self) -> Instant {
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
        self.hosts[host].wireguard = Some(WireGuard::new(
            interface,
            ifindex,
            KEYS[host],
            if host == R1 { R1_PORT } else { PORT },
            rng,
        ));
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
                self.carry_out(host);
                let next = self.hosts[host].engine.as_ref().and_then(Engine::next_deadline);
                assert!(next.is_none_or(|next| next > instant), "a busy loop");
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
                if self.hosts[host].refuses() {
                    self.hosts[host].refusals += 1;
                } else if let Some(wireguard) = &mut self.hosts[host].wireguard {
                    wireguard.transmit(now, wall, Payload::Ping(now.as_millis() as u64));
                    self.flush(host);
                }
                self.at(now + every, Happening::Ping(host, every));
            }
        }
    }
}
