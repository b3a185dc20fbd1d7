// SPDX-License-Identifier: GPL-2.0-only
//! Plays a world once: with wgroam on some of its routers, or on none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use wgroam::engine::{Engine, Event, Remembered};

use super::flow::{Flow, IN_TIME, Ping, flows};
use super::plan::{Lie, Plan, R1, R2, R3, chance};
use super::router::{Router, home, interface, key, port, socket};
use crate::rng::Rng;
use crate::wireguard::{Packet, Payload, Time, WireGuard};

/// What is not a ping of the LAN's.
pub const PROBE: u64 = 1 << 40;
pub const QUESTION: u64 = 1 << 41;
pub const WAKE: u64 = 1 << 42;

/// Something that is due.
#[derive(Debug)]
pub(super) enum Due {
    Arrival(Packet),
    Tell(usize, Event),
    /// WireGuard tells its engine what it looks like.
    Look(usize, usize),
    Ping(usize, usize),
    /// This one of the plan's events.
    Event(usize),
    Boot(usize),
    Configure(usize, usize, u32),
    SetClock(usize),
    /// The name of an end means where it is now.
    Publish(usize),
    /// A question had no answer for long.
    NoAnswer(usize),
}

pub(super) struct Entry(pub Time, pub u64, pub Due);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A question for a name.
#[derive(Debug)]
pub(super) struct Question {
    pub router: usize,
    pub host: String,
    pub answered: bool,
}

/// A handshake message that came to nothing, or a keepalive that was lost: the one that ends a handshake has to arrive, too.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub at: Time,
    /// Between R1 and this one.
    pub far: usize,
    pub how: How,
}

/// How it came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// There was no way: it was off, blocked, nobody was there, or it was not believed.
    NoWay,
    /// Bad luck: there was a way.
    Luck,
    /// An answer that came too late: another handshake crossed this one.
    Crossed,
    /// Bad luck, too, but of a keepalive.
    Keepalive,
    /// A call from the past: who called has a clock that is behind what the other has seen of it.
    Past,
}

/// What is kept of a play.
pub struct Played {
    /// By flow.
    pub pings: Vec<Vec<Ping>>,
    pub lost: Vec<Lost>,
    /// Initiations that left a router.
    pub calls: Vec<(Time, usize)>,
    pub with: [bool; 3],
    pub story: Vec<(Time, String)>,
}

pub struct World<'a> {
    pub(super) plan: &'a Plan,
    base: Instant,
    pub(super) now: Time,
    pub(super) routers: Vec<Router>,
    with: [bool; 3],
    pub(super) luck: u64,
    pub(super) flows: Vec<Flow>,
    /// What the ends' names mean.
    pub(super) published: [IpAddr; 3],
    /// What the other's name means instead, and until when.
    pub(super) lies: [Option<(Lie, Time)>; 3],
    pub(super) blocked: Time,
    pub(super) questions: Vec<Question>,
    queue: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    pub(super) pings: Vec<Vec<Ping>>,
    pub(super) lost: Vec<Lost>,
    pub(super) calls: Vec<(Time, usize)>,
    story: Option<Vec<(Time, String)>>,
}

