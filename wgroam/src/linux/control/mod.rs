// SPDX-License-Identifier: GPL-2.0-only
//! The control socket: requests of the command line in, answers and events out. What a request means is not known
//! here.
//!
//! A connection carries one request, a line of at most 256 bytes, and its answer: a first line with the exit code
//! ([`header`]), then the body, until the daemon closes. Nobody can block the daemon or grow it: a client has 5 s to
//! ask, 10 s without progress to read, a watcher may lag 256 KB behind, and 16 clients are served at once, of which
//! the one that has idled longest gives way to a new one.

mod bind;
mod client;
mod connect;
mod frame;

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use log::{debug, warn};
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use super::clock::earlier;
use client::{Client, MAX_LAG, Progress, Stage};
pub use client::{MAX_REQUEST, REQUEST_TIME, STALL_TIME};
pub use connect::{Answer, ConnectError, ask, connect};
pub use frame::{header, read_header};

/// The socket's name in the daemon's runtime folder.
pub const SOCKET: &str = "control.sock";
/// Clients served at once.
pub const MAX_CLIENTS: usize = 16;
/// Answers of all clients together, in bytes: four times the status of 5,000 peers. Beyond it the slowest reader goes.
const MAX_QUEUED: usize = 8 * 1024 * 1024;
/// Connections taken in one go, so that a flood leaves time for the daemon's work.
const ACCEPT_BURST: usize = 64;
/// A caller connects and then asks: for so long it is not pushed out between the two, and new ones wait.
const ASK_GRACE: Duration = Duration::from_millis(50);
/// So long nobody new is taken when no client can give way, or the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One connection. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    slot: usize,
    serial: u32,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whom to answer. An answer is owed: [`Control::reply`].
    pub client: ClientId,
    /// The line, without its end: text with no control characters.
    pub line: String,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays open: more is to come.
    Keep,
    /// It is closed when everything is written.
    Close,
}

/// How a watcher wants its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Rendering {
    Text,
    Json,
}

/// The server. Its socket is removed on drop.
pub struct Control {
    listener: UnixListener,
    _name: bind::Name,
    slots: [Option<(u32, Client)>; MAX_CLIENTS],
    serial: u32,
    poll: Option<(Registry, Token)>,
    /// Connections may wait that epoll will not report again.
    accept_at: Option<Instant>,
}

impl Control {
    /// Tokens that it takes, from its base token on.
    pub const TOKENS: usize = 1 + MAX_CLIENTS;

