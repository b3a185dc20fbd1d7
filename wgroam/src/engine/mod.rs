// SPDX-License-Identifier: GPL-2.0-only
//! The pure core: events in, actions out. It asks nobody for the time, a socket, a file or a name; whoever drives it
//! passes all of that in, so that the same events always give the same actions. How it decides: docs/design/engine.md.

mod action;
pub mod constants;
mod context;
mod device;
mod event;
mod instant;
mod memory;
mod names;
mod outbox;
mod peer;
mod rate;
mod report;
mod routes;
mod settings;
mod status;
mod view;

pub use action::{Action, Reason};
pub use event::{Command, Event, ResolveError};
pub use memory::Remembered;
pub use report::{Evidence, Report, Step};
pub use status::{
    CandidateStatus, DeviceStatus, DialStatus, Move, PeerStatus, Problem, Status, StrangerStatus,
};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::constants::*;
use self::context::Context;
use self::device::{Device, Ticks};
use self::instant::{Instant, earliest};
use self::memory::{Changed, Memory};
use self::names::Names;
use self::outbox::{Note, Outbox};
use self::peer::PeerId;
use self::rate::Rate;
use self::routes::Routes;
use self::settings::Settings;
use crate::config::Config;
use crate::initiation::{Timestamp, Verdict};
use crate::lists;
use crate::model::{Interface, PublicKey, WallTime};
use crate::sorted::SortedMap;
use crate::wan::WanChange;

/// The core. Feed it with [`Engine::handle_event`] and, at [`Engine::next_deadline`], with [`Engine::handle_timeout`];
/// after each call carry out what [`Engine::poll_action`] yields, until it yields nothing.
#[derive(Debug)]
pub struct Engine {
    /// What is [`Instant::START`] in here.
    start: std::time::Instant,
    settings: Settings,
    ticks: Ticks,
    /// Interfaces that are watched, and those that were and are gone.
    devices: SortedMap<Interface, Device>,
    /// WireGuard interfaces that exist and are not ours to watch.
    unwatched: Vec<Interface>,
    memory: Memory,
    /// When a change of the memory is to be told, and when one was told last.
    save_at: Option<Instant>,
    saved_at: Option<Instant>,
    names: Names,
    routes: Routes,
    /// Addresses that are this machine's own, and its links' broadcast addresses; sorted.
    own: Vec<IpAddr>,
    /// The device that carries the best default route, as far as we were told.
    wan: Option<Interface>,
    /// By how much our own clock is behind what is remembered, if it looks wrong.
    clock_behind: Option<Duration>,
    stranger_reports: Rate,
    outbox: Outbox,
}

/// What is read, of an engine whose devices and outbox are written.
macro_rules! context {
    ($engine:expr, $now:expr) => {
        Context {
            now: $now,
            ticks: &$engine.ticks,
            settings: &$engine.settings,
            names: &$engine.names,
            memory: &$engine.memory,
            routes: &$engine.routes.answer,
            own: &$engine.own,
            wan: $engine.wan,
        }
    };
}

impl Engine {
    /// An engine that knows no device yet. `memory` is what an earlier one handed out by [`Engine::memory`].
    pub fn new(config: Config, memory: Vec<Remembered>, now: std::time::Instant) -> Engine {
        let (start, now) = (now, Instant::START);
        let settings = Settings::new(config);
        let mut names = Names::default();
        names.set(now, &settings.hosts());
        let mut engine = Engine {
            start,
            settings,
            ticks: Ticks::new(now),
            devices: SortedMap::new(),
            unwatched: Vec::new(),
            memory: Memory::new(memory),
            save_at: None,
            saved_at: None,
            names,
            routes: Routes::new(now),
            own: Vec::new(),
            wan: None,
            clock_behind: None,
            stranger_reports: Rate::default(),
            outbox: Outbox::default(),
        };
        engine.work(now);
        engine
    }

    /// Says which device carries the best default route when the engine starts. Later ones come as events.
    pub fn set_wan(&mut self, wan: Option<Interface>) {
        self.wan = wan;
    }