/// Plays the plan with wgroam on these routers.
///
/// `luck` is WireGuard's own, its jitter, and the line's: 0 is the same in each play of a world.
pub fn play(plan: &Plan, with: [bool; 2], luck: u64, base: Instant, tell: bool) -> Played {
    let mut world = World::new(plan, [with[R1], with[R2], false], base, tell);
    world.luck = luck;
    world.run();
    let World { pings, lost, calls, with, story, .. } = world;
    Played { pings, lost, calls, with, story: story.unwrap_or_default() }
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, with: [bool; 3], base: Instant, tell: bool) -> Self {
        let count = if plan.second.is_some() { 3 } else { 2 };
        let routers: Vec<_> = (0..count).map(|number| Router::new(plan, number)).collect();
        let flows = flows(plan);
        let pings = flows.iter().map(|flow| vec![Ping::Silent; flow.pings(plan.until)]).collect();
        let published = [routers[R1].nat.address, routers[R2].nat.address, home()];
        let mut world = Self {
            plan,
            base,
            now: Time::ZERO,
            routers,
            with,
            luck: 0,
            flows,
            published,
            lies: [None; 3],
            blocked: Time::ZERO,
            questions: Vec::new(),
            queue: BinaryHeap::new(),
            entries: 0,
            pings,
            lost: Vec::new(),
            calls: Vec::new(),
            story: tell.then(Vec::new),
        };
        for (at, event) in plan.events.iter().enumerate() {
            world.at(event.at, Due::Event(at));
        }
        // Home is there first.
        for router in 0..count {
            world.at(Duration::from_millis(if router == R1 { 900 } else { 100 }), Due::Boot(router));
        }
        for flow in 0..world.flows.len() {
            world.at(world.flows[flow].sent(0), Due::Ping(flow, 0));
        }
        world
    }

    pub(super) fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// For people.
    pub(super) fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = (self.now, what(self));
            self.story.get_or_insert_default().push(line);
        }
    }

    pub(super) fn at(&mut self, when: Time, due: Due) {
        self.entries += 1;
        self.queue.push(Reverse(Entry(when.max(self.now), self.entries, due)));
    }

    pub(super) fn after(&mut self, time: Duration, due: Due) {
        self.at(self.now + time, due);
    }

    fn run(&mut self) {
        while let Some(next) = self.next().filter(|&next| next <= self.plan.until) {
            self.now = next;
            while self.queue.peek().is_some_and(|Reverse(entry)| entry.0 <= next) {
                if let Some(Reverse(Entry(_, _, due))) = self.queue.pop() {
                    self.happens(due);
                }
            }
            self.expire();
        }
    }

    fn next(&self) -> Option<Time> {
        let mut next = self.queue.peek().map_or(Time::MAX, |Reverse(entry)| entry.0);
        for router in &self.routers {
            for tunnel in &router.tunnels {
                next =
                    tunnel.wireguard.as_ref().and_then(WireGuard::deadline).map_or(next, |at| next.min(at));
            }
            let engine = router.engine.as_ref().and_then(Engine::next_deadline);
            let engine = engine.map(|at| at.saturating_duration_since(self.base).max(self.now));
            next = engine.map_or(next, |at| next.min(at));
        }
        (next < Time::MAX).then_some(next)
    }

    fn expire(&mut self) {
        let (now, instant) = (self.now, self.instant());
        for number in 0..self.routers.len() {
            let wall = self.routers[number].wall(now);
            for tunnel in 0..self.routers[number].tunnels.len() {
                if let Some(wireguard) = &mut self.routers[number].tunnels[tunnel].wireguard
                    && wireguard.deadline().is_some_and(|at| at <= now)
                {
                    wireguard.expire(now, wall);
                    self.flush(number, tunnel);
                }
            }
            if let Some(engine) = &mut self.routers[number].engine
                && engine.next_deadline().is_some_and(|deadline| deadline <= instant)
            {
                engine.handle_timeout(instant);
                self.carry_out(number);
                let next = self.routers[number].engine.as_ref().and_then(Engine::next_deadline);
                assert!(next.is_none_or(|next| next > instant), "a busy loop, WORLD={}", self.plan.seed);
            }
        }
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Arrival(packet) => self.arrive(packet),
            Due::Tell(router, event) => self.tell(router, event),
            Due::Look(router, tunnel) => {
                let wall = self.routers[router].wall(self.now);
                match self.routers[router].device(tunnel) {
                    Some(device) => self.tell(router, Event::Snapshot { device, wall }),
                    None => self.tell(router, Event::DeviceGone { interface: interface(tunnel) }),
                }
            }
            Due::Ping(flow, ping) => self.ping(flow, ping),
            Due::Event(at) => {
                let plan = self.plan;
                self.event(&plan.events[at]);
            }
            Due::Boot(router) => self.boot(router),
            Due::Configure(router, tunnel, attempt) => self.configure(router, tunnel, attempt),
            Due::SetClock(router) => {
                self.routers[router].clock_off = 0;
                let wall = self.routers[router].wall(self.now);
                self.note(|_| format!("R{}'s clock is set", router + 1));
                self.tell(router, Event::ClockStepped { wall });
            }
            Due::Publish(end) => self.published[end] = self.routers[end].nat.address,
            Due::NoAnswer(question) => self.no_answer(question),
        }
    }

    fn ping(&mut self, flow: usize, ping: usize) {
        let Flow { host, tunnel, to, .. } = self.flows[flow];
        if ping >= self.pings[flow].len() {
            return;
        }
        let (now, wall) = (self.now, self.routers[host].wall(self.now));
        if self.routers[host].diverts(to).is_some() {
            self.pings[flow][ping] = Ping::Refused;
        } else if let Some(wireguard) = &mut self.routers[host].tunnels[tunnel].wireguard {
            wireguard.transmit(now, wall, Payload::Ping((flow as u64) << 24 | ping as u64));
            self.flush(host, tunnel);
        }
        self.at(self.flows[flow].sent(ping + 1), Due::Ping(flow, ping + 1));
    }

    /// An answer came to one of the pings.
    pub(super) fn pong(&mut self, number: u64) {
        let (flow, ping) = ((number >> 24) as usize, (number & 0xff_ffff) as usize);
        if self.now <= self.flows[flow].sent(ping) + IN_TIME {
            self.pings[flow][ping] = Ping::Answered;
        }
    }

    pub(super) fn start_engine(&mut self, router: usize, memory: Vec<Remembered>) {
        if !self.with[router] {
            return;
        }
        let instant = self.instant();
        let host = &mut self.routers[router];
        host.knows(memory.iter().filter_map(|r| r.newest.map(|newest| (r.peer, newest))).collect());
        let mut engine = Engine::new(host.config.clone(), memory, instant);
        engine.set_wan((self.now >= host.off_told).then(|| "wan".parse().expect("a name")));
        host.engine = Some(engine);
        let addresses = host.own_addresses();
        let there: Vec<_> =
            (0..host.tunnels.len()).filter(|&tunnel| host.tunnels[tunnel].wireguard.is_some()).collect();
        self.carry_out(router);
        self.tell(router, Event::OwnAddresses(addresses));
        for tunnel in there {
            self.tell(router, Event::DeviceUp { interface: interface(tunnel) });
        }
    }

    /// The router begins: wgroam starts, the interfaces are made.
    fn boot(&mut self, router: usize) {
        let host = &mut self.routers[router];
        host.boots += 1;
        let (boots, memory) = (host.boots, std::mem::take(&mut host.remembered));
        self.start_engine(router, memory);
        for tunnel in 0..self.routers[router].tunnels.len() {
            let host = &mut self.routers[router];
            let about = (router as u64) << 16 | (tunnel as u64) << 8 | boots;
            let rng = Rng(chance(self.plan.seed ^ self.luck, self.now, about));
            let port = port(&host.end, self.plan.seed ^ router as u64, boots, tunnel);
            let ifindex = 10 + (boots * 2) as u32 + tunnel as u32;
            let wireguard = WireGuard::new(interface(tunnel), ifindex, key(router), port, rng);
            host.tunnels[tunnel].wireguard = Some(wireguard);
            self.tell(router, Event::DeviceUp { interface: interface(tunnel) });
            self.after(Duration::from_millis(60 + 20 * tunnel as u64), Due::Configure(router, tunnel, 0));
        }
    }

    /// `wg setconf`, and the link up. A name is asked for by the uplink's servers; the interface waits for the answer.
    fn configure(&mut self, router: usize, tunnel: usize, attempt: u32) {
        let host = &self.routers[router];
        let peer = host.tunnels[tunnel].peer;
        let goes = (host.end.names_other && !host.end.only_wgroam) || peer == R3;
        let known = host.end.literal || peer == R3;
        let endpoint = match (goes, known) {
            (false, _) => None,
            (true, true) => Some(socket(self.published[peer])),
            (true, false) => match self.answer(router, peer) {
                Ok(addresses) => addresses.first().copied().map(socket),
                Err(_) if attempt < 30 => {
                    return self.after(Duration::from_secs(4), Due::Configure(router, tunnel, attempt + 1));
                }
                Err(_) => None,
            },
        };
        let (now, wall, keepalive) = (self.now, host.wall(self.now), host.end.keepalive);
        let host = &mut self.routers[router];
        host.owner_routes.extend(endpoint.map(|endpoint| endpoint.ip()));
        let Some(wireguard) = &mut host.tunnels[tunnel].wireguard else { return };
        (wireguard.peer, wireguard.endpoint) = (Some(key(peer)), endpoint);
        wireguard.set_keepalive(now, wall, keepalive);
        wireguard.set_link(now, wall, true);
        self.note(|_| match endpoint {
            Some(endpoint) => format!("R{} comes up and calls R{} at {endpoint}", router + 1, peer + 1),
            None => format!("R{} comes up and waits for R{}", router + 1, peer + 1),
        });
        self.flush(router, tunnel);
        self.tell(router, Event::DeviceUp { interface: interface(tunnel) });
    }
}
