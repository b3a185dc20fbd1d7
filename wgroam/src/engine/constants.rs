// SPDX-License-Identifier: GPL-2.0-only
//! Every number the engine goes by: what it is, why it is that, where it comes from.

use std::ops::RangeInclusive;
use std::time::Duration;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

// What WireGuard does (whitepaper 6.1; Linux drivers/net/wireguard/messages.h). Not ours to choose.

/// WireGuard neither sends nor takes data with a session older than this (REJECT_AFTER_TIME).
pub const REJECT_AFTER: Duration = secs(180);

// Looking at devices.

/// From one look at a device that gives a reason to look, to the next. Roaming by data packets is noticed this late;
/// and it is the most that an idle daemon may wake up (one tick for all devices).
pub const SNAPSHOT_INTERVAL: Duration = secs(5);
/// The same for a device that gives no reason: no keepalive, no traffic, no event. One minute is late enough to cost
/// nothing, and soon enough for a status that is read by people. In whole [`SNAPSHOT_INTERVAL`]s.
pub const IDLE_TICKS: u32 = 12;
/// For how long after traffic or an event a device is looked at at the fast pace: the keepalive that most people set
/// is 25 s, so its silence of one round does not slow us down.
pub const FAST_FOR: Duration = secs(30);
/// Looks after a link event. The kernel tells of the link, but not of the `wg setconf` that follows it, which comes
/// after some ten milliseconds (wg-quick) up to a second or two (netifd on a slow router). Dense at first, so that a
/// peer without endpoint waits for 0.5 s at most.
pub const SETTLE: [Duration; 8] = [
    millis(100),
    millis(200),
    millis(400),
    millis(700),
    millis(1000),
    millis(1500),
    millis(2000),
    millis(3000),
];
/// An interface counts as just returned for this long: the last look of [`SETTLE`] and some slack for a slow reader.
pub const RETURN_WINDOW: Duration = secs(5);
/// Planned looks are rounded up to this, so that events that come together share one, and a burst of events plans a
/// bounded number. Half of [`LEARN_DELAY`], the shortest delay that matters.
pub const POLL_GRID: Duration = millis(50);
/// Between two looks at a device at the least, so that a burst of events that are urgent shares one.
pub const POLL_SPACING: Duration = millis(10);
/// Time that is given to a device for each of its peers before the next look: dumping 5,000 peers takes some
/// milliseconds, so at 100 us a peer (0.5 s for 5,000) looking takes a few percent of a CPU at the worst.
pub const POLL_PER_PEER: Duration = Duration::from_micros(100);
/// A snapshot that was not answered in this time is lost: a local dump takes milliseconds.
pub const ANSWER_LIMIT: Duration = secs(2);

// Initiations.

/// WireGuard gets this long to act on an initiation before we look whether it did. It takes one Curve25519 pass and a
/// work queue: 1 to 10 ms, even on a busy mips router.
pub const LEARN_DELAY: Duration = millis(100);
/// After this it is certain that WireGuard did not take it; well before the peer's next attempt (REKEY_TIMEOUT, 5 s).
pub const TAKE_LIMIT: Duration = millis(500);
/// An endpoint that WireGuard learned is put down to an initiation when that came no longer ago than this: one fast
/// look, and one spare.
pub const VERIFIED_FOR: Duration = secs(10);
/// A clock that is this far behind is behind. Less is a packet that overtook another.
pub const CLOCK_SLACK: Duration = secs(3);
/// Our own clock is wrong when it is earlier than the newest time that we remember by this much. A session is renewed
/// every two minutes, so that a smaller step back is over by the next handshake.
pub const OWN_CLOCK_SLACK: Duration = secs(60);
/// NotTaken: reports at once, and then one in [`NOT_TAKEN_REFILL`], for each device.
pub const NOT_TAKEN_BURST: u32 = 10;
/// See [`NOT_TAKEN_BURST`].
pub const NOT_TAKEN_REFILL: Duration = secs(10);

/// A snapshot proves that an initiation was taken only if the one before is younger than this: in ten seconds WireGuard
/// may have got three responses, whose bytes look like those of an initiation.
pub const TAKEN_WITHIN: Duration = secs(10);
/// ... and if it got less than this beside the initiation: a full packet of an odd MTU looks like anything.
pub const TAKEN_REST: u64 = 400;
/// The time of an initiation may differ from the time at which it is expected by so much: its way, and the steps in which
/// the kernel writes it. What was recorded earlier than that is not fresh.
pub const FRESH_SLACK: Duration = secs(3);
/// ... and by this part of the time that has passed since the last one that was taken: 250 ppm, for two clocks.
pub const CLOCK_DRIFT: u64 = 4096;