    /// Listens at `path`, mode 0660. Makes the folder (0750) if it is missing, and replaces what a dead daemon left.
    ///
    /// # Errors
    /// AddrInUse: a daemon answers there. AlreadyExists: the path is no socket. Others as the system gives them, all
    /// with the path in their text.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (listener, name): (StdUnixListener, _) = bind::listen(path).map_err(|error| {
            io::Error::new(error.kind(), format!("can't listen at {}: {error}", path.display()))
        })?;
        Ok(Self {
            listener: UnixListener::from_std(listener),
            _name: name,
            slots: Default::default(),
            serial: 0,
            poll: None,
            accept_at: None,
        })
    }

    /// Joins the loop with [`Control::TOKENS`] tokens from `base` on.
    pub fn register(&mut self, registry: &Registry, base: Token) -> io::Result<()> {
        registry.register(&mut self.listener, base, Interest::READABLE)?;
        self.poll = Some((registry.try_clone()?, base));
        Ok(())
    }

    /// Does what a ready token asks for, and returns the requests that are complete.
    pub fn handle(&mut self, token: Token) -> Vec<Request> {
        let mut requests = Vec::new();
        let Some(index) = self.poll.as_ref().and_then(|(_, base)| token.0.checked_sub(base.0)) else {
            return requests;
        };
        let now = Instant::now();
        match index.checked_sub(1) {
            None => self.accept(now, &mut requests),
            Some(slot) => {
                self.read(slot, now, &mut requests);
                self.flush(slot, now);
            }
        }
        requests
    }

    /// Queues an answer; an empty one with [`Then::Close`] only closes. Nothing happens when the client is gone.
    pub fn reply(&mut self, client: ClientId, bytes: Vec<u8>, then: Then) {
        if self.get(client).is_none() {
            return;
        }
        self.make_room(client.slot, bytes.len());
        let Some(to) = self.get(client) else { return };
        to.push(bytes);
        if to.stage == Stage::Waiting {
            to.stage = Stage::Answered;
        }
        if then == Then::Close {
            to.finish();
        }
        let now = Instant::now();
        // Its time to read starts with the answer.
        to.since = now;
        self.flush(client.slot, now);
    }

    /// From now on the client gets every [`Control::broadcast`].
    pub fn subscribe(&mut self, client: ClientId, rendering: Rendering) {
        if let Some(to) = self.get(client) {
            to.stage = Stage::Watching(rendering);
        }
    }

    /// Is anybody subscribed? If not, nothing needs to be rendered.
    pub fn has_watchers(&self) -> bool {
        self.slots.iter().flatten().any(|(_, client)| matches!(client.stage, Stage::Watching(_)))
    }

    /// Sends an event to all who are subscribed: whole lines, in both renderings. A watcher that has not read the last
    /// 256 KB is disconnected.
    pub fn broadcast(&mut self, text: &[u8], json: &[u8]) {
        let now = Instant::now();
        for slot in 0..MAX_CLIENTS {
            let Some((_, client)) = &mut self.slots[slot] else { continue };
            let Stage::Watching(rendering) = client.stage else { continue };
            if client.queued() == 0 {
                client.since = now;
            }
            client.push(if rendering == Rendering::Text { text } else { json }.to_vec());
            self.flush(slot, now);
            if let Some((_, client)) = &self.slots[slot]
                && client.queued() > MAX_LAG
            {
                let pid = client.pid();
                warn!("control: process {pid} has not read {} KB of events: disconnected", MAX_LAG / 1024);
                self.remove(slot);
            }
        }
    }

    /// When [`Control::expire`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.slots.iter().flatten().map(|(_, client)| client.deadline());
        clients.fold(self.accept_at, earlier)
    }

    /// Drops clients that took too long, and takes connections that had to wait.
    pub fn expire(&mut self, now: Instant) -> Vec<Request> {
        let mut requests = Vec::new();
        for slot in 0..MAX_CLIENTS {
            let Some((_, client)) = &mut self.slots[slot] else { continue };
            if client.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            if client.stage == Stage::Asking {
                client.refuse(&format!("no request came within {} s", REQUEST_TIME.as_secs()));
                self.flush(slot, now);
            } else {
                debug!("control: process {} does not read its answer: disconnected", client.pid());
            }
            self.remove(slot);
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept(now, &mut requests);
        }
        requests
    }

    fn get(&mut self, id: ClientId) -> Option<&mut Client> {
        match &mut self.slots[id.slot] {
            Some((serial, client)) if *serial == id.serial => Some(client),
            _ => None,
        }
    }

    fn accept(&mut self, now: Instant, requests: &mut Vec<Request>) {
        self.accept_at = None;
        for _ in 0..ACCEPT_BURST {
            if self.place(now).is_none() {
                self.accept_at = Some(now + ACCEPT_PAUSE);
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream, now, requests),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!("control: can't take a connection: {error}");
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.accept_at = Some(now);
    }

    fn add(&mut self, mut stream: UnixStream, now: Instant, requests: &mut Vec<Request>) {
        // All asked just now: it is closed without an answer, and may try again.
        let Some(slot) = self.make_place(now, requests) else { return };
        let Some((registry, base)) = &self.poll else { return };
        if let Err(error) = registry.register(&mut stream, Token(base.0 + 1 + slot), Interest::READABLE) {
            debug!("control: can't wait for a client: {error}");
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        self.slots[slot] = Some((self.serial, Client::new(stream, now)));
        // The request is there already, more often than not.
        self.read(slot, now, requests);
        self.flush(slot, now);
    }

    /// A free slot, or the client that gives way to a new one: rather one that has not asked yet than one that reads
    /// its answer, rather that than a watcher, and of these the one that has idled longest. `None`: all wait for an
    /// answer, or may be about to ask.
    fn place(&self, now: Instant) -> Option<usize> {
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            return Some(free);
        }
        let (rank, since, slot) = self.first(&|_, client| match client.stage {
            Stage::Asking => Some(0),
            Stage::Answered => Some(1),
            Stage::Watching(_) => Some(2),
            Stage::Waiting => None,
        })?;
        (rank != 0 || since + ASK_GRACE <= now).then_some(slot)
    }

    /// Of the clients of the lowest rank the one that has idled longest: its rank, since when, and its slot. None of those that
    /// have no rank.
    fn first(&self, rank: &dyn Fn(usize, &Client) -> Option<u8>) -> Option<(u8, Instant, usize)> {
        let mut first: Option<(u8, Instant, usize)> = None;
        for (slot, entry) in self.slots.iter().enumerate() {
            let Some((_, client)) = entry else { continue };
            let Some(rank) = rank(slot, client) else { continue };
            let found = (rank, client.since, slot);
            if first.is_none_or(|first| found < first) {
                first = Some(found);
            }
        }
        first
    }

    /// Frees a slot if need be. A client whose request has just arrived stays.
    fn make_place(&mut self, now: Instant, requests: &mut Vec<Request>) -> Option<usize> {
        loop {
            let slot = self.place(now)?;
            self.read(slot, now, requests);
            if self.slots[slot].as_ref().is_some_and(|(_, client)| client.stage == Stage::Waiting) {
                continue;
            }
            self.remove(slot);
            return Some(slot);
        }
    }

    fn read(&mut self, slot: usize, now: Instant, requests: &mut Vec<Request>) {
        let Some(Some((serial, client))) = self.slots.get_mut(slot) else { return };
        match client.read(now) {
            Progress::Nothing => {}
            Progress::Request(line) => {
                requests.push(Request { client: ClientId { slot, serial: *serial }, line });
                // Its end may have come along with it, and is not reported again. What it asked for is done.
                if client.read(now) == Progress::Gone {
                    self.remove(slot);
                }
            }
            Progress::Gone => self.remove(slot),
        }
    }

    /// Writes what can be written, and has epoll report when more can: only as long as there is more.
    fn flush(&mut self, slot: usize, now: Instant) {
        let Some(Some((_, client))) = self.slots.get_mut(slot) else { return };
        let outcome = client.flush(now);
        let wants_write = client.queued() > 0;
        if outcome == Progress::Gone {
            self.remove(slot);
        } else if wants_write != client.wants_write
            && let Some((registry, base)) = &self.poll
        {
            client.wants_write = wants_write;
            let interest =
                if wants_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if registry.reregister(&mut client.stream, Token(base.0 + 1 + slot), interest).is_err() {
                self.remove(slot);
            }
        }
    }

    /// Disconnects the slowest readers until an answer of `length` bytes fits into [`MAX_QUEUED`].
    fn make_room(&mut self, for_slot: usize, length: usize) {
        loop {
            let queued = self.slots.iter().flatten().map(|(_, client)| client.queued()).sum::<usize>();
            let slow = |slot, client: &Client| (slot != for_slot && client.queued() > 0).then_some(0);
            match self.first(&slow) {
                Some((.., slot)) if queued + length > MAX_QUEUED => self.remove(slot),
                _ => return,
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some((_, mut client)) = self.slots[slot].take()
            && let Some((registry, _)) = &self.poll
        {
            // Closing would do it, too.
            let _ = registry.deregister(&mut client.stream);
        }
    }
}
