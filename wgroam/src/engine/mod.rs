// SPDX-License-Identifier: GPL-2.0-only
//! The pure core: events in, actions out. It asks nobody for the time, a socket, a file or a name; whoever drives it
//! passes all of that in, so that the same events always give the same actions. How it decides: docs/design/engine.md.

mod action;
mod chase;
pub mod constants;
mod device;
mod errands;
mod event;
mod initiations;
mod ladder;
mod look;
mod memory;
mod names;
mod peer;
mod probes;
mod rate;
mod replies;
mod report;
mod routes;
mod settings;
mod snapshot;
mod status;
mod strangers;
mod timer;
mod view;

pub use action::{Action, Reason};
pub use event::{Command, Event, ResolveError};
pub use report::{Evidence, Report, Step};
pub use status::{
    CandidateStatus, DeviceStatus, DialStatus, Move, PeerStatus, Problem, Status, StrangerStatus,
};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::constants::*;
use self::device::DeviceState;
use self::errands::Errands;
use self::look::Ticks;
use self::memory::{Changed, Memory};
use self::names::Names;
use self::rate::Rate;
use self::routes::Routes;
use self::settings::Settings;
use self::timer::{Timer, TimerTable};
use crate::config::Config;
use crate::initiation::Timestamp;
use crate::model::{Interface, PublicKey, WallTime};
use crate::sorted::SortedMap;
use crate::wan::WanChange;

/// What survives a restart: one entry for each peer that was ever authenticated. The daemon keeps it in the state
/// file and hands it back to [`Engine::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The interface the peer belongs to.
    pub interface: Interface,
    /// Who it is.
    pub peer: PublicKey,
    /// The last endpoint that authenticated packets came from.
    pub endpoint: Option<SocketAddr>,
    /// When that was last confirmed, by our clock.
    pub confirmed: WallTime,
    /// The newest initiation timestamp seen of it.
    pub newest: Option<Timestamp>,
    /// Of a peer that we go to: the candidate that was good last, for each WAN, the latest first; [`constants::GOOD_MAX`]
    /// at most.
    pub good: Vec<(Interface, SocketAddr)>,
}

/// The core. Feed it with [`Engine::handle_event`] and, at [`Engine::next_deadline`], with [`Engine::handle_timeout`];
/// after each call carry out what [`Engine::poll_action`] yields, until it yields nothing.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    ticks: Ticks,
    /// Interfaces that are watched, and those that were and are gone.
    devices: SortedMap<Interface, DeviceState>,
    /// WireGuard interfaces that exist and are not ours to watch.
    unwatched: Vec<Interface>,
    memory: Memory,
    /// When a change of the memory is to be told, and when one was told last.
    save_at: Option<Instant>,
    saved_at: Option<Instant>,
    errands: Errands,
    names: Names,
    routes: Routes,
    /// The device that carries the best default route, as far as we were told.
    wan: Option<Interface>,
    /// By how much our own clock is behind what is remembered, if it looks wrong.
    clock_behind: Option<Duration>,
    /// A peer had the port of its interface changed, at this look.
    rotated: bool,
    /// Of the last probe.
    token: u16,
    stranger_reports: Rate,
    timers: TimerTable,
    actions: VecDeque<Action>,
}

impl Engine {
    /// An engine that knows no device yet. `memory` is what an earlier one handed out by [`Engine::memory`].
    pub fn new(config: Config, memory: Vec<Remembered>, now: Instant) -> Engine {
        let settings = Settings::new(config);
        let mut names = Names::default();
        names.set(now, settings.hosts());
        let mut engine = Engine {
            settings,
            ticks: Ticks::new(now),
            devices: SortedMap::new(),
            unwatched: Vec::new(),
            memory: Memory::new(memory),
            save_at: None,
            saved_at: None,
            errands: Errands::default(),
            names,
            routes: Routes::new(now),
            wan: None,
            clock_behind: None,
            rotated: false,
            token: 0,
            stranger_reports: Rate::default(),
            timers: TimerTable::default(),
            actions: VecDeque::new(),
        };
        engine.work(now);
        engine
    }

