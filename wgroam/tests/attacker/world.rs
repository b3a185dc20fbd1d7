// SPDX-License-Identifier: GPL-2.0-only
//! The two ends and the attacker in simulated time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::engine::{Action, Engine, Event};
use wgroam::routing::RouteAnswer;

use super::attacker::Recordings;
use super::host::{Host, KEYS, NAME, PORT, WALL, configuration, interface};
use super::referee::Referee;
use super::rng::Rng;
use super::script::{ANCHOR, Old, ROAMER, Reflex, Script, Section, Shot, Source, Step, Tap};
use super::wireguard::{Body, Packet, Payload, Time};

/// From a question to WireGuard to its answer.
const ANSWER_TIME: Duration = Duration::from_millis(1);
const DNS_TIME: Duration = Duration::from_millis(30);
/// From one ping to the next, once the attack is over.
const PING: Duration = Duration::from_secs(1);
/// From one end's ping to the other's: two LANs do not begin at the same moment, and initiations that cross come to nothing.
const APART: Duration = Duration::from_millis(437);

/// What is to come.
#[derive(Clone, Debug)]
pub enum Coming {
    Arrival(Packet),
    /// The daemon of this end gets to an initiation.
    Heard(usize, Packet),
    /// WireGuard of this end answers its engine.
    Answer(usize),
    Resolved(usize),
    /// What a reflex of the attacker's sends.
    Shot(Shot),
    /// The attacker sends this to the anchor.
    Again(Packet, Source),
    Ping(usize),
}

pub struct World {
    base: Instant,
    pub now: Time,
    pub hosts: [Host; 2],
    pub(super) script: Script,
    /// When the attack is over, the daemons are gone, and what WireGuard alone would have as endpoint is its endpoint.
    undone: bool,
    /// The luck of WireGuard's jitter from there on.
    luck: u64,
    pub(super) attacking: bool,
    pub(super) over: Option<Time>,
    pub(super) unheard: bool,
    /// By victim.
    pub(super) recordings: [Recordings; 2],
    pub(super) reflexes: Vec<Reflex>,
    pub(super) rng: Rng,
    pub(super) places: u8,
    calendar: BTreeMap<(Time, u32), Coming>,
    entries: u32,
    pub referee: Referee,
    /// What happened, for people; kept only when a play is told.
    pub story: Option<Vec<String>>,
}

pub fn roamers(place: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, place], PORT))
}

impl World {
    pub fn new(seed: u64, script: &Script, (undone, luck): (bool, u64), told: bool) -> Self {
        let mut rng = Rng(seed);
        let addresses = [SocketAddr::from(([198, 51, 100, 2], PORT)), roamers(2)];
        let hosts = [ANCHOR, ROAMER].map(|host| {
            let mut new = Host::new(host, addresses[host], Rng(rng.next()));
            new.config = configuration(host, script.sections[host], addresses[1 - host], script.readd);
            new
        });
        let mut world = Self {
            base: Instant::now(),
            now: Time::ZERO,
            hosts,
            script: script.clone(),
            undone,
            luck,
            attacking: false,
            over: None,
            unheard: false,
            recordings: Default::default(),
            reflexes: script.reflexes.clone(),
            rng,
            places: 2,
            calendar: BTreeMap::new(),
            entries: 0,
            referee: Referee::default(),
            story: told.then(Vec::new),
        };
        for (number, old) in script.old.iter().enumerate() {
            world.record_old(number as u64, old);
        }
        for host in [ANCHOR, ROAMER] {
            world.configure(host, host == ROAMER || script.anchor_knows);
            world.start(host, false);
        }
        world
    }

