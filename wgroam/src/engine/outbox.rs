// SPDX-License-Identifier: GPL-2.0-only
//! What devices and peers want done: actions for the outside, pokes that wait for their turn, and notes about what others
//! in the engine keep.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::constants::ACTIONS_KEPT;
use super::peer::{PeerId, PokeQueue};
use super::{Action, Report};
use crate::initiation::Timestamp;
use crate::model::{Interface, WallTime};

/// Something that the engine takes down once a device is done with.
#[derive(Debug)]
pub(super) enum Note {
    /// WireGuard took the initiation that bore this timestamp.
    Taken(PeerId, Timestamp),
    /// Authenticated traffic came from there, at this time.
    Confirmed(PeerId, SocketAddr, WallTime),
    /// The same of a candidate, by this WAN.
    Good(PeerId, Interface, SocketAddr),
    /// A peer took a handshake of ours that is older than what is remembered of it: that clock of ours ran ahead.
    ClockRanAhead(WallTime),
    /// An answer of now is wanted for this name.
    Name(String),
    /// A route of ours may be needed or needless by now.
    Routes,
}

/// Filled by devices and peers, emptied by the engine.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    actions: VecDeque<Action>,
    notes: Vec<Note>,
    pub pokes: PokeQueue,
    /// Of the last probe.
    token: u16,
}

impl Outbox {
    #[inline(never)]
    pub fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub fn extend(&mut self, action: Option<Action>) {
        if let Some(action) = action {
            self.push(action);
        }
    }

    pub fn report(&mut self, report: Report) {
        self.push(Action::Report(report));
    }

    #[inline(never)]
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub fn extend_notes(&mut self, note: Option<Note>) {
        if let Some(note) = note {
            self.note(note);
        }
    }

    /// Sends an echo request; returns the token of its reply.
    pub fn probe(&mut self, id: PeerId, target: IpAddr) -> u16 {
        self.token = self.token.wrapping_add(1);
        self.push(Action::Probe { interface: id.interface, peer: id.key, target, token: self.token });
        self.token
    }

    pub fn pop(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // A crowd that moved at once leaves room for thousands.
            if self.actions.capacity() > ACTIONS_KEPT {
                self.actions = VecDeque::new();
            }
        }
        action
    }

    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}
