// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's WireGuard, over generic netlink.

use std::net::SocketAddr;

use nix::sys::socket::SockProtocol;

use super::super::netlink::wire::{Bytes, Malformed, Request};
use super::super::netlink::{Failure, Socket};
use super::super::route::message::Link;
use super::dump::{
    Dump, GENL_HEADER, WGDEVICE_A_IFINDEX, WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_PEERS, WGPEER_A_ENDPOINT,
    WGPEER_A_FLAGS, WGPEER_A_KEEPALIVE, WGPEER_A_PUBLIC_KEY, sockaddr,
};
use super::readd::Kept;
use super::{Backend, Error};
use crate::model::{Device, PrivateKey, PublicKey};

const WG_GENL_VERSION: u8 = 1;
const WG_CMD_GET_DEVICE: u8 = 0;
const WG_CMD_SET_DEVICE: u8 = 1;
const WGPEER_F_REMOVE_ME: u32 = 1 << 0;
const WGPEER_F_REPLACE_ALLOWEDIPS: u32 = 1 << 1;
/// Leave a peer that is not there alone.
const WGPEER_F_UPDATE_ONLY: u32 = 1 << 2;

/// A dump that something changes under is asked for again, so often. A dump of 5,000 peers takes milliseconds; only
/// somebody who changes the device in a loop gets past this.
const ATTEMPTS: u32 = 5;

/// All peers of a message are one attribute, whose length is a number of 16 bits. The rest is for the entries that need
/// no more than a key, an endpoint and a few numbers each.
const MAX_KEPT: usize = u16::MAX as usize - 1024;

/// Any keepalive will do to go on from 0 for a moment; this is the usual one.
const SOME_KEEPALIVE: u16 = 25;

/// The kernel's WireGuard. Opens its socket and asks for the family's number with the first use.
#[derive(Default)]
pub struct Kernel {
    open: Option<(Socket, u16)>,
}

impl Kernel {
    /// Asks, and once more with a fresh family number when the kernel no longer knows the old one: the module was
    /// loaded anew.
    fn ask(
        &mut self,
        link: &Link,
        query: &mut dyn FnMut(&mut Socket, u16) -> Result<(), Failure>,
    ) -> Result<(), Error> {
        let fresh = self.open.is_none();
        let mut asked = self.ask_once(query);
        if !fresh && asked.as_ref().is_err_and(|failure| failure.errno() == Some(libc::ENOENT)) {
            self.open = None;
            asked = self.ask_once(query);
        }
        asked.map_err(|failure| Error::from_failure(link.interface, failure))
    }

    fn ask_once(
        &mut self,
        query: &mut dyn FnMut(&mut Socket, u16) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut socket, family) = match self.open.take() {
            Some(open) => open,
            None => open()?,
        };
        let asked = query(&mut socket, family);
        self.open = Some((socket, family));
        asked
    }

    /// Reads the whole device. `each` gets None at the beginning, and each time that something changed meanwhile and it
    /// begins anew.
    fn dump(
        &mut self,
        link: &Link,
        each: &mut dyn FnMut(Option<Bytes>) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        let mut attempt = 0;
        self.ask(link, &mut |socket, family| {
            loop {
                each(None)?;
                let mut request = command(family, WG_CMD_GET_DEVICE, libc::NLM_F_DUMP);
                request.attribute(WGDEVICE_A_IFINDEX, &link.ifindex.to_ne_bytes());
                match socket.ask(request, &mut |message| each(Some(message.payload))) {
                    Err(Failure::Interrupted) if attempt < ATTEMPTS => attempt += 1,
                    asked => return asked,
                }
            }
        })
    }

    /// Changes peers, each entry in turn, all in one message.
    fn set(&mut self, link: &Link, peer: &PublicKey, entries: &[Change]) -> Result<(), Error> {
        self.ask(link, &mut |socket, family| {
            let mut request = command(family, WG_CMD_SET_DEVICE, libc::NLM_F_ACK);
            request.attribute(WGDEVICE_A_IFINDEX, &link.ifindex.to_ne_bytes());
            request.reserve(entries.iter().map(Change::size).sum());
            request.nested(WGDEVICE_A_PEERS, &mut |request| {
                for entry in entries {
                    request.nested(0, &mut |request| {
                        request.attribute(WGPEER_A_PUBLIC_KEY, &peer.0);
                        request.attribute(WGPEER_A_FLAGS, &entry.flags().to_ne_bytes());
                        match entry {
                            Change::Remove => {}
                            Change::Add(endpoint, kept) => {
                                request.attribute(WGPEER_A_ENDPOINT, &sockaddr(*endpoint));
                                kept.write(request);
                            }
                            Change::Endpoint(endpoint) => {
                                request.attribute(WGPEER_A_ENDPOINT, &sockaddr(*endpoint));
                            }
                            Change::Keepalive(seconds) => {
                                request.attribute(WGPEER_A_KEEPALIVE, &seconds.to_ne_bytes());
                            }
                        }
                    });
                }
            });
            socket.ask(request, &mut |_| Ok(()))
        })
    }
}

