// SPDX-License-Identifier: GPL-2.0-only
//! Asking which links and addresses there are, and where the kernel would send a packet.

use std::net::IpAddr;

use nix::sys::socket::SockProtocol;

use super::super::netlink::wire::{Message, Request};
use super::super::netlink::{Failure, Socket};
use super::lookup::{self, Lookup};
use super::message::{self, Address, DefaultRoute, Link, Told};
use crate::model::Interface;

/// A dump that something changes under is asked for again, so often. Each takes well under a millisecond.
const ATTEMPTS: u32 = 5;

/// Asks rtnetlink. The socket is opened with the first question.
#[derive(Default)]
pub struct Links {
    socket: Option<Socket>,
}

impl Links {
    /// The link of this name; None when there is none.
    pub fn find(&mut self, interface: Interface) -> Result<Option<Link>, Failure> {
        let mut request = Request::new(libc::RTM_GETLINK, REQUEST | libc::NLM_F_ACK as u16, &[0; 16]);
        let mut name = interface.as_str().as_bytes().to_vec();
        name.push(0);
        request.attribute(libc::IFLA_IFNAME, &name);
        let mut found = None;
        let asked = self.socket()?.ask(request, &mut |message| {
            if let Some(Told::Link(link)) = message::read(message)? {
                found = Some(link);
            }
            Ok(())
        });
        match asked {
            Err(failure) if failure.errno() == Some(libc::ENODEV) => Ok(None),
            Err(failure) => Err(failure),
            Ok(()) => Ok(found),
        }
    }

    /// All links.
    pub fn all(&mut self) -> Result<Vec<Link>, Failure> {
        let mut links = Vec::new();
        for told in dump(self.socket()?, libc::RTM_GETLINK)? {
            if let Told::Link(link) = told {
                links.push(link);
            }
        }
        Ok(links)
    }

    /// All addresses of this machine.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Failure> {
        let mut addresses = Vec::new();
        for told in dump(self.socket()?, libc::RTM_GETADDR)? {
            if let Told::Address(address) = told {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// The default routes of all tables.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, Failure> {
        default_routes(self.socket()?)
    }

    /// Where a packet to this address would go, as `ip route get` says: from this address, or from any if there is none,
    /// with this mark. None: nowhere. Nothing is sent.
    pub fn lookup(&mut self, to: IpAddr, from: Option<IpAddr>, mark: u32) -> Result<Option<Lookup>, Failure> {
        let mut found = None;
        let asked = self.socket()?.ask(lookup::question(to, from, mark, 0), &mut |message| {
            found = lookup::read(message)?.or(found);
            Ok(())
        });
        match asked {
            // No route, `unreachable`, `prohibit`, `blackhole` (ip-route(8)).
            Err(failure)
                if matches!(
                    failure.errno(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            asked => asked.map(|()| found),
        }
    }

    fn socket(&mut self) -> Result<&mut Socket, Failure> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::asking(SockProtocol::NetlinkRoute).map_err(Failure::Io)?,
        };
        Ok(self.socket.insert(socket))
    }
}

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;

/// Reads all objects of one sort (RTM_GET*).
pub(super) fn dump(socket: &mut Socket, kind: u16) -> Result<Vec<Told>, Failure> {
    let mut attempt = 0;
    loop {
        let mut all = Vec::new();
        // The longest of the three headers, all zeroes: any family, any link.
        let request = Request::new(kind, REQUEST | libc::NLM_F_DUMP as u16, &[0; 16]);
        let asked = socket.ask(request, &mut |message: &Message| {
            all.extend(message::read(message)?);
            Ok(())
        });
        match asked {
            Err(Failure::Interrupted) if attempt < ATTEMPTS => attempt += 1,
            asked => return asked.map(|()| all),
        }
    }
}

pub(super) fn default_routes(socket: &mut Socket) -> Result<Vec<DefaultRoute>, Failure> {
    let mut routes = Vec::new();
    for told in dump(socket, libc::RTM_GETROUTE)? {
        if let Told::Route(route) = told {
            routes.push(route);
        }
    }
    Ok(routes)
}