// Pokes and the endpoints that go before them.

/// From one poke to the repeats that insure it against loss: repeats 1 s and 3 s after the first. A keepalive has no
/// answer and no retransmission of its own; a new WAN loses its first packets (ARP, route, NAT) for about a second. The
/// first repeat comes in any case (`Repeat`).
pub const REPEAT_AFTER: [Duration; 2] = [secs(1), secs(2)];
/// The source address is only cleared within this time after the look that showed the endpoint: what WireGuard learned
/// since must not be overwritten. Before a poke that waits for its turn there is another look, unless a crowd waits.
pub const CLEAR_WITHIN: Duration = millis(100);
/// Between two pokes of one peer. A change of WAN comes as a burst of events (link, address, route) within some 100 ms.
pub const POKE_SPACING: Duration = millis(200);
/// One peer is poked at most this often in a row, ...
pub const POKE_BURST: u32 = 10;
/// ... and then once in this time, so that a flapping WAN makes no flood, and the last change still gets its poke
/// within a second.
pub const POKE_REFILL: Duration = secs(1);
/// Peers that are poked within one [`PACE_TICK`]: 2,500 a second, so 5,000 peers take 2 s. Each is two netlink
/// entries and 32 to 148 bytes on the wire; more would fill the queues of a small uplink.
pub const PACE_POKES: u32 = 50;
/// See [`PACE_POKES`].
pub const PACE_TICK: Duration = millis(20);
/// How often a remembered endpoint is set when the peer still shows none. Once is enough, unless `wg setconf` comes in
/// between; what fails thrice is refused for a reason.
pub const SEEDS: u8 = 3;

/// A keepalive, and a packet of data at the least (an IP header, padded), as WireGuard counts them.
pub const KEEPALIVE_BYTES: u64 = 32;
/// Data packets come in steps of this, but for those that fill the MTU.
pub const DATA_STEP: u64 = 16;
/// An initiation. No sum of data packets, which come in steps of 16, comes to one or two of these.
pub const INITIATION_BYTES: u64 = 148;
/// Its answer.
pub const RESPONSE_BYTES: u64 = 92;
/// An endpoint that was set on an initiation is taken back when nothing comes from there for so long: the peer would have
/// called again.
pub const MOVED_FOR: Duration = secs(6);

/// The ports that the kernel chooses from where none is set (net.ipv4.ip_local_port_range).
pub const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
/// Those of them that people set up for WireGuard: the usual one, and its neighbours for more tunnels.
pub const CONVENTIONAL: RangeInclusive<u16> = 51_820..=51_829;

// Silence, and what is done about it (peer/silence.rs, peer/recovery.rs).