    pub(super) fn tell_story(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = format!("{:>10.3} s  {}", self.now.as_secs_f64(), line(self));
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub(super) fn at(&mut self, when: Time, what: Coming) {
        self.entries += 1;
        self.calendar.insert((when, self.entries), what);
    }

    /// Initiations from before the play, which the attacker has.
    fn record_old(&mut self, number: u64, old: &Old) {
        let source = if old.from_here { roamers(2) } else { roamers(200 + number as u8) };
        let (more, apart) = old.series;
        for nth in 0..=more {
            let timestamp = (WALL + old.ahead - old.age + nth * apart) * 1_000_000_000;
            let handshake = 1 + number * 100 + nth;
            let (from, to) = (KEYS[ROAMER], KEYS[ANCHOR]);
            let body = Body::Initiation { from, to, timestamp, handshake, genuine: true };
            self.referee.made(handshake, source, None);
            self.recordings[ANCHOR].keep(Packet { source, destination: self.hosts[ANCHOR].address, body });
        }
        self.tell_story(|_| format!("the attacker has, from {source}: {old:?}"));
    }

    /// `wg setconf` and `ip link set up`.
    pub(super) fn configure(&mut self, host: usize, knows: bool) {
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        let peer = self.hosts[1 - host].address;
        let keepalive = self.script.keepalive[host];
        let wireguard = &mut self.hosts[host].wireguard;
        wireguard.endpoint = knows.then_some(peer);
        self.hosts[host].alone = wireguard.endpoint;
        let wireguard = &mut self.hosts[host].wireguard;
        wireguard.set_link(now, wall, true);
        wireguard.set_keepalive(now, wall, keepalive);
        self.flush(host);
    }

    pub(super) fn start(&mut self, host: usize, with_state: bool) {
        let has_one = self.script.sections[host] != Section::NoDaemon;
        if !has_one || self.hosts[host].daemon.is_some() {
            return;
        }
        let instant = self.instant();
        let memory = if with_state { self.hosts[host].state.clone() } else { Vec::new() };
        self.judge_start(host);
        self.hosts[host].start(memory, instant);
        self.carry_out(host);
        self.tell(host, Event::OwnAddresses(vec![self.hosts[host].address.ip()]));
        self.tell(host, Event::DeviceUp { interface: interface() });
    }

    /// SIGTERM: what is being tried is taken back.
    pub(super) fn stop(&mut self, host: usize) {
        if let Some(daemon) = &mut self.hosts[host].daemon {
            daemon.engine.stop();
            self.carry_out(host);
            self.hosts[host].daemon = None;
        }
    }

    /// Tells the engine of this end, if there is one, and does what it wants.
    pub(super) fn tell(&mut self, host: usize, event: Event) {
        let instant = self.instant();
        if let Some(daemon) = &mut self.hosts[host].daemon {
            daemon.engine.handle_event(instant, event);
            self.carry_out(host);
        }
    }

    fn carry_out(&mut self, host: usize) {
        while let Some(action) = self.hosts[host].daemon.as_mut().and_then(|d| d.engine.poll_action()) {
            self.hosts[host].note(self.now);
            self.judge(host, &action);
            let told = matches!(
                action,
                Action::SetEndpoint { .. }
                    | Action::Poke { .. }
                    | Action::ReaddPeer { .. }
                    | Action::Report(_)
            );
            if told {
                self.tell_story(|_| format!("wgroam {}: {action:?}", name(host)));
            }
            let (now, wall, instant) = (self.now, self.hosts[host].wall(self.now), self.instant());
            let wireguard = &mut self.hosts[host].wireguard;
            match action {
                Action::TakeSnapshot { .. } => self.at(now + ANSWER_TIME, Coming::Answer(host)),
                Action::SetEndpoint { endpoint, .. } | Action::ClearSource { endpoint, .. } => {
                    wireguard.set_endpoint(now, wall, endpoint);
                }
                Action::Poke { keepalive, .. } => wireguard.poke(now, wall, keepalive),
                Action::CopyInitiation { home, to, .. } => wireguard.copy(now, home, to),
                Action::ReaddPeer { endpoint, .. } => {
                    wireguard.readd(now, wall, endpoint.map(|(endpoint, _)| endpoint));
                }
                Action::Resolve { .. } => self.at(now + DNS_TIME, Coming::Resolved(host)),
                Action::QueryRoutes(query) => {
                    let answer = RouteAnswer { targets: query.targets, ..RouteAnswer::default() };
                    if let Some(daemon) = &mut self.hosts[host].daemon {
                        daemon.engine.handle_event(instant, Event::Routes(answer));
                    }
                }
                Action::Remember => {
                    let host = &mut self.hosts[host];
                    host.state = host.daemon.as_ref().map(|d| d.engine.memory()).unwrap_or_default();
                }
                _ => {}
            }
            self.flush(host);
        }
    }

    /// Plays it to the end; then up to `limit` until both ends have an answer to their pings.
    pub fn play(&mut self, limit: Duration) {
        let steps = std::mem::take(&mut self.script.steps);
        for (after, step) in &steps {
            self.run(self.now + *after);
            match *step {
                Step::Happens(what) => self.happen(what),
                Step::Shot(shot) => self.shoot(shot),
                Step::Tape { nth, first, sources } => {
                    let tape = self.recordings[ANCHOR].tape(nth);
                    self.play_tape(tape, first, sources);
                }
                Step::Due(source) => {
                    let wall = Duration::from_secs(WALL) + self.now;
                    let due = self.recordings[ANCHOR].due(wall.as_nanos() as u64);
                    self.play_tape(due, 0, [source; 2]);
                }
                Step::Nothing => {}
                Step::AttackBegins => {
                    self.attacking = true;
                    self.tell_story(|_| "the attack begins".into());
                }
                Step::AttackEnds => {
                    (self.attacking, self.over) = (false, Some(self.now));
                    self.tell_story(|_| "the attack is over, both ends send".into());
                    let luck = self.luck;
                    self.hosts.iter_mut().for_each(|host| host.wireguard.reroll(luck));
                    if self.undone {
                        self.undo();
                    }
                }
            }
        }
        let over = self.now;
        self.at(over, Coming::Ping(ANCHOR));
        self.at(over + APART, Coming::Ping(ROAMER));
        let answered = |world: &Self| world.hosts.iter().all(|host| host.answered.is_some());
        while self.now < over + limit && !answered(self) {
            self.run((self.now + Duration::from_millis(500)).min(over + limit));
        }
    }

    /// From here on it is as if wgroam had set no endpoint.
    fn undo(&mut self) {
        for host in &mut self.hosts {
            host.daemon = None;
            host.wireguard.endpoint = host.alone;
        }
        self.tell_story(|world| {
            let endpoints = world.hosts.each_ref().map(|host| host.alone);
            format!("wgroam is gone; without it the endpoints were {endpoints:?}")
        });
    }

    /// How long after the attack this end got an answer.
    pub fn recovery(&self, host: usize) -> Option<Duration> {
        Some(self.hosts[host].answered? - self.over?)
    }

    fn run(&mut self, end: Time) {
        while let Some(next) = self.next().filter(|&next| next <= end) {
            self.now = next;
            self.turn();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Time> {
        let calendar = self.calendar.first_key_value().map(|(&(when, _), _)| when);
        let hosts = self.hosts.iter().flat_map(|host| {
            let engine = host.daemon.as_ref().and_then(|daemon| daemon.engine.next_deadline());
            let engine = engine.map(|at| at.saturating_duration_since(self.base).max(self.now));
            [host.wireguard.deadline(), engine]
        });
        hosts.chain([calendar]).flatten().min()
    }

    fn turn(&mut self) {
        while let Some(entry) = self.calendar.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Coming::Arrival(packet) => self.arrive(packet),
                Coming::Heard(host, packet) => self.hear(host, packet),
                Coming::Answer(host) => self.answer(host),
                Coming::Resolved(host) => {
                    let answer = Ok(vec![self.hosts[1 - host].address.ip()]);
                    self.tell(host, Event::Resolved { host: NAME.into(), answer });
                }
                Coming::Shot(shot) => self.shoot(shot),
                Coming::Again(packet, source) => self.send_again(ANCHOR, packet, source),
                Coming::Ping(host) => {
                    let (now, wall) = (self.now, self.hosts[host].wall(self.now));
                    let number = now.as_millis() as u64;
                    self.hosts[host].wireguard.transmit(now, wall, Payload::Ping(number));
                    self.flush(host);
                    self.at(now + PING, Coming::Ping(host));
                }
            }
        }
        let (now, instant) = (self.now, self.instant());
        for host in [ANCHOR, ROAMER] {
            let wall = self.hosts[host].wall(now);
            self.hosts[host].wireguard.expire(now, wall);
            self.flush(host);
            let due = |engine: &Engine| engine.next_deadline().is_some_and(|deadline| deadline <= instant);
            if let Some(daemon) = self.hosts[host].daemon.as_mut().filter(|daemon| due(&daemon.engine)) {
                daemon.engine.handle_timeout(instant);
                self.carry_out(host);
            }
        }
    }

    fn answer(&mut self, host: usize) {
        let wall = self.hosts[host].wall(self.now);
        let device = self.hosts[host].wireguard.device();
        if let Some(daemon) = &mut self.hosts[host].daemon {
            daemon.update(host);
            self.catch_up(host);
            self.tell(host, Event::Snapshot { device, wall });
        }
    }

    /// Before the engine sees a snapshot the daemon reads what the tap has. Under a flood it can't, and it knows what was lost
    /// (daemon/packets.rs). Only a tap that sees nothing at all keeps that to itself.
    fn catch_up(&mut self, host: usize) {
        let waits = |coming: &Coming| matches!(coming, Coming::Heard(whose, _) if *whose == host);
        if self.hosts[host].tap == Tap::Flooded {
            let late = self.calendar.values().any(waits);
            if std::mem::take(&mut self.hosts[host].dropped) || late {
                self.tell(host, Event::InitiationsMissed);
            }
            return;
        }
        let keys: Vec<_> =
            self.calendar.iter().filter(|(_, what)| waits(what)).map(|(&key, _)| key).collect();
        for key in keys {
            if let Some(Coming::Heard(_, packet)) = self.calendar.remove(&key) {
                self.hear(host, packet);
            }
        }
    }
}

pub fn name(host: usize) -> &'static str {
    if host == ANCHOR { "anchor" } else { "roamer" }
}
