// SPDX-License-Identifier: GPL-2.0-only
//! What makes up a peer besides its key: what has to be kept when it is removed and added again. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use super::super::netlink::wire::{Bytes, Malformed, Request};
use super::dump::{GENL_HEADER, WGDEVICE_A_PEERS, WGPEER_A_PUBLIC_KEY, peer_attribute};
use crate::model::{Peer, PublicKey};

const WGPEER_A_PRESHARED_KEY: u16 = 2;
const WGPEER_A_ALLOWEDIPS: u16 = 9;

const WGALLOWEDIP_A_FAMILY: u16 = 1;
const WGALLOWEDIP_A_IPADDR: u16 = 2;
const WGALLOWEDIP_A_CIDR_MASK: u16 = 3;

/// A preshared key: wiped when dropped; boxed, so that handing it on leaves no copy on the stack.
type PresharedKey = Box<Zeroizing<[u8; 32]>>;

/// What is kept of a peer.
pub struct Kept {
    pub peer: Peer,
    /// Is there such a peer at all?
    pub found: bool,
    /// None: none was set, or one of zeroes, which is the same.
    pub preshared_key: Option<PresharedKey>,
    /// Networks and their prefix lengths.
    pub allowed_ips: Vec<(IpAddr, u8)>,
}

impl Kept {
    pub fn new(peer: &PublicKey) -> Self {
        Self { peer: Peer::new(*peer), found: false, preshared_key: None, allowed_ips: Vec::new() }
    }

    /// Takes a preshared key over.
    pub fn set_preshared_key(&mut self, bytes: &[u8; 32]) {
        if bytes.iter().any(|&byte| byte != 0) {
            self.preshared_key.insert(Box::default()).copy_from_slice(bytes);
        }
    }

    /// Bytes of the attributes that [`Kept::write`] writes.
    pub fn size(&self) -> usize {
        let allowed: usize = self.allowed_ips.iter().map(|(ip, _)| if ip.is_ipv4() { 28 } else { 40 }).sum();
        4 + 32 + 4 + allowed
    }

    /// Reads what one message of a device's dump says about the peer.
    pub fn message(&mut self, payload: Bytes) -> Result<(), Malformed> {
        for attribute in payload.from(GENL_HEADER).attributes() {
            let attribute = attribute?;
            if attribute.kind != WGDEVICE_A_PEERS {
                continue;
            }
            for entry in attribute.value.attributes() {
                let entry = entry?.value;
                let key = entry.attributes().find(WGPEER_A_PUBLIC_KEY);
                if key.ok_or(Malformed("a peer without a key"))?.array(0)? == &self.peer.public_key.0 {
                    self.entry(entry)?;
                    self.found = true;
                }
            }
        }
        Ok(())
    }

    /// A peer whose allowed IPs fill a message goes on in the next one, with its key and more of them.
    fn entry(&mut self, entry: Bytes) -> Result<(), Malformed> {
        for attribute in entry.attributes() {
            let attribute = attribute?;
            let value = attribute.value;
            match attribute.kind {
                WGPEER_A_PRESHARED_KEY => self.set_preshared_key(value.array(0)?),
                WGPEER_A_ALLOWEDIPS => {
                    for allowed in value.attributes() {
                        self.allowed_ips.push(allowed_ip(allowed?.value)?);
                    }
                }
                kind => peer_attribute(&mut self.peer, kind, value)?,
            }
        }
        Ok(())
    }

    /// Adds preshared key and allowed IPs to a request. Endpoint and keepalive are left to the caller.
    pub fn write(&self, request: &mut Request) {
        if let Some(key) = &self.preshared_key {
            request.attribute(WGPEER_A_PRESHARED_KEY, &key[..]);
        }
        request.nested(WGPEER_A_ALLOWEDIPS, &mut |request| {
            for (ip, length) in &self.allowed_ips {
                request.nested(0, &mut |request| {
                    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
                    request.attribute(WGALLOWEDIP_A_FAMILY, &(family as u16).to_ne_bytes());
                    match ip {
                        IpAddr::V4(ip) => request.attribute(WGALLOWEDIP_A_IPADDR, &ip.octets()),
                        IpAddr::V6(ip) => request.attribute(WGALLOWEDIP_A_IPADDR, &ip.octets()),
                    }
                    request.attribute(WGALLOWEDIP_A_CIDR_MASK, &[*length]);
                });
            }
        });
    }
}

fn allowed_ip(entry: Bytes) -> Result<(IpAddr, u8), Malformed> {
    let find = |kind| entry.attributes().find(kind).ok_or(Malformed("an allowed IP is incomplete"));
    let address = find(WGALLOWEDIP_A_IPADDR)?;
    let ip = match i32::from(find(WGALLOWEDIP_A_FAMILY)?.u16(0)?) {
        libc::AF_INET => Ipv4Addr::from(*address.array::<4>(0)?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*address.array::<16>(0)?).into(),
        _ => return Err(Malformed("an allowed IP of an unknown family")),
    };
    Ok((ip, find(WGALLOWEDIP_A_CIDR_MASK)?.u8(0)?))
}

#[cfg(test)]
mod tests {
    use super::super::super::netlink::wire::{Endian, Messages};
    use super::*;

    /// A peer that the kernel spreads over two messages, between two others.
    #[test]
    fn a_peer_reads_back_as_it_was_written_and_others_do_not_mix_in() {
        let key = |n| PublicKey([n; 32]);
        let mut kept = Kept::new(&key(0));
        kept.set_preshared_key(&[7; 32]);
        kept.allowed_ips = vec![("10.0.0.0".parse().unwrap(), 8), ("fd00::".parse().unwrap(), 64)];
        let message = |kept: &Kept, keys: &[u8]| {
            let mut request = Request::new(0, 0, &[0; GENL_HEADER]);
            request.nested(WGDEVICE_A_PEERS, &mut |request| {
                for key in keys {
                    request.nested(0, &mut |request| {
                        request.attribute(WGPEER_A_PUBLIC_KEY, &[*key; 32]);
                        let before = request.len();
                        kept.write(request);
                        assert!(request.len() - before <= kept.size());
                    });
                }
            });
            request.finish(0)
        };
        let first = message(&kept, &[1, 2]);
        let more = Kept { allowed_ips: vec![("fd01::1".parse().unwrap(), 128)], ..Kept::new(&key(0)) };
        let second = message(&more, &[2, 3]);
        let mut read = Kept::new(&key(2));
        for bytes in [&first, &second] {
            let message = Messages::new(bytes, Endian::NATIVE).next().unwrap().unwrap();
            read.message(message.payload).unwrap();
            let mut nobody = Kept::new(&key(4));
            nobody.message(message.payload).unwrap();
            assert!(!nobody.found && nobody.allowed_ips.is_empty());
        }
        assert!(read.found);
        assert_eq!(read.preshared_key.unwrap()[..], [7; 32]);
        assert_eq!(read.allowed_ips, [&kept.allowed_ips[..], &more.allowed_ips].concat());
    }
}