/// A new initiation to a peer may go out this long after the last one (messages.h: REKEY_TIMEOUT). Not ours to choose.
pub const REKEY_TIMEOUT: Duration = secs(5);
/// Late calls are answered this often. The first answer may be lost to REKEY_TIMEOUT, as WireGuard has just sent something else of a
/// handshake; so each repetition of the call, 5 s later or a bit less as we see it, gets one.
pub const LATE_SPACING: Duration = secs(4);
/// WireGuard repeats one after REKEY_TIMEOUT and up to a third of a second more; and this much slack.
pub const REKEY_WINDOW: Duration = millis(5500);
/// WireGuard answers data with a keepalive after this time when it has nothing else to say (messages.h:
/// KEEPALIVE_TIMEOUT, 10 s); and a second for the way. Later silence is proof.
pub const DEAD: Duration = secs(11);
/// Silence after which another source port is tried, where nobody relies on the one of now. Less than proof: a session that
/// works after all goes on at the new port.
pub const PORT_AFTER: Duration = secs(9);
/// With a target for probes, data that is unanswered for so long is worth one.
pub const PROBE_AFTER: Duration = millis(1500);
/// While the LAN is refused and a session lasts, we send data in its place, this often: the first that is answered shows
/// that the way is open again.
pub const WAKE_INTERVAL: Duration = millis(250);
/// WireGuard makes one initiation in [`REKEY_TIMEOUT`], and up to a third of a second later. Who wants the next one to go
/// elsewhere has to be there just before that. Counted from the last snapshot that did not show the one before.
pub const SLOT: Duration = millis(4850);
/// Elsewhere only for so long after something was sent there. A later answer is not lost: see [`TRIED_AFTER`].
pub const TRIAL_ANSWER: Duration = millis(500);
/// Elsewhere for so long at the most without having sent anything that tells: with its answer that stays within the two
/// seconds by which we may be worse than nothing. A poke more comes after a part of it.
pub const TRIAL_MAX: Duration = millis(1500);
/// See [`TRIAL_MAX`].
pub const TRIAL_POKE: Duration = millis(700);
/// WireGuard's initiation goes elsewhere, too, if it leaves within this time: after the slot there is the rest of
/// REKEY_TIMEOUT and its jitter, and one more may be what a poke asks for.
pub const COPY_FOR: Duration = secs(6);
/// An initiation of ours left within this time: the next one will, too.
pub const COPIED_AFTER: Duration = secs(11);
/// Addresses that one initiation goes to besides; the others have the next one.
pub const COPIES: usize = 4;
/// So often in a round a trial is repeated in which nothing went out.
pub const UNSENT_MAX: u8 = 2;
/// From one snapshot to the next while elsewhere.
pub const TRIAL_INTERVAL: Duration = millis(200);
/// The same while our WAN changed lately ([`WAN_RECENT`]): that the path is another one weighs as much as half the time.
pub const DEAD_AFTER_WAN: Duration = secs(6);
/// See [`DEAD_AFTER_WAN`].
pub const WAN_RECENT: Duration = secs(30);
/// From here on the endpoint stays where it is: 15 s after the first data that is not answered WireGuard starts a handshake, and
/// it must not leave while another address is being tried, which takes up to 2 s. What is tried from here on gets a copy of
/// that initiation.
pub const CALLS_FROM: Duration = secs(13);
/// Data that is not answered for so long makes WireGuard start a handshake (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT and its
/// jitter). From then on only handshakes tell, and those come every 5 s.
pub const HANDSHAKE_AFTER: Duration = millis(15_400);
/// Something was sent that has to be answered, and nothing came for this long: the first steps, which harm nothing.
pub const SILENCE: Duration = secs(5);
/// A tunnel in which data flows one way only is answered every 10 s, by a keepalive. One that turned out to be like
/// that is only called silent at [`DEAD`], for this long.
pub const ONE_WAY_FOR: Duration = secs(600);
/// Sending began no earlier than this before the look that shows it. Also from one look to the next while data flows
/// to a dialed peer; without data nothing is looked at oftener than before.
pub const DATA_INTERVAL: Duration = secs(2);
/// From one look to the next while a peer is silent.
pub const WATCH_INTERVAL: Duration = millis(500);
/// After a change of our WAN a dialed peer is watched like that for so long, then it counts as idle.
pub const WAN_WATCH: Duration = secs(10);
/// From one of the first steps (poke, clear the source, probe) to the next: longer than any round trip on Earth.
pub const STEP: Duration = secs(1);
/// A WAN change was answered by a poke already; the next step comes after this.
pub const WAN_STEP: Duration = millis(300);
/// An endpoint was tried when something was sent there and this time passed. A late answer is not lost: WireGuard takes
/// it, and goes back to where it came from.
pub const TRIED_AFTER: Duration = millis(1000);
/// Without anything that would have to be answered it is left after this.
pub const TRY_LIMIT: Duration = secs(5);
/// A probe without reply is lost after this.
pub const PROBE_TIMEOUT: Duration = secs(1);
/// So many in a row are proof, if the target has answered before.
pub const PROBES_DEAD: u32 = 3;
/// Recoveries in a row that a lost probe began and something else than a reply ended: then the target does not answer, though
/// the peer does. One may be a reply that was lost.
pub const DOUBTS: u32 = 2;
/// For so long probes to such a target count for nothing, unless one is answered.
pub const MUTE_FOR: Duration = secs(600);
/// An echo request of ours to an IPv6 address, as WireGuard counts it: 40 + 36 bytes, padded to 80, and 32 of its own. One to
/// an IPv4 address has less.
pub const PROBE_BYTES: u64 = 112;
/// Probes that may be unanswered at a time.
pub const PROBES_OPEN: usize = 4;
/// A peer that was added again is tried at each address for a second, one initiation each, where WireGuard alone makes one
/// in 5 s. Not for longer than this in one silence.
pub const QUICK_FOR: Duration = secs(120);
/// When all was tried in vain, the rest is this part of the time that the peer is silent, a second at least: ...
pub const REST_PART: u64 = 64;
/// ... 1 s after a minute, 2 s after two, and a minute at most. Any event starts it all anew.
pub const BACKOFF_MAX: Duration = secs(60);
/// See [`REST_PART`].
pub const REST_MIN: Duration = secs(1);
/// While a peer is silent its names are asked for again after the same part of that time, but not oftener than this.
pub const RESOLVE_AGAIN: Duration = secs(2);
/// A name that fails is asked for again this part of the time that it fails for after the last question, ...
pub const NAME_BACKOFF: u64 = 48;
/// ... a second at least and [`BACKOFF_MAX`] at most. So a name server that comes back after a minute is noticed
/// within 2 s, which doubling (1, 2, 4 ... 32, 60 s) can't do, and one that is away for a day gets a question a minute.
pub const NAME_RETRY: Duration = secs(1);
/// From one question for a name to the next.
pub const NAME_SPACING: Duration = secs(1);
/// A question that has no answer after this is lost: the adapter's own deadline is shorter.
pub const NAME_LOST: Duration = secs(30);
/// Last good endpoints that are kept for each dialed peer, one for each WAN.
pub const GOOD_MAX: usize = 4;
/// Steps that are kept for the status.
pub const STEPS_KEPT: usize = 16;

