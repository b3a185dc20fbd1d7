// SPDX-License-Identifier: GPL-2.0-only
//! The verifier: one per interface, because one private key per interface.

use std::fmt;
use std::mem;

use zeroize::Zeroizing;

use super::noise::{Secret, dh, hash, kdf1, kdf2, mac, open, public, same};
use super::{INITIATION_LENGTH, Timestamp, Verdict};
use crate::model::{PrivateKey, PublicKey, wipe_stack};
use crate::sorted::SortedMap;

/// Whitepaper 5.4: Construction.
const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// Whitepaper 5.4: Identifier.
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Whitepaper 5.4: Label-Mac1.
const LABEL_MAC1: &[u8] = b"mac1----";

/// The fields of an initiation (whitepaper 5.4.2), cut out of a packet of the right length.
struct Fields<'a> {
    type_and_reserved: &'a [u8; 4],
    ephemeral: &'a [u8; 32],
    sealed_static: &'a [u8; 48],
    sealed_timestamp: &'a [u8; 28],
    /// All that mac1 covers.
    before_mac1: &'a [u8],
    mac1: &'a [u8; 16],
}

impl<'a> Fields<'a> {
    /// None when the length is not that of an initiation.
    fn cut(packet: &'a [u8]) -> Option<Self> {
        let packet: &[u8; INITIATION_LENGTH] = packet.try_into().ok()?;
        let (type_and_reserved, rest) = packet.split_first_chunk()?;
        // The sender's index means something to the initiator only.
        let (_sender, rest) = rest.split_first_chunk::<4>()?;
        let (ephemeral, rest) = rest.split_first_chunk()?;
        let (sealed_static, rest) = rest.split_first_chunk()?;
        let (sealed_timestamp, rest) = rest.split_first_chunk()?;
        // mac2 is keyed with a cookie that only the kernel knows: nobody else can check it.
        let (mac1, _mac2) = rest.split_first_chunk()?;
        let before_mac1 = &packet[..INITIATION_LENGTH - rest.len()];
        Some(Self { type_and_reserved, ephemeral, sealed_static, sealed_timestamp, before_mac1, mac1 })
    }
}

/// What is known of a configured peer.
#[derive(Default)]
struct Known {
    /// DH(our private key, its public key), from the first initiation that needs it until the peer goes. Boxed, so that
    /// a map that grows moves a pointer and leaves no copy behind.
    static_static: Option<Box<Secret>>,
    /// The newest time proven to us. It starts at zero as the kernel's does, so a label of zeros is never taken.
    newest: Timestamp,
}

/// The responder of one interface: its private key and its peers.
///
/// Memory grows with the configured peers only, and with no packet.
pub struct Responder {
    /// Boxed for the same reason as a peer's secret.
    private: Box<Secret>,
    public: PublicKey,
    /// Hash(Label-Mac1 || S_r^pub). Follows from the public key; not a secret.
    mac1_key: [u8; 32],
    /// C_i before the first message.
    initial_chaining_key: [u8; 32],
    /// H_i with our public key mixed in.
    initial_hash: [u8; 32],
    peers: SortedMap<PublicKey, Known>,
}

impl Responder {
    /// A responder with no peers yet. Keeps a copy of the private key, wiped when it is dropped.
    pub fn new(private: &PrivateKey) -> Self {
        let public = PublicKey::from(private);
        let mut copy = Box::new(Zeroizing::new([0; 32]));
        copy.copy_from_slice(private.bytes());
        // C_i := Hash(Construction)
        let initial_chaining_key = hash(&[CONSTRUCTION]);
        // H_i := Hash(C_i || Identifier)
        let initial_hash = hash(&[&initial_chaining_key, IDENTIFIER]);
        // H_i := Hash(H_i || S_r^pub)
        let initial_hash = hash(&[&initial_hash, &public.0]);
        Self {
            private: copy,
            public,
            mac1_key: hash(&[LABEL_MAC1, &public.0]),
            initial_chaining_key,
            initial_hash,
            peers: SortedMap::new(),
        }
    }

    /// The interface's own public key.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// From now on these are the peers. One that stays keeps its newest time; of one that goes everything is
    /// forgotten and wiped, as the kernel does when it removes a peer.
    pub fn set_peers(&mut self, peers: impl Iterator<Item = PublicKey>) {
        let mut before = mem::take(&mut self.peers);
        for peer in peers {
            // A peer that is listed twice is no longer in `before` the second time: keep what is there then.
            let known = before.remove(&peer);
            self.peers.get_or_insert_with(peer, || known.unwrap_or_default());
        }
    }