    /// Says which device carries the best default route when the engine starts. Later ones come as events.
    pub fn set_wan(&mut self, wan: Option<Interface>) {
        self.wan = wan;
    }

    /// Takes in what happened. `now` never goes back from call to call.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::DeviceUp { interface } => self.on_device_up(now, interface),
            Event::DeviceGone { interface } => self.on_device_gone(now, interface),
            Event::Snapshot { device, wall } => {
                self.judge_clock(wall);
                self.on_snapshot(now, device, wall);
            }
            Event::Initiation { interface, source, verdict } => {
                if !self.on_initiation(now, interface, source, verdict) {
                    return;
                }
            }
            Event::OwnAddresses(_) => {}
            Event::RoutesChanged => self.routes.want(),
            Event::WanChanged(change) => self.on_wan_changed(now, change),
            Event::ClockStepped { wall } => {
                self.report(Report::ClockStepped);
                self.judge_clock(wall);
                self.try_afresh(now, Reason::ClockStepped);
            }
            Event::Resolved { host, answer } => self.on_resolved(now, host, answer),
            Event::ProbeReply { interface, target, token } => {
                self.on_probe_reply(now, interface, target, token);
            }
            Event::Routes(ways) => self.on_route_answer(ways),
            Event::Command(command) => self.on_command(now, command),
        }
        self.work(now);
    }

    /// Does what was put off until now. Harmless when called too early.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_expired(now) {
            match timer {
                Timer::Poll => self.poll_devices(now),
                // work() does whatever is due.
                Timer::Look(_) | Timer::Pace | Timer::Remember | Timer::Names | Timer::Routes => {}
            }
        }
        self.work(now);
    }

    /// What is to be done next; None: wait for an event or the deadline.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // A crowd that moved at once leaves room for thousands.
            self.actions.shrink_to(ACTIONS_KEPT);
        }
        action
    }

    /// When [`Engine::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// What is worth keeping over a restart, by interface and key. [`Action::Remember`] tells when it changed.
    pub fn memory(&self) -> Vec<Remembered> {
        self.memory.list()
    }

    /// The newest initiation timestamp that is remembered of a peer.
    pub fn newest(&self, interface: Interface, peer: &PublicKey) -> Option<Timestamp> {
        self.memory.newest(interface, *peer)
    }

    /// Goes on with another configuration. What it does not change is not disturbed.
    pub fn reload(&mut self, now: Instant, config: Config) {
        let old = std::mem::replace(&mut self.settings, Settings::new(config));
        self.names.set(now, self.settings.hosts());
        for device in self.devices.values_mut() {
            for peer in device.peers.values_mut() {
                let (interface, key) = (device.interface, peer.seen.public_key);
                if old.peer(interface, key) != self.settings.peer(interface, key) {
                    peer.begin_anew(now);
                }
            }
        }
        let dropped = |device: &&DeviceState| device.present() && !self.settings.watches(device.interface);
        let dropped: Vec<_> = self.devices.values().filter(dropped).map(|device| device.interface).collect();
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

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
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

    /// Does what is due, and sets the timers for the rest.
    fn work(&mut self, now: Instant) {
        self.ask_routes(now);
        // A route comes before the packet that needs it; the answer leads here again.
        if !self.routes.asking(now) {
            self.do_what_is_due(now);
        }
        self.timers.set(Timer::Routes, self.routes.deadline());
        self.timers.set(Timer::Names, self.names.deadline());
        self.timers.set(Timer::Remember, self.save_at);
        for device in self.devices.values() {
            let next = device.looks.next(device.peers.len());
            self.timers.set(Timer::Look(device.interface), next);
        }
        let polls = self.devices.values().filter(|device| device.present()).map(|device| device.looks.poll);
        self.timers.set(Timer::Poll, polls.min());
        self.timers.set(Timer::Pace, self.errands.deadline());
    }

    fn do_what_is_due(&mut self, now: Instant) {
        self.arrange_routes(now);
        self.run_errands(now);
        while let Some(host) = self.names.due(now) {
            self.actions.push_back(Action::Resolve { host });
        }
        if self.save_at.is_some_and(|moment| moment <= now) {
            (self.save_at, self.saved_at) = (None, Some(now));
            self.actions.push_back(Action::Remember);
        }
        for device in self.devices.values_mut() {
            if device.looks.ask_planned(now, device.peers.len()) {
                self.actions.push_back(Action::TakeSnapshot { interface: device.interface });
            }
        }
    }

    fn poll_devices(&mut self, now: Instant) {
        for device in self.devices.values_mut().filter(|device| device.present()) {
            if device.looks.ask_polled(now, &self.ticks) {
                self.actions.push_back(Action::TakeSnapshot { interface: device.interface });
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
        self.routes.want();
        let new = || DeviceState::new(interface, now, &self.ticks);
        self.devices.get_or_insert_with(interface, new).settle(now, &self.ticks);
    }

    fn on_device_gone(&mut self, now: Instant, interface: Interface) {
        self.unwatched.retain(|&unwatched| unwatched != interface);
        let Some(device) = self.devices.get_mut(&interface).filter(|device| device.present()) else { return };
        device.gone = Some(now);
        device.up = false;
        device.looks.clear();
        (device.wan_changed, device.afresh, device.wished) = (None, None, None);
        for peer in device.peers.values_mut() {
            self.errands.cancel(interface, peer);
            (peer.pending, peer.repeat, peer.wished) = (None, None, None);
        }
        let announced = std::mem::take(&mut device.announced);
        self.actions.push_back(Action::Forget { interface });
        if announced {
            self.report(Report::DeviceGone { interface });
        }
        self.timers.stop(Timer::Look(interface));
        let gone =
            || self.devices.values().filter_map(|device| device.gone.map(|since| (since, device.interface)));
        if gone().count() > GONE_MAX
            && let Some((_, oldest)) = gone().min()
        {
            self.devices.remove(&oldest);
        }
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
        self.routes.want();
        self.report(Report::WanChanged(change));
        for device in self.devices.values_mut().filter(|device| way_out && device.present()) {
            device.wan_changed = Some(now);
            device.looks.now(now, &self.ticks);
        }
    }

    /// Does our own clock look wrong? Then the others drop our handshakes as replays of what we sent before.
    fn judge_clock(&mut self, wall: WallTime) {
        let behind = Some(self.memory.ahead_of(wall)).filter(|&behind| behind >= OWN_CLOCK_SLACK);
        if behind.is_some() != self.clock_behind.is_some() {
            self.report(Report::OwnClock { behind });
        }
        self.clock_behind = behind;
    }

    /// What failed so far may work now: whoever has no session tries again, and nobody else is disturbed. A clock that
    /// is slewed gives no event; whoever sets it can have us look again.
    fn try_afresh(&mut self, now: Instant, reason: Reason) {
        self.names.reset(now);
        for device in self.devices.values_mut().filter(|device| device.present()) {
            device.afresh = Some((now, reason));
            device.looks.now(now, &self.ticks);
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        let (only, peer) = match command {
            Command::Retry => return self.try_afresh(now, Reason::Command),
            Command::Poke { interface, peer } => (interface, peer),
        };
        let wanted =
            |device: &&mut DeviceState| device.present() && only.is_none_or(|only| only == device.interface);
        for device in self.devices.values_mut().filter(wanted) {
            match peer.map(|key| device.peers.get_mut(&key)) {
                None => device.wished = Some(now),
                Some(Some(peer)) => peer.wished = Some(now),
                // No such peer here.
                Some(None) => continue,
            }
            device.looks.now(now, &self.ticks);
        }
    }
}
