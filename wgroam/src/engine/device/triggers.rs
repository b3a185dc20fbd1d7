// SPDX-License-Identifier: GPL-2.0-only
//! What happened that concerns all peers of a device, and is acted on with the next snapshot.

use super::super::Reason;
use super::super::instant::Instant;
use super::super::peer::{Peer, Poll};

/// What waits for a snapshot.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiting {
    /// How often the device came back, and until when that counts as just now.
    pub returns: u32,
    pub returned_until: Option<Instant>,
    /// Our WAN changed, then.
    pub wan_changed: Option<Instant>,
    /// Who has no session is to try anew, since then: the clock was set, or the owner has everything polled again.
    pub afresh: Option<(Instant, Reason)>,
    /// The owner wants all peers poked, since then.
    pub command: Option<Instant>,
}

/// What is acted on with this snapshot.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Triggers {
    pub returns: u32,
    pub returned: bool,
    pub wan_changed: bool,
    pub afresh: Option<Reason>,
    pub command: bool,
}

impl Waiting {
    /// Those that came before the snapshot was asked for. While the link is down they wait: nothing can be sent.
    pub fn take(&mut self, poll: &Poll) -> Triggers {
        let due = |since: &mut Instant| poll.up && *since <= poll.asked;
        Triggers {
            returns: self.returns,
            returned: self.returned_until.is_some_and(|until| poll.now <= until),
            wan_changed: self.wan_changed.take_if(due).is_some(),
            afresh: self.afresh.take_if(|(since, _)| due(since)).map(|(_, reason)| reason),
            command: self.command.take_if(due).is_some(),
        }
    }

    /// The device is gone: nobody waits any more.
    pub fn clear(&mut self) {
        (self.wan_changed, self.afresh, self.command) = (None, None, None);
    }
}

impl Triggers {
    /// The same, and what was asked of this one peer.
    pub fn of(&self, peer: &mut Peer, poll: &Poll) -> Self {
        let asked = peer.poke_wanted.take_if(|wanted| poll.up && *wanted <= poll.asked).is_some();
        Self { command: self.command || asked, ..*self }
    }
}