    /// Takes in what happened. `now` never goes back from call to call.
    pub fn handle_event(&mut self, now: std::time::Instant, event: Event) {
        let now = self.moment(now);
        match event {
            Event::DeviceUp { interface } => self.on_device_up(now, interface),
            Event::DeviceGone { interface } => self.on_device_gone(now, interface),
            Event::Snapshot { device, wall } => {
                self.judge_clock(wall);
                let context = context!(self, now);
                // A late answer about a device that is gone tells nothing.
                if let Some(known) = self.devices.get_mut(&device.interface).filter(|known| known.present()) {
                    known.take_in(&context, &mut self.outbox, &device, wall);
                }
                self.take_notes(now);
            }
            Event::Initiation { interface, source, verdict } => {
                if !self.on_initiation(now, interface, source, verdict) {
                    return;
                }
            }
            Event::InitiationsMissed => {
                let peers = self.devices.values_mut().flat_map(|device| device.peers.values_mut());
                peers.for_each(|peer| peer.calls.miss());
                return;
            }
            Event::InitiationCopied { interface, peer } => {
                let device = self.devices.get_mut(&interface);
                let peer = device.and_then(|device| device.peers.get_mut(&peer));
                if let Some(dialed) = peer.and_then(|peer| peer.dialed.as_mut()) {
                    dialed.note_copied(now);
                }
                return;
            }
            Event::OwnAddresses(own) => self.own = own,
            Event::RoutesChanged => self.routes.want_soon(now),
            Event::WanChanged(change) => self.on_wan_changed(now, change),
            Event::ClockStepped { wall } => {
                self.outbox.report(Report::ClockStepped);
                self.judge_clock(wall);
                self.try_afresh(now, Reason::ClockStepped);
            }
            Event::Resolved { host, answer } => self.on_resolved(now, &host, answer),
            Event::ProbeReply { interface, target, token } => {
                let context = context!(self, now);
                if let Some(device) = self.devices.get_mut(&interface) {
                    device.take_reply(&context, &mut self.outbox, target, token);
                }
                self.take_notes(now);
            }
            Event::Routes(answer) => self.routes.take(answer),
            Event::Command(command) => self.on_command(now, command),
        }
        self.work(now);
    }

    /// Does what was put off until now. Harmless when called too early.
    pub fn handle_timeout(&mut self, now: std::time::Instant) {
        let now = self.moment(now);
        for device in self.devices.values_mut().filter(|device| device.present()) {
            if device.polls.ask_on_tick(now, &self.ticks) {
                self.outbox.push(Action::TakeSnapshot { interface: device.interface });
            }
        }
        self.work(now);
    }

