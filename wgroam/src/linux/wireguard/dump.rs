// SPDX-License-Identifier: GPL-2.0-only
//! Reads the kernel's description of a WireGuard device (WG_CMD_GET_DEVICE). Pure, and in any byte order.
//!
//! Layout: include/uapi/linux/wireguard.h. The private key goes straight from the receive buffer, which is wiped,
//! into a [`PrivateKey`]; preshared keys are not touched (see `readd` for when they are).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::super::netlink::wire::{Bytes, Malformed};
use super::super::route::message::Link;
use crate::model::{Device, Peer, PrivateKey, PublicKey, WallTime};

pub(super) const WGDEVICE_A_IFINDEX: u16 = 1;
const WGDEVICE_A_PRIVATE_KEY: u16 = 3;
const WGDEVICE_A_PUBLIC_KEY: u16 = 4;
pub(super) const WGDEVICE_A_LISTEN_PORT: u16 = 6;
const WGDEVICE_A_FWMARK: u16 = 7;
pub(super) const WGDEVICE_A_PEERS: u16 = 8;

pub(super) const WGPEER_A_PUBLIC_KEY: u16 = 1;
pub(super) const WGPEER_A_FLAGS: u16 = 3;
pub(super) const WGPEER_A_ENDPOINT: u16 = 4;
pub(super) const WGPEER_A_KEEPALIVE: u16 = 5;
const WGPEER_A_LAST_HANDSHAKE: u16 = 6;
const WGPEER_A_RX_BYTES: u16 = 7;
const WGPEER_A_TX_BYTES: u16 = 8;

/// Bytes of struct genlmsghdr, which precedes the attributes.
pub const GENL_HEADER: usize = 4;

/// A device while its dump is read: the kernel may spread it over many messages.
pub struct Dump {
    device: Device,
    private_key: Option<PrivateKey>,
}

impl Dump {
    /// Nothing read yet.
    pub fn new(link: &Link) -> Self {
        let device = Device {
            interface: link.interface,
            ifindex: link.ifindex,
            up: link.up,
            public_key: None,
            listen_port: 0,
            fwmark: 0,
            peers: Vec::new(),
        };
        Self { device, private_key: None }
    }

    /// Reads one message of the dump, as it is behind struct nlmsghdr.
    pub fn message(&mut self, payload: Bytes) -> Result<(), Malformed> {
        for attribute in payload.from(GENL_HEADER).attributes() {
            let attribute = attribute?;
            let value = attribute.value;
            match attribute.kind {
                WGDEVICE_A_PRIVATE_KEY => self.private_key = Some(PrivateKey::new(value.array(0)?)),
                WGDEVICE_A_PUBLIC_KEY => self.device.public_key = Some(PublicKey(*value.array(0)?)),
                WGDEVICE_A_LISTEN_PORT => self.device.listen_port = value.u16(0)?,
                WGDEVICE_A_FWMARK => self.device.fwmark = value.u32(0)?,
                WGDEVICE_A_PEERS => {
                    for entry in value.attributes() {
                        self.peer(entry?.value)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A peer whose allowed IPs fill a message goes on in the next one, with nothing but its key and more of them.
    fn peer(&mut self, entry: Bytes) -> Result<(), Malformed> {
        let key = entry.attributes().find(WGPEER_A_PUBLIC_KEY).ok_or(Malformed("a peer without a key"))?;
        let public_key = PublicKey(*key.array(0)?);
        if self.device.peers.last().is_some_and(|last| last.public_key == public_key) {
            return Ok(());
        }
        let mut peer = Peer::new(public_key);
        for attribute in entry.attributes() {
            let attribute = attribute?;
            peer_attribute(&mut peer, attribute.kind, attribute.value)?;
        }
        self.device.peers.push(peer);
        Ok(())
    }

    /// What was read.
    pub fn finish(self) -> (Device, Option<PrivateKey>) {
        (self.device, self.private_key)
    }
}

/// One attribute of a peer; those that make up no [`Peer`] are passed over.
pub(super) fn peer_attribute(peer: &mut Peer, kind: u16, value: Bytes) -> Result<(), Malformed> {
    match kind {
        WGPEER_A_ENDPOINT => peer.endpoint = endpoint(value)?,
        WGPEER_A_KEEPALIVE => peer.keepalive = value.u16(0)?,
        WGPEER_A_LAST_HANDSHAKE => peer.last_handshake = time(value)?,
        WGPEER_A_RX_BYTES => peer.rx_bytes = value.u64(0)?,
        WGPEER_A_TX_BYTES => peer.tx_bytes = value.u64(0)?,
        _ => {}
    }
    Ok(())
}

/// struct sockaddr_in or sockaddr_in6. Family and scope are in the machine's byte order, port and flow label in the
/// network's.
fn endpoint(value: Bytes) -> Result<Option<SocketAddr>, Malformed> {
    let port = || value.array(2).map(|port| u16::from_be_bytes(*port));
    Ok(match i32::from(value.u16(0)?) {
        libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(*value.array::<4>(4)?), port()?).into()),
        libc::AF_INET6 => {
            let flow = u32::from_be_bytes(*value.array(4)?);
            let ip = Ipv6Addr::from(*value.array::<16>(8)?);
            Some(SocketAddrV6::new(ip, port()?, flow, value.u32(24)?).into())
        }
        _ => None,
    })
}

/// The struct sockaddr_in or sockaddr_in6 of an endpoint, in this machine's byte order.
pub(in crate::linux) fn sockaddr(endpoint: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    match endpoint {
        SocketAddr::V4(v4) => {
            bytes.extend_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes.extend_from_slice(&v4.port().to_be_bytes());
            bytes.extend_from_slice(&v4.ip().octets());
            bytes.extend_from_slice(&[0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes.extend_from_slice(&v6.port().to_be_bytes());
            bytes.extend_from_slice(&v6.flowinfo().to_be_bytes());
            bytes.extend_from_slice(&v6.ip().octets());
            bytes.extend_from_slice(&v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// struct __kernel_timespec: two signed 64-bit numbers, zero for never.
fn time(value: Bytes) -> Result<Option<WallTime>, Malformed> {
    let seconds = value.u64(0)?;
    let nanos = value.u64(8)?;
    if (seconds, nanos) == (0, 0) {
        return Ok(None);
    }
    // The kernel keeps nanoseconds below a second; a clock before 1970 is shown as 1970.
    Ok(Some(WallTime { seconds: (seconds as i64).max(0) as u64, nanos: nanos.min(999_999_999) as u32 }))
}

#[cfg(test)]
mod tests {
    use super::super::super::netlink::wire::Endian;
    use super::*;

    #[test]
    fn an_endpoint_reads_back_as_it_was_written() {
        for text in ["203.0.113.2:51820", "[2001:db8::1]:443", "[fe80::1%7]:51820"] {
            let address: SocketAddr = text.parse().unwrap();
            let bytes = sockaddr(address);
            assert_eq!(endpoint(Bytes::new(&bytes, Endian::NATIVE)), Ok(Some(address)), "{text}");
        }
    }
}
