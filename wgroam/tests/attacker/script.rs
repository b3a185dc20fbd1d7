// SPDX-License-Identifier: GPL-2.0-only
//! What a play consists of. All of it is drawn before it begins, so that it can be played with wgroam and without.

use std::time::Duration;

/// The end that waits for calls, and the end that travels.
pub const ANCHOR: usize = 0;
pub const ROAMER: usize = 1;

/// How one end has the other in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// No daemon on this end.
    NoDaemon,
    /// Nothing is configured: the peer is awaited.
    Awaited,
    /// By an address: the one that the peer had at first.
    ByAddress,
    /// By a name that says where the peer is now.
    ByName,
}

/// An initiation that the roamer made long before the play.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// How long ago, in seconds.
    pub age: u64,
    /// How far the roamer's clock was ahead then, in seconds.
    pub ahead: u64,
    /// From the roamer's address of the play's beginning, or from another one?
    pub from_here: bool,
    /// So many more followed, each so many seconds later: retries after 5 s, sessions after 120 s.
    pub series: (u64, u64),
}

/// What a firewall lets in to WireGuard. The tap sees what comes in anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    Open,
    /// Only what answers something that was sent to the same address.
    Stateful,
    /// No initiation.
    NoInitiations,
}

/// How well the daemon sees initiations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    Sees,
    /// Up to 20 ms late: it rests after packets that prove nothing.
    Rests,
    /// A flood: most are lost, others come up to 3 s late.
    Flooded,
    Blind,
}

/// What happens to the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    /// The link goes down and up: the keys are gone.
    Flap(usize),
    /// The interface is created anew: WireGuard forgets all it knew.
    Recreate(usize),
    /// The owner removes the peer and adds it again, with its endpoint or without one.
    Anew(usize, bool),
    /// Somebody sends data of that many bytes, as WireGuard counts them.
    Send(usize, u64),
    /// The roamer has another address from now on.
    Moves,
    /// The roamer's clock is off by so many seconds from now on.
    Clock(i64),
    Firewall(usize, Firewall),
    Tap(Tap),
    /// The roamer's packets get lost on the last bit of their way; the attacker sees them.
    Unheard(bool),
    DaemonStops(usize),
    /// With what its state file says, or without.
    DaemonStarts(usize, bool),
    /// The owner says where the roamer is.
    OwnerSets,
    /// `wgroam poke`
    Poke(usize),
    WanChanged(usize),
}

/// Which of the recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The next younger one: each is new to whoever saw none since.
    Next,
    /// Any initiation.
    Any(u64),
    /// The one that was seen last.
    Last,
    /// A response, or data.
    Other(u64),
}

/// The source address of what the attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Own,
    /// Where the peer is.
    Present,
    /// Where the peer was.
    Earlier(u64),
    /// The victim's own address.
    Victims,
    /// From where it came when it was recorded.
    Same,
}

/// A packet of the attacker's.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    pub victim: usize,
    pub which: Which,
    pub source: Source,
}

/// Whenever the attacker sees such a packet, he sends one.
#[derive(Clone, Copy, Debug)]
pub struct Reflex {
    pub on: Seen,
    pub after: Duration,
    pub shot: Shot,
    /// So often at most.
    pub times: u32,
}

/// A kind of packet, and who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Initiation(usize),
    Response(usize),
    Data(usize),
}

/// One step of a play.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Happens(Happens),
    Shot(Shot),
    /// He plays his recordings of the anchor's from the nth on, as far apart as they were made: the first ones, so many, with
    /// one source, the others with another.
    Tape {
        nth: u64,
        first: usize,
        sources: [Source; 2],
    },
    /// Each recording at the moment that it says it was made, if that is still to come.
    Due(Source),
    Nothing,
    /// From here on his reflexes work.
    AttackBegins,
    /// Nothing of his comes any more; both ends send.
    AttackEnds,
}

/// A play.
#[derive(Clone, Debug)]
pub struct Script {
    pub sections: [Section; 2],
    /// May the daemon add its peer anew (`option readd`)?
    pub readd: bool,
    pub keepalive: [u16; 2],
    /// What the anchor's owner configured as the roamer's endpoint.
    pub anchor_knows: bool,
    /// The attacker's packets overtake those that he copies.
    pub quick: bool,
    /// Datagrams in a thousand that get lost.
    pub loss: u64,
    pub old: Vec<Old>,
    pub reflexes: Vec<Reflex>,
    /// Each with the time since the one before.
    pub steps: Vec<(Duration, Step)>,
}
