// SPDX-License-Identifier: GPL-2.0-only
//! The loop: token -> adapter -> event -> engine -> action -> adapter. One thread, no decision of its own.

mod answers;
mod asking;
mod budget;
mod copying;
mod doing;
mod keeper;
mod packets;
mod requests;
mod routes;
mod trouble;
mod watched;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::config::{self, Loaded, Peer};
use crate::engine::{Command, Engine, Event};
use crate::linux::clock::{ClockWatch, earlier};
use crate::linux::control::{Control, SOCKET};
use crate::linux::copies::Copies;
use crate::linux::own_routes::OwnRoutes;
use crate::linux::process::Lock;
use crate::linux::route::{LinkEvent, RouteMonitor};
use crate::linux::signals::{Signal, Signals};
use crate::linux::tap::Tap;
use crate::linux::wireguard::WireGuard;
use crate::model::WallTime;
use crate::{logging, render};
use asking::Asking;
use budget::Budget;
use keeper::Keeper;
use packets::Listening;
use trouble::Troubles;
use watched::Watched;

const TAP: Token = Token(0);
const ROUTES: Token = Token(1);
const CLOCK: Token = Token(2);
const SIGNALS: Token = Token(3);
const NAMES: Token = Token(4);
const ECHOES: Token = Token(5);
const COPIES: Token = Token(6);
/// Control clients count up from here.
const CONTROL: Token = Token(16);

/// Where things are.
pub struct Paths {
    /// The configuration.
    pub config: PathBuf,
    /// Is it the default one, which need not exist?
    pub config_may_be_missing: bool,
    /// Control socket, lock, volatile state.
    pub runtime_dir: PathBuf,
    /// State that outlives a reboot.
    pub state: PathBuf,
}

/// Why the daemon could not start, or had to stop.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what failed.
fn failed(what: &str) -> impl Fn(io::Error) -> Error + '_ {
    move |error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error(format!("{what}: {error}; run it as root, or with CAP_NET_ADMIN and CAP_NET_RAW"))
        }
        _ => Error(format!("{what}: {error}")),
    }
}

/// The running daemon.
pub struct Daemon {
    /// What package network said when it could be read last; the engine's configuration has it.
    network: Vec<Peer>,
    paths: Paths,
    engine: Engine,
    poll: Poll,
    wireguard: WireGuard,
    tap: Tap,
    listening: Listening,
    copies: Copies,
    budget: Budget,
    watched: Watched,
    troubles: Troubles,
    routes: RouteMonitor,
    own_routes: OwnRoutes,
    last_route_trouble: String,
    clock: ClockWatch,
    signals: Signals,
    control: Control,
    keeper: Keeper,
    asking: Asking,
    started: Instant,
    stopping: bool,
    // Last, so that it is released when all the rest is gone.
    _lock: Lock,
}

impl Daemon {
    /// Opens everything; nothing outside has been changed yet when this fails.
    pub fn start(loaded: Loaded, paths: Paths) -> Result<Self, Error> {
        let now = Instant::now();
        let Loaded { config, network, .. } = loaded;
        let lock = Lock::take(&paths.runtime_dir.join("lock")).map_err(|held| Error(held.to_string()))?;
        // Before anything could start a thread.
        let signals = Signals::open().map_err(failed("signals"))?;
        let tap = Tap::open().map_err(failed("packet sockets"))?;
        let mut routes = RouteMonitor::open().map_err(failed("route events"))?;
        routes.set_wan(config.globals.wan.clone());
        let clock = ClockWatch::open().map_err(failed("clock steps"))?;
        let socket = paths.runtime_dir.join(SOCKET);
        let control = Control::bind(&socket).map_err(|error| Error(error.to_string()))?;
        let lasting = config.globals.persist.then(|| paths.state.clone());
        let (keeper, memory) = Keeper::load(paths.runtime_dir.join("state"), lasting);
        let poll = Poll::new().map_err(failed("epoll"))?;
        let asking = Asking::start(poll.registry(), NAMES, ECHOES).map_err(failed("name lookups"))?;
        let mut engine = Engine::new(config, memory, now);
        engine.set_wan(routes.wan());
        let mut daemon = Self {
            network: network.unwrap_or_default(),
            paths,
            engine,
            poll,
            wireguard: WireGuard::new(),
            tap,
            listening: Listening::default(),
            copies: Copies::default(),
            budget: Budget::new(now),
            watched: Watched::default(),
            troubles: Troubles::default(),
            routes,
            own_routes: OwnRoutes::new(),
            last_route_trouble: String::new(),
            clock,
            signals,
            control,
            keeper,
            asking,
            started: now,
            stopping: false,
            _lock: lock,
        };
        daemon.register().map_err(failed("epoll"))?;
        Ok(daemon)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut self.tap, TAP, Interest::READABLE)?;
        let sources = [
            (self.routes.as_raw_fd(), ROUTES),
            (self.clock.as_raw_fd(), CLOCK),
            (self.signals.as_raw_fd(), SIGNALS),
        ];
        for (fd, token) in sources {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        self.control.register(registry, CONTROL)
    }

    /// Runs until a signal or the configuration says stop.
    pub fn run(mut self) -> Result<(), Error> {
        let result = self.work();
        // What is remembered is kept in any case.
        self.stop();
        result
    }