    /// Nothing of `peer` up to `newest` is fresh any more. Never lowers it; a key that is no peer is ignored.
    pub fn remember(&mut self, peer: &PublicKey, newest: Timestamp) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.newest = known.newest.max(newest);
        }
    }

    /// The newest time that `peer` proved or [`Responder::remember`] was told; none for a stranger or a peer that was
    /// never heard.
    pub fn newest(&self, peer: &PublicKey) -> Option<Timestamp> {
        self.peers.get(peer).map(|known| known.newest).filter(|newest| *newest != Timestamp::default())
    }

    /// The checks that cost one hash: length, type, reserved bytes, mac1. They prove nothing, since our public key
    /// is enough to pass them; they are for throwing out noise before it costs a DH.
    ///
    /// # Errors
    /// [`Verdict::Malformed`] or [`Verdict::WrongKey`], which [`Responder::verify`] would then give too.
    pub fn precheck(&self, packet: &[u8]) -> Result<(), Verdict> {
        self.checked_fields(packet).map(|_| ())
    }

    fn checked_fields<'a>(&self, packet: &'a [u8]) -> Result<Fields<'a>, Verdict> {
        let fields = Fields::cut(packet).ok_or(Verdict::Malformed)?;
        // msg.type := 1; msg.reserved := 0^3
        if *fields.type_and_reserved != [1, 0, 0, 0] {
            return Err(Verdict::Malformed);
        }
        // msg.mac1 := Mac(Hash(Label-Mac1 || S_r^pub), msg_alpha)
        if !same(&mac(&self.mac1_key, fields.before_mac1), fields.mac1) {
            return Err(Verdict::WrongKey);
        }
        Ok(fields)
    }

    /// What does this UDP payload prove? An authentic one raises the peer's newest time, so the same packet is a
    /// replay the second time. At most two DH, one of them only for a peer's first.
    pub fn verify(&mut self, packet: &[u8]) -> Verdict {
        let verdict = self.try_verify(packet).unwrap_or_else(|refusal| refusal);
        if !matches!(verdict, Verdict::Malformed | Verdict::WrongKey) {
            wipe_stack();
        }
        verdict
    }

    /// Not inlined, so that all it leaves on the stack is below [`Responder::verify`].
    #[inline(never)]
    fn try_verify(&mut self, packet: &[u8]) -> Result<Verdict, Verdict> {
        let message = self.checked_fields(packet)?;

        // C_i := Kdf1(C_i, E_i^pub)
        let chaining_key = kdf1(&self.initial_chaining_key, message.ephemeral);
        // H_i := Hash(H_i || msg.ephemeral)
        let transcript = hash(&[&self.initial_hash, message.ephemeral]);
        // (C_i, k) := Kdf2(C_i, DH(E_i^priv, S_r^pub))
        let ephemeral_static =
            dh(&self.private, message.ephemeral).ok_or(Verdict::Forged { claimed: None })?;
        let (chaining_key, key) = kdf2(&chaining_key, &ephemeral_static);
        // msg.static := Aead(k, 0, S_i^pub, H_i)
        let claimed =
            open(&key, message.sealed_static, &transcript).ok_or(Verdict::Forged { claimed: None })?;
        // H_i := Hash(H_i || msg.static)
        let transcript = hash(&[&transcript, message.sealed_static]);

        // So far anybody who knows both public keys gets. No further DH for a stranger: there is nothing to prove.
        let claimed = PublicKey(claimed);
        let known = self.peers.get_mut(&claimed).ok_or(Verdict::UnknownPeer { claimed })?;
        let forged = Verdict::Forged { claimed: Some(claimed) };

        // (C_i, k) := Kdf2(C_i, DH(S_i^priv, S_r^pub))
        let (_, key) = kdf2(&chaining_key, known.static_static(&self.private, &claimed).ok_or(forged)?);
        // msg.timestamp := Aead(k, 0, Timestamp(), H_i)
        let timestamp = Timestamp(open(&key, message.sealed_timestamp, &transcript).ok_or(forged)?);

        // Only the peer (or we) can have made it. Is it fresh? (noise.c: replay_attack)
        if timestamp <= known.newest {
            let behind = known.newest.since(&timestamp);
            return Ok(Verdict::Replay { peer: claimed, timestamp, behind });
        }
        known.newest = timestamp;
        Ok(Verdict::Authentic { peer: claimed, timestamp })
    }
}

impl Known {
    /// The DH with this peer's static key, computed at most once. None if the configured key is a low-order point,
    /// with which nobody can prove anything; that is not cached, since it costs the misconfigured only.
    fn static_static(&mut self, private: &[u8; 32], public: &PublicKey) -> Option<&[u8; 32]> {
        if self.static_static.is_none() {
            let mut secret = Box::new(Zeroizing::new([0; 32]));
            secret.copy_from_slice(&*dh(private, &public.0)?);
            self.static_static = Some(secret);
        }
        self.static_static.as_ref().map(|secret| &***secret)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Responder")
            .field("public", &self.public)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl From<&PrivateKey> for PublicKey {
    fn from(private: &PrivateKey) -> Self {
        PublicKey(public(private.bytes()))
    }
}