/// What changes about a peer.
enum Change<'a> {
    Endpoint(SocketAddr),
    Keepalive(u16),
    Remove,
    Add(SocketAddr, &'a Kept),
}

impl Change<'_> {
    fn flags(&self) -> u32 {
        match self {
            Change::Endpoint(_) | Change::Keepalive(_) => WGPEER_F_UPDATE_ONLY,
            Change::Remove => WGPEER_F_UPDATE_ONLY | WGPEER_F_REMOVE_ME,
            Change::Add(..) => WGPEER_F_REPLACE_ALLOWEDIPS,
        }
    }

    /// At most so many bytes of a request.
    fn size(&self) -> usize {
        // Headers, key, flags, endpoint.
        128 + match self {
            Change::Add(_, kept) => kept.size(),
            _ => 0,
        }
    }
}

/// What makes a peer send: the kernel does when its keepalive goes from 0 to something (netlink.c: set_peer). It takes
/// the entries of a message in turn, so one message is enough, and nobody ever sees the keepalive in between.
fn poke(keepalive: u16) -> Vec<Change<'static>> {
    match keepalive {
        0 => vec![Change::Keepalive(0), Change::Keepalive(SOME_KEEPALIVE), Change::Keepalive(0)],
        _ => vec![Change::Keepalive(0), Change::Keepalive(keepalive)],
    }
}

impl Backend for Kernel {
    fn device(&mut self, link: &Link) -> Result<(Device, Option<PrivateKey>), Error> {
        let mut dump = Dump::new(link);
        self.dump(link, &mut |payload| match payload {
            Some(payload) => dump.message(payload),
            None => {
                dump = Dump::new(link);
                Ok(())
            }
        })?;
        Ok(dump.finish())
    }

    fn set_endpoint(&mut self, link: &Link, peer: &PublicKey, endpoint: SocketAddr) -> Result<(), Error> {
        self.set(link, peer, &[Change::Endpoint(endpoint)])
    }

    fn poke(&mut self, link: &Link, peer: &PublicKey, keepalive: u16) -> Result<(), Error> {
        self.set(link, peer, &poke(keepalive))
    }

    fn set_port(&mut self, link: &Link, port: u16) -> Result<(), Error> {
        self.ask(link, &mut |socket, family| {
            let mut request = command(family, WG_CMD_SET_DEVICE, libc::NLM_F_ACK);
            request.attribute(WGDEVICE_A_IFINDEX, &link.ifindex.to_ne_bytes());
            request.attribute(WGDEVICE_A_LISTEN_PORT, &port.to_ne_bytes());
            socket.ask(request, &mut |_| Ok(()))
        })
    }

    fn kept(&mut self, link: &Link, peer: &PublicKey) -> Result<Kept, Error> {
        let mut kept = Kept::new(peer);
        self.dump(link, &mut |payload| match payload {
            Some(payload) => kept.message(payload),
            None => {
                kept = Kept::new(peer);
                Ok(())
            }
        })?;
        Ok(kept)
    }

    /// The kernel holds its locks from the first entry of a message to the last (wg_set_device), so that whoever reads
    /// the device sees the peer before or after.
    fn readd_peer(&mut self, link: &Link, kept: &Kept, endpoint: SocketAddr) -> Result<(), Error> {
        let peer = &kept.peer.public_key;
        if kept.size() > MAX_KEPT {
            self.set_endpoint(link, peer, endpoint)?;
            return Err(Error::TooManyAllowedIps(link.interface, *peer));
        }
        let mut changes = vec![Change::Remove, Change::Add(endpoint, kept)];
        changes.extend(poke(kept.peer.keepalive));
        self.set(link, peer, &changes)
    }
}

/// A request to a generic netlink family.
fn command(family: u16, command: u8, flags: i32) -> Request {
    let header: [u8; GENL_HEADER] = [command, WG_GENL_VERSION, 0, 0];
    Request::new(family, (libc::NLM_F_REQUEST | flags) as u16, &header)
}

const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// A socket, and the number of the "wireguard" family.
fn open() -> Result<(Socket, u16), Failure> {
    let mut socket = Socket::asking(SockProtocol::NetlinkGeneric).map_err(Failure::Io)?;
    let mut request = command(libc::GENL_ID_CTRL as u16, CTRL_CMD_GETFAMILY, libc::NLM_F_ACK);
    request.attribute(CTRL_ATTR_FAMILY_NAME, b"wireguard\0");
    let mut family = None;
    socket.ask(request, &mut |message| {
        if let Some(id) = message.payload.from(GENL_HEADER).attributes().find(CTRL_ATTR_FAMILY_ID) {
            family = Some(id.u16(0)?);
        }
        Ok(())
    })?;
    // An acknowledged question without an answer does not happen; if it did, there is no such family.
    let family = family.ok_or_else(|| Failure::Io(nix::errno::Errno::ENOENT.into()))?;
    Ok((socket, family))
}