    fn work(&mut self) -> Result<(), Error> {
        log::info!("wgroam {} started", env!("CARGO_PKG_VERSION"));
        let now = Instant::now();
        // The monitor has read all links by now, and epoll will not say so.
        self.tell_changes(now);
        self.take_links(now);
        self.look_at_everything(now);
        self.carry_out(now);
        let mut events = Events::with_capacity(32);
        while !self.stopping {
            let timeout = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(failed("epoll"))?,
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    TAP => self.listening.waiting = true,
                    ROUTES => self.take_links(now),
                    CLOCK => self.take_clock_step(now)?,
                    SIGNALS => self.take_signals(now)?,
                    NAMES => self.take_names(now),
                    ECHOES => self.take_echoes(now)?,
                    COPIES => self.copy(now),
                    token => {
                        let asked = self.control.handle(token);
                        self.answer(now, asked);
                    }
                }
                self.carry_out(now);
            }
            self.expire(now);
            self.carry_out(now);
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.listening.deadline(),
            self.copies.deadline(),
            self.engine.next_deadline(),
            self.routes.deadline(),
            self.control.deadline(),
            self.keeper.deadline(),
            self.asking.deadline(),
        ];
        deadlines.into_iter().fold(None, earlier)
    }

    fn expire(&mut self, now: Instant) {
        self.take_packets(now);
        if self.routes.deadline().is_some_and(|at| at <= now) {
            self.take_links(now);
        }
        match self.routes.settled(now) {
            Ok(changes) => {
                self.tell_changes(now);
                for change in changes {
                    self.engine.handle_event(now, Event::WanChanged(change));
                }
            }
            Err(error) => log::warn!("route events: {error}; asking again"),
        }
        if self.asking.deadline().is_some_and(|at| at <= now) {
            self.take_names(now);
        }
        self.copies.expire(now);
        self.engine.handle_timeout(now);
        let asked = self.control.expire(now);
        self.answer(now, asked);
        if self.keeper.deadline().is_some_and(|at| at <= now) {
            self.keeper.expire(now, &self.engine.memory());
        }
    }

    /// Asks the system again for all WireGuard interfaces, and has each looked at.
    fn look_at_everything(&mut self, now: Instant) {
        match self.wireguard.interfaces() {
            Ok(interfaces) => {
                for interface in interfaces {
                    self.engine.handle_event(now, Event::DeviceUp { interface });
                }
            }
            Err(error) => log::error!("the list of interfaces can't be read: {error}"),
        }
    }

    fn take_links(&mut self, now: Instant) {
        match self.routes.read(now) {
            Ok(events) => {
                for event in events {
                    let event = match event {
                        LinkEvent::Present { interface, .. } => Event::DeviceUp { interface },
                        LinkEvent::Gone { interface } => Event::DeviceGone { interface },
                    };
                    self.engine.handle_event(now, event);
                }
            }
            Err(error) => log::warn!("route events: {error}; asking again"),
        }
        self.tell_changes(now);
    }

    fn take_clock_step(&mut self, now: Instant) -> Result<(), Error> {
        if self.clock.stepped().map_err(failed("clock steps"))? {
            self.engine.handle_event(now, Event::ClockStepped { wall: wall() });
        }
        Ok(())
    }

    fn take_signals(&mut self, now: Instant) -> Result<(), Error> {
        while let Some(signal) = self.signals.next().map_err(failed("signals"))? {
            match signal {
                Signal::Terminate | Signal::Interrupt => self.stopping = true,
                Signal::Hangup => {
                    log::debug!("asked by a signal to look at everything again");
                    // What was wrong is in the log.
                    let _ = self.reload(now);
                }
                Signal::User1 => {
                    let text = render::status_text(&self.engine.status(now), now - self.started);
                    text.lines().for_each(|line| log::info!("{line}"));
                }
            }
        }
        Ok(())
    }

    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self, now: Instant) -> Result<(), String> {
        let loaded = config::read(&self.paths.config, self.paths.config_may_be_missing);
        let mut loaded = loaded.map_err(|error| {
            let text = format!("{error}\nnothing is changed: the running configuration stays");
            text.lines().for_each(|line| log::error!("{line}"));
            text
        })?;
        for warning in &loaded.warnings {
            log::warn!("{warning}");
        }
        if !loaded.config.globals.enabled {
            log::info!("switched off in {} (option enabled '0')", self.paths.config.display());
            self.stopping = true;
            return Ok(());
        }
        match loaded.network {
            Some(network) => self.network = network,
            None => {
                let config = self.engine.config();
                loaded.config.interfaces.clone_from(&config.interfaces);
                loaded.config.listen_ports.clone_from(&config.listen_ports);
                loaded.config.take_over(&self.network, &mut |_, _| {});
            }
        }
        if loaded.config != *self.engine.config() {
            loaded.notes.iter().for_each(|note| log::info!("{note}"));
            self.engine.reload(now, loaded.config);
            let globals = &self.engine.config().globals;
            logging::set_level(globals.log_level);
            self.routes.set_wan(globals.wan.clone());
            self.keeper.set_lasting(globals.persist.then(|| self.paths.state.clone()));
            log::info!("the configuration changed");
        }
        self.look_at_everything(now);
        self.engine.handle_event(now, Event::Command(Command::Retry));
        Ok(())
    }

    fn stop(mut self) {
        self.engine.stop();
        self.carry_out(Instant::now());
        self.remove_routes();
        self.keeper.stop(&self.engine.memory());
        log::info!("stopped");
    }
}

fn wall() -> WallTime {
    SystemTime::now().into()
}
