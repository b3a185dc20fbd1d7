// SPDX-License-Identifier: GPL-2.0-only
//! Makes handshake initiations with snow, an implementation that shares no code with ours. Honest ones, and the
//! forgeries that somebody who knows both public keys can make. Used by the tests, the bench and the attack tool.

#![allow(dead_code)] // Nobody uses all of it.
#![allow(clippy::unwrap_used)] // Not a test by itself, but made for tests: a panic is what they want.

use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use blake2::{Blake2s256, Blake2sMac};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error};

pub const LENGTH: usize = 148;
/// The first byte behind what mac1 covers.
pub const MAC1: usize = 116;

/// Who sends an initiation to whom. Keys are as WireGuard has them, 32 bytes.
#[derive(Clone)]
pub struct Initiator {
    pub private: [u8; 32],
    pub server: [u8; 32],
    pub psk: [u8; 32],
    /// The static key to put into the message in place of the one that `private` belongs to: a forgery.
    pub claims: Option<[u8; 32]>,
    /// Sends an ephemeral key of zeros, with which es is zero, known to everybody.
    pub weak_ephemeral: bool,
}

impl Initiator {
    pub fn new(private: [u8; 32], server: [u8; 32]) -> Self {
        Self { private, server, psk: [0; 32], claims: None, weak_ephemeral: false }
    }

    /// A forgery that anybody can make who knows both public keys: es is right, ss is not.
    pub fn claiming(claimed: [u8; 32], server: [u8; 32]) -> Self {
        Self { claims: Some(claimed), ..Self::new([0x77; 32], server) }
    }

    /// An initiation with a fresh ephemeral key, the right mac1 and no mac2.
    pub fn initiation(&self, timestamp: [u8; 12]) -> [u8; LENGTH] {
        let pattern = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
        let resolver = Box::new(Claiming(self.clone()));
        let mut noise = Builder::with_resolver(pattern, resolver)
            .prologue(b"WireGuard v1 zx2c4 Jason@zx2c4.com")
            .and_then(|builder| builder.local_private_key(&self.private))
            .and_then(|builder| builder.remote_public_key(&self.server))
            .and_then(|builder| builder.psk(2, &self.psk))
            .and_then(Builder::build_initiator)
            .unwrap();
        let mut packet = [0; LENGTH];
        packet[0] = 1;
        packet[4..8].copy_from_slice(b"\x2a\x00\xfe\xca");
        let written = noise.write_message(&timestamp, &mut packet[8..]).unwrap();
        assert_eq!(written, MAC1 - 8);
        sign(&mut packet, &self.server);
        packet
    }
}

/// Writes the mac1 that the owner of `server` expects: Mac(Hash(Label-Mac1 || S_r^pub), msg_alpha).
pub fn sign(packet: &mut [u8; LENGTH], server: &[u8; 32]) {
    let key = Blake2s256::default().chain(b"mac1----").chain(server).finalize_fixed();
    let mac = Blake2sMac::<U16>::new(&key).chain(&packet[..MAC1]).finalize_fixed();
    packet[MAC1..MAC1 + 16].copy_from_slice(&mac);
}

/// The public key of a private one, by snow.
pub fn public(private: &[u8; 32]) -> [u8; 32] {
    let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
    dh.set(private);
    dh.pubkey().try_into().unwrap()
}

/// DH of the two, by snow.
pub fn shared(private: &[u8; 32], public: &[u8; 32]) -> [u8; 32] {
    let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
    let mut shared = [0; 32];
    dh.set(private);
    dh.dh(public, &mut shared).unwrap();
    shared
}

/// The TAI64N label of `seconds` and `nanos` after 1970.
pub fn label(seconds: u64, nanos: u32) -> [u8; 12] {
    let mut label = [0; 12];
    label[..8].copy_from_slice(&(seconds + (1 << 62) + 10).to_be_bytes());
    label[8..].copy_from_slice(&nanos.to_be_bytes());
    label
}

/// Random bytes that are the same in every run (splitmix64, public domain).
pub struct Noise(pub u64);

impl Noise {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Noise that looks like an initiation and has the mac1 that `server` expects.
    pub fn signed_garbage(&mut self, server: &[u8; 32]) -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        self.fill(&mut packet);
        packet[..4].copy_from_slice(&[1, 0, 0, 0]);
        sign(&mut packet, server);
        packet
    }
}

/// snow's own primitives, but for keys that show themselves as another public key.
struct Claiming(Initiator);

struct ClaimingDh {
    dh: Box<dyn Dh>,
    initiator: Initiator,
    claims: Option<[u8; 32]>,
}

impl CryptoResolver for Claiming {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let dh = DefaultResolver.resolve_dh(choice)?;
        Some(Box::new(ClaimingDh { dh, initiator: self.0.clone(), claims: None }))
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Dh for ClaimingDh {
    fn name(&self) -> &'static str {
        self.dh.name()
    }
    fn pub_len(&self) -> usize {
        self.dh.pub_len()
    }
    fn priv_len(&self) -> usize {
        self.dh.priv_len()
    }
    /// snow sets the static key and generates the ephemeral one, which tells them apart.
    fn set(&mut self, private: &[u8]) {
        self.claims = self.initiator.claims;
        self.dh.set(private);
    }
    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        self.claims = self.initiator.weak_ephemeral.then_some([0; 32]);
        self.dh.generate(rng)
    }
    fn pubkey(&self) -> &[u8] {
        match &self.claims {
            Some(claimed) => claimed,
            None => self.dh.pubkey(),
        }
    }
    fn privkey(&self) -> &[u8] {
        self.dh.privkey()
    }
    /// With a public key of zeros the secret is zero on both sides.
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.dh.dh(public, out)?;
        if self.claims == Some([0; 32]) {
            out.fill(0);
        }
        Ok(())
    }
}
