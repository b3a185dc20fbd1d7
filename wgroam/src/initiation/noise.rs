// SPDX-License-Identifier: GPL-2.0-only
//! The primitives under the names of the whitepaper (section 5.4): Hash, Mac, Hmac, Kdf, Aead, DH. What comes out
//! of a secret is [`Zeroizing`].

use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use blake2::{Blake2s256, Blake2sMac};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305};
use subtle::ConstantTimeEq;
use x25519_dalek::{StaticSecret, X25519_BASEPOINT_BYTES};
use zeroize::Zeroizing;

/// The block of BLAKE2s, which HMAC pads its key to (RFC 2104 section 2).
const BLOCK: usize = 64;
/// The tag of ChaCha20Poly1305 at the end of a sealed field.
const TAG: usize = 16;

/// A secret that came out of DH or Kdf.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// Hash(parts): BLAKE2s-256 of the concatenation.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::default();
    parts.iter().for_each(|part| state.update(part));
    state.finalize_fixed().into()
}

/// Mac(key, input): keyed BLAKE2s-128.
pub(super) fn mac(key: &[u8; 32], input: &[u8]) -> [u8; 16] {
    let mut state = Blake2sMac::<U16>::new(key.into());
    state.update(input);
    state.finalize_fixed().into()
}

/// Hmac(key, parts): HMAC-BLAKE2s-256 of the concatenation.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    let mut inner = Zeroizing::new([0x36; BLOCK]);
    let mut outer = Zeroizing::new([0x5c; BLOCK]);
    for (index, byte) in key.iter().enumerate() {
        inner[index] ^= byte;
        outer[index] ^= byte;
    }
    let mut state = Blake2s256::default();
    state.update(&*inner);
    parts.iter().for_each(|part| state.update(part));
    let digest: Secret = Zeroizing::new(state.finalize_fixed().into());
    Zeroizing::new(hash(&[&*outer, &*digest]))
}

/// Kdf1(key, input).
pub(super) fn kdf1(key: &[u8; 32], input: &[u8; 32]) -> Secret {
    // t0 := Hmac(key, input); t1 := Hmac(t0, 0x1)
    hmac(&hmac(key, &[input]), &[&[1]])
}

/// Kdf2(key, input).
pub(super) fn kdf2(key: &[u8; 32], input: &[u8; 32]) -> (Secret, Secret) {
    // t0 := Hmac(key, input); t1 := Hmac(t0, 0x1); t2 := Hmac(t0, t1 || 0x2)
    let t0 = hmac(key, &[input]);
    let t1 = hmac(&t0, &[&[1]]);
    let t2 = hmac(&t0, &[&*t1, &[2]]);
    (t1, t2)
}

/// DH(private, public), or nothing when `public` is one of the few points that give zero whatever the private key
/// is. The kernel refuses those too (noise.c: mix_dh, which believes curve25519()'s result).
pub(super) fn dh(private: &[u8; 32], public: &[u8; 32]) -> Option<Secret> {
    let shared = StaticSecret::from(*private).diffie_hellman(&(*public).into());
    shared.was_contributory().then(|| Zeroizing::new(*shared.as_bytes()))
}

/// The public key of a private one, by the same ladder as [`dh`]: x25519-dalek's own way goes over the Edwards curve,
/// which nothing else here needs and which is 3 KB of code on MIPS.
pub(super) fn public(private: &[u8; 32]) -> [u8; 32] {
    StaticSecret::from(*private).diffie_hellman(&X25519_BASEPOINT_BYTES.into()).to_bytes()
}

/// The other way round of Aead(key, 0, plain text, authenticated): the `N` bytes of plain text in `sealed`, which is
/// `N` + 16 bytes long; nothing when the tag is wrong.
pub(super) fn open<const N: usize>(
    key: &[u8; 32],
    sealed: &[u8],
    authenticated: &[u8; 32],
) -> Option<[u8; N]> {
    let (text, tag) = sealed.split_at_checked(N)?;
    let tag: &[u8; TAG] = tag.try_into().ok()?;
    let mut plain: [u8; N] = text.try_into().ok()?;
    // The counter is zero in an initiation: every key seals one field.
    ChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(&[0; 12].into(), authenticated, plain.as_mut_slice().into(), tag.into())
        .ok()?;
    Some(plain)
}

/// Are they the same? Takes the same time whatever they differ in, so that nobody can find a MAC byte by byte.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
    }

    /// RFC 7693 appendix B.
    #[test]
    fn hash_is_blake2s_256() {
        let expected = bytes("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hash(&[b"a", b"", b"bc"]), expected);
    }

    /// RFC 7748 section 6.1: Bob's private key, Alice's public key, their secret.
    #[test]
    fn dh_is_x25519() {
        let bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let alice = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared: [u8; 32] = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(dh(&bob, &alice).as_deref(), Some(&shared));
        let bobs = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(public(&bob), bobs);
    }

    #[test]
    fn dh_with_a_low_order_point_gives_nothing() {
        let one: [u8; 32] = std::array::from_fn(|index| u8::from(index == 0));
        // The third: order 8 (RFC 7748 names the class; the value is from cr.yp.to/ecdh.html).
        let eighth = bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for public in [[0; 32], one, eighth] {
            assert_eq!(dh(&[0x42; 32], &public), None);
        }
    }
}