    /// What is to be done next; None: wait for an event or the deadline.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop()
    }

    /// When [`Engine::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<std::time::Instant> {
        let devices = self.devices.values().filter(|device| device.present());
        let polls = devices.map(|device| {
            let planned = device.polls.next(device.peers.len());
            earliest(planned, Some(device.polls.tick))
        });
        let rest =
            [self.routes.deadline(), self.names.deadline(), self.save_at, self.outbox.pokes.deadline()];
        let deadline = polls.chain(rest).fold(None, earliest)?;
        Some(self.start + deadline.saturating_duration_since(Instant::START))
    }

    /// A moment of the outside.
    fn moment(&self, now: std::time::Instant) -> Instant {
        Instant::START + now.saturating_duration_since(self.start)
    }

    /// What is worth keeping over a restart, by interface and key. [`Action::Remember`] tells when it changed.
    pub fn memory(&self) -> Vec<Remembered> {
        self.memory.list()
    }

    /// The newest initiation timestamp that is remembered of a peer.
    pub fn newest(&self, interface: Interface, peer: &PublicKey) -> Option<Timestamp> {
        self.memory.newest(PeerId { interface, key: *peer })
    }

    /// The configuration of now.
    pub fn config(&self) -> &Config {
        &self.settings.config
    }

    /// Goes on with another configuration. What it does not change is not disturbed.
    pub fn reload(&mut self, now: std::time::Instant, config: Config) {
        let now = self.moment(now);
        let old = std::mem::replace(&mut self.settings, Settings::new(config));
        self.names.set(now, &self.settings.hosts());
        let context = context!(self, now);
        for device in self.devices.values_mut() {
            for peer in device.peers.values_mut() {
                if old.peer(peer.id) != context.settings.peer(peer.id) {
                    peer.begin_anew(&context, &mut self.outbox);
                    device.polls.now(now, &self.ticks);
                }
            }
        }
        let mut dropped = Vec::new();
        for device in self.devices.values() {
            if device.present() && !self.settings.watches(device.interface) {
                device.take_back(&mut self.outbox);
                dropped.push(device.interface);
            }
        }
        for interface in dropped {
            self.on_device_gone(now, interface);
            self.unwatched.push(interface);
        }
        // on_device_up() puts those back that still are not ours.
        for interface in std::mem::take(&mut self.unwatched) {
            self.on_device_up(now, interface);
        }
        self.work(now);
    }

    /// The end: what is being tried is taken back. Carry out what [`Engine::poll_action`] yields, and call nothing else.
    pub fn stop(&mut self) {
        self.devices.values().for_each(|device| device.take_back(&mut self.outbox));
    }

    /// The memory changed: told at once when an endpoint did, else on the next tick.
    fn remember(&mut self, now: Instant, changed: Changed) {
        let wanted = match changed {
            Changed::Nothing => return,
            Changed::Details => self.ticks.after(now, 1),
            Changed::Endpoint => self.saved_at.map_or(now, |last| now.max(last + REMEMBER_SPACING)),
        };
        self.save_at = Some(self.save_at.map_or(wanted, |planned| planned.min(wanted)));
    }

    /// Takes down what devices and peers left to be noted.
    fn take_notes(&mut self, now: Instant) {
        for note in self.outbox.take_notes() {
            let changed = match note {
                Note::Taken(id, timestamp) => self.memory.prove(id, timestamp),
                Note::Confirmed(id, endpoint, wall) => self.memory.confirm(id, endpoint, wall),
                Note::Good(id, wan, endpoint) => self.memory.note_good(id, wan, endpoint),
                Note::ClockRanAhead(wall) => {
                    let changed = self.memory.set_back(wall);
                    self.judge_clock(wall);
                    changed
                }
                Note::Name(host) => {
                    self.names.want(now, &host);
                    Changed::Nothing
                }
                Note::Routes => {
                    self.routes.want(now);
                    Changed::Nothing
                }
            };
            self.remember(now, changed);
        }
    }

    /// Does what is due.
    fn work(&mut self, now: Instant) {
        let query = self.routes.due(&context!(self, now), &self.devices);
        self.routes.note_asked(now, query.as_ref());
        self.outbox.extend(query.map(Action::QueryRoutes));
        // A route comes before the packet that needs it; the answer leads here again.
        if !self.routes.asking(now) {
            self.do_what_is_due(now);
        }
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let needed = self.routes.needed(&context!(self, now), &self.devices);
        self.routes.arrange(&needed, now, &mut self.outbox);
        self.poke_who_is_due(now);
        while let Some(host) = self.names.due(now) {
            self.outbox.push(Action::Resolve { host });
        }
        if self.save_at.is_some_and(|moment| moment <= now) {
            (self.save_at, self.saved_at) = (None, Some(now));
            self.outbox.push(Action::Remember);
        }
        for device in self.devices.values_mut() {
            if device.polls.ask_planned(now, device.peers.len()) {
                self.outbox.push(Action::TakeSnapshot { interface: device.interface });
            }
        }
    }

    fn poke_who_is_due(&mut self, now: Instant) {
        let context = context!(self, now);
        while let Some(id) = self.outbox.pokes.next(now) {
            let Some(device) = self.devices.get_mut(&id.interface) else { continue };
            let ready = device.present() && device.up;
            if let Some(peer) = device.peers.get_mut(&id.key) {
                peer.poke(&context, &mut self.outbox, &mut device.polls, ready);
            }
        }
    }

    fn on_device_up(&mut self, now: Instant, interface: Interface) {
        if !self.settings.watches(interface) {
            if !self.unwatched.contains(&interface) {
                self.unwatched.push(interface);
            }
            return;
        }
        self.routes.want(now);
        let new = || Device::new(interface, now, &self.ticks);
        self.devices.get_or_insert_with(interface, new).settle(now, &self.ticks);
    }

    fn on_device_gone(&mut self, now: Instant, interface: Interface) {
        lists::keep(&mut self.unwatched, |&unwatched| unwatched != interface);
        let Some(device) = self.devices.get_mut(&interface).filter(|device| device.present()) else { return };
        device.leave(now, &mut self.outbox);
        let mut gone = 0;
        let mut oldest: Option<(Instant, Interface)> = None;
        for device in self.devices.values() {
            let Some(since) = device.gone else { continue };
            gone += 1;
            // Of equals the first one by name.
            if oldest.is_none_or(|(least, _)| since < least) {
                oldest = Some((since, device.interface));
            }
        }
        if let Some((_, oldest)) = oldest.filter(|_| gone > GONE_MAX) {
            self.devices.remove(&oldest);
        }
    }

    /// Returns whether anything is to be done.
    fn on_initiation(
        &mut self,
        now: Instant,
        interface: Interface,
        source: SocketAddr,
        verdict: Verdict,
    ) -> bool {
        let context = context!(self, now);
        let Some(device) = self.devices.get_mut(&interface).filter(|device| device.present()) else {
            return false;
        };
        let acts = device.hear(&context, &mut self.outbox, source, verdict, &mut self.stranger_reports);
        if let Verdict::Authentic { peer: key, timestamp } = verdict {
            let changed = self.memory.note_newest(PeerId { interface, key }, timestamp);
            self.remember(now, changed);
        }
        acts
    }

    fn on_wan_changed(&mut self, now: Instant, change: WanChange) {
        // Without a way out nothing can be sent; the next change brings one.
        let way_out = !matches!(change, WanChange::Down(_) | WanChange::Route(None));
        if let WanChange::Route(device) = change {
            self.wan = device;
        }
        if way_out {
            self.names.reset(now);
        }
        self.routes.want(now);
        self.outbox.report(Report::WanChanged(change));
        for device in self.devices.values_mut().filter(|device| way_out && device.present()) {
            device.waiting.wan_changed = Some(now);
            device.polls.now(now, &self.ticks);
        }
    }

    fn on_resolved(&mut self, now: Instant, host: &str, answer: Result<Vec<IpAddr>, ResolveError>) {
        let old = self.names.lookup(host).0;
        let changed = self.names.answer(now, host, &answer);
        if answer.is_ok() {
            let context = context!(self, now);
            for device in self.devices.values_mut().filter(|device| device.present()) {
                device.hear_name(&context, host, &old, changed);
            }
        }
        if changed {
            self.outbox.report(Report::Name { host: host.to_owned(), answer });
        }
    }

    /// Does our own clock look wrong? Then the others drop our handshakes as replays of what we sent before.
    fn judge_clock(&mut self, wall: WallTime) {
        let behind = Some(self.memory.ahead_of(wall)).filter(|&behind| behind >= OWN_CLOCK_SLACK);
        if behind.is_some() != self.clock_behind.is_some() {
            self.outbox.report(Report::OwnClock { behind });
        }
        self.clock_behind = behind;
    }

    /// What failed so far may work now: whoever has no session tries again, and nobody else is disturbed. A clock that
    /// is slewed gives no event; whoever sets it can have everything polled again.
    fn try_afresh(&mut self, now: Instant, reason: Reason) {
        self.names.reset(now);
        for device in self.devices.values_mut().filter(|device| device.present()) {
            device.waiting.afresh = Some((now, reason));
            device.polls.now(now, &self.ticks);
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        let (only, peer) = match command {
            Command::Retry => return self.try_afresh(now, Reason::Command),
            Command::Poke { interface, peer } => (interface, peer),
        };
        let wanted =
            |device: &&mut Device| device.present() && only.is_none_or(|only| only == device.interface);
        for device in self.devices.values_mut().filter(wanted) {
            match peer.map(|key| device.peers.get_mut(&key)) {
                None => device.waiting.command = Some(now),
                Some(Some(peer)) => peer.poke_wanted = Some(now),
                // No such peer here.
                Some(None) => continue,
            }
            device.polls.now(now, &self.ticks);
        }
    }
}