// Routes of our own (routes.rs).

/// What an earlier run left behind is judged after this time: by then devices were looked at, and a route that is needed
/// did not have to go and come.
pub const ADOPT_FOR: Duration = secs(2);
/// A tunnel that never worked, or whose session is over, gets this long to answer before the LAN is refused: two round
/// trips on a bad day. With a session it gets [`HANDSHAKE_AFTER`]: until then what the LAN sends is what tells of each
/// address whether it answers, and later only handshakes tell.
pub const REFUSE_AFTER: Duration = secs(2);
/// A peer that calls is coming back, and if its handshake is lost only data of the LAN's leads to ours: after
/// KEEPALIVE_TIMEOUT + REKEY_TIMEOUT and its jitter. So the LAN is not refused for this long.
pub const CALLED_FOR: Duration = secs(20);
/// Somebody who removes our routes gets them back this soon, and not sooner.
pub const ROUTES_SPACING: Duration = millis(300);
/// While a peer is silent the routes are looked at again after the same part of that time as the names
/// ([`REST_PART`]), but not oftener than this: who sets up a tunnel adds routes after the link is up.
pub const ROUTES_AGAIN: Duration = secs(1);

// Memory and bounds.

/// From one [`super::Action::Remember`] to the next when an endpoint changed; the first comes at once. When only
/// timestamps and confirmations changed it comes on the next tick, up to [`SNAPSHOT_INTERVAL`] later. A crash in between
/// loses that much; a peer that moves on every packet writes the state file once a second.
pub const REMEMBER_SPACING: Duration = secs(1);
/// A remembered endpoint's time of confirmation is renewed this often; it is for people and for "which is older".
pub const CONFIRM_STEP: Duration = secs(600);
/// Remembered peers at most; the one that was confirmed longest ago goes first. Four times the 5,000 peers that one anchor has to carry.
pub const MEMORY_MAX: usize = 20_000;
/// Room for actions that is kept when there are none: a tick of pokes has 150.
pub const ACTIONS_KEPT: usize = 256;
/// Moves that are kept for each peer.
pub const HISTORY: usize = 16;
/// What is known of a peer outlives its absence by this long: `wg setconf` on a re-created interface comes later.
pub const ABSENT_FOR: Duration = secs(600);
/// Absent peers that are kept for each device, at most.
pub const ABSENT_MAX: usize = 1024;
/// An interface that is gone, and that no configuration names, is shown for this long: as long as a peer that is absent is
/// known. Whoever makes one anew mostly does so at once.
pub const GONE_FOR: Duration = ABSENT_FOR;
/// Interfaces that are gone and still known, at most; the one that is gone longest goes first.
pub const GONE_MAX: usize = 16;

// Strangers. Shares, so that what is cheap to fake can't push out what is not; together 32.

/// Packets for another key, by source address: anybody can send those.
pub const STRANGERS_WRONG_KEY: usize = 6;
/// Claimed keys that no peer has: takes our public key to make.
pub const STRANGERS_UNKNOWN: usize = 12;
/// Peers in whose name somebody failed: takes both public keys to make.
pub const STRANGERS_FORGED: usize = 7;
/// Peers whose initiations came again: takes a recording.
pub const STRANGERS_REPLAY: usize = 7;
/// An entry may be replaced when nothing came for this long. WireGuard's own retry comes every 5 s, so somebody who
/// really wants in stays.
pub const STRANGER_IDLE: Duration = secs(60);
/// Reports of strangers: this many at once, ...
pub const STRANGER_BURST: u32 = 3;
/// ... then one in this time, over all devices.
pub const STRANGER_REFILL: Duration = secs(20);
