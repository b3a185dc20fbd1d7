// SPDX-License-Identifier: GPL-2.0-only
//! What is known, made into a [`Status`].

use super::constants::GONE_FOR;
use super::device::Device;
use super::instant::Instant;
use super::peer::Peer;
use super::{CandidateStatus, DeviceStatus, DialStatus, Engine, PeerStatus, Problem, Status};
use crate::config;
use crate::model::Interface;

impl Engine {
    /// All that is known at `now`: interfaces by name, peers by key. Those that the configuration names are there even
    /// while they do not exist.
    pub fn status(&self, now: std::time::Instant) -> Status {
        let now = self.moment(now);
        let mut devices = Vec::new();
        for device in self.devices.values().filter(|device| self.shows(device, now)) {
            devices.push(self.device_status(now, device));
        }
        let missing = self.settings.named().filter(|name| !self.devices.contains_key(name));
        for name in missing {
            let place = devices.iter().take_while(|device| device.interface < name).count();
            devices.insert(place, missing_status(name));
        }
        Status { clock_behind: self.clock_behind, devices }
    }

    /// Not one that is gone for long and that nobody expects back. Should it return, it is known all the same.
    fn shows(&self, device: &Device, now: Instant) -> bool {
        let interface = device.interface;
        self.settings.watches(interface)
            && (device.gone.is_none_or(|since| now < since + GONE_FOR) || self.settings.expects(interface))
    }

    fn device_status(&self, now: Instant, device: &Device) -> DeviceStatus {
        let mut peers = Vec::new();
        for peer in device.present_peers() {
            peers.push(self.peer_status(now, peer));
        }
        DeviceStatus {
            interface: device.interface,
            present: device.present(),
            up: device.present() && device.up,
            public_key: device.public_key,
            listen_port: device.listen_port,
            routes: self.routes.of(device.interface),
            peers,
            strangers: device.strangers.list(now),
            strangers_forgotten: device.strangers.forgotten,
        }
    }

    fn peer_status(&self, now: Instant, peer: &Peer) -> PeerStatus {
        let (contact, seen) = (&peer.contact, &peer.contact.seen);
        let age = |then: Instant| now.saturating_duration_since(then);
        PeerStatus {
            public_key: seen.public_key,
            name: self.settings.peer(peer.id).map(|section| section.name.clone()),
            endpoint: seen.endpoint,
            reason: contact.reason,
            endpoint_age: seen.endpoint.map(|_| age(contact.since)),
            last_handshake: seen.last_handshake,
            handshake_age: contact.handshake_age(now),
            alive: contact.alive(now),
            rx_bytes: seen.rx_bytes,
            tx_bytes: seen.tx_bytes,
            keepalive: seen.keepalive,
            moves: contact.moves,
            history: contact.history(now),
            dial: self.dial_status(now, peer),
            problems: self.problems(now, peer),
        }
    }

    fn dial_status(&self, now: Instant, peer: &Peer) -> Option<DialStatus> {
        let section = self.settings.dialed(peer.id)?;
        let dialed = peer.dialed.as_ref()?;
        let age = |then: Instant| now.saturating_duration_since(then);
        let candidate = |candidate: &config::Candidate| {
            let (addresses, error) = self.names.lookup(&candidate.host);
            let (host, error) = (candidate.host.clone(), error.map(ToString::to_string));
            CandidateStatus { host, port: candidate.port, addresses, error }
        };
        let mut candidates = Vec::new();
        for one in &section.endpoints {
            candidates.push(candidate(one));
        }
        let mut steps = Vec::new();
        for &(when, step) in dialed.steps.iter().rev() {
            steps.push((age(when), step));
        }
        Some(DialStatus {
            silent: dialed.silent().map(|(evidence, since)| (evidence, age(since))),
            candidates,
            steps,
            round_trip: dialed.round_trip(),
        })
    }

    fn problems(&self, now: Instant, peer: &Peer) -> Vec<Problem> {
        let age = |then: Instant| now.saturating_duration_since(then);
        let mut problems = Vec::new();
        if let Some(n) = peer.calls.not_taken {
            problems.push(Problem::NotTaken { source: n.source, up: n.up, age: age(n.at) });
        }
        if let Some((behind, at)) = peer.calls.clock_behind {
            problems.push(Problem::ClockBehind { behind, age: age(at) });
        }
        let mute = peer.dialed.as_ref().is_some_and(|dialed| dialed.is_mute(now));
        let section = self.settings.dialed(peer.id).filter(|_| mute);
        if let Some(target) = section.and_then(|section| section.probe) {
            problems.push(Problem::ProbeMute { target });
        }
        problems
    }
}

fn missing_status(interface: Interface) -> DeviceStatus {
    DeviceStatus {
        interface,
        present: false,
        up: false,
        public_key: None,
        listen_port: 0,
        routes: Vec::new(),
        peers: Vec::new(),
        strangers: Vec::new(),
        strangers_forgotten: 0,
    }
}
