// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own, each with our protocol number: so that they are told from everybody else's, and found again
//! after a crash; and what the main table says beside them. When to have one is decided elsewhere.
//!
//! Nobody else's route is ever replaced or removed: adding insists on a new one (NLM_F_EXCL), removing names our
//! protocol, which the kernel compares (fib_table_delete, ip6_route_del).

use std::fmt;
use std::net::IpAddr;

use nix::sys::socket::SockProtocol;

use super::netlink::wire::{Bytes, Malformed, Request};
use super::netlink::{Failure, Socket};
use super::route::message::{RTA_VIA, Route, whole_route};
use crate::model::Interface;
use crate::routing::{Hop, MainRoute, OwnRoute, PROTOCOL, RouteAnswer, RouteQuery, RouteTable, Via};

/// A dump that something changes under is asked for again, so often.
const ATTEMPTS: u32 = 5;

/// The gateway is a neighbour, whatever addresses the link has.
const RTNH_F_ONLINK: u32 = 4;

/// Why a route could not be added or removed.
#[derive(Debug)]
pub enum Error {
    /// Somebody else has a route to and from the same with the same metric.
    Taken(OwnRoute),
    /// The kernel does not do routes by source address: CONFIG_IPV6_SUBTREES is off, or it is IPv4, which never does.
    NoSourceRoutes(OwnRoute),
    /// The link, the router or the source address of the way is not there, or the link is down.
    NoWay(OwnRoute),
    /// Anything else.
    Failed(OwnRoute, Failure),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Taken(route) => {
                write!(f, "route {route}: somebody else has one with metric {}", route.metric)
            }
            Error::NoSourceRoutes(route) => {
                write!(
                    f,
                    "route {route}: the kernel has no routes by source address (IPv4 never, IPv6 with \
                     CONFIG_IPV6_SUBTREES)"
                )
            }
            Error::NoWay(route) => write!(f, "route {route}: its link, router or source is not there"),
            Error::Failed(route, failure) => match failure.errno() {
                Some(libc::EPERM) => {
                    write!(
                        f,
                        "route {route}: the kernel refuses; run wgroam as root or give it CAP_NET_ADMIN"
                    )
                }
                _ => write!(f, "route {route}: {failure}"),
            },
        }
    }
}

impl std::error::Error for Error {}

/// Adds and removes routes of our own. The socket is opened with the first use.
#[derive(Default)]
pub struct OwnRoutes {
    socket: Option<Socket>,
}

impl OwnRoutes {
    /// Opens nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the route; it is no error if we have it already. One of ours that differs only in its way or source is
    /// replaced.
    pub fn add(&mut self, route: &OwnRoute) -> Result<(), Error> {
        // IPv4 takes a source prefix and does without it: such a route would be for everybody.
        if route.from.is_some() && route.to.address().is_ipv4() {
            return Err(Error::NoSourceRoutes(*route));
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.change(libc::RTM_NEWROUTE, flags, route) {
            Err(failure) if failure.errno() == Some(libc::EEXIST) => {}
            added => return added.map_err(|failure| explain(route, failure)),
        }
        let ours = self.list().map_err(|failure| Error::Failed(*route, failure))?;
        match ours.iter().find(|other| other.same_place(route)) {
            None => Err(Error::Taken(*route)),
            Some(same) if (same.via, same.source) == (route.via, route.source) => Ok(()),
            Some(other) => {
                self.remove(other)?;
                self.change(libc::RTM_NEWROUTE, flags, route).map_err(|failure| explain(route, failure))
            }
        }
    }

    /// Removes the route; it is no error if it is gone.
    pub fn remove(&mut self, route: &OwnRoute) -> Result<(), Error> {
        match self.change(libc::RTM_DELROUTE, 0, route) {
            // No such route; no such link (any more).
            Err(failure) if matches!(failure.errno(), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
            removed => removed.map_err(|failure| explain(route, failure)),
        }
    }

    /// All routes of ours, as left by whichever of us made them.
    pub fn list(&mut self) -> Result<Vec<OwnRoute>, Failure> {
        Ok(self.survey(&RouteQuery::default(), &|_| None)?.own)
    }

    /// Reads the main table for the answer to the question, which leaves the uplinks open. `ifindex` gives a tunnel's
    /// number. Takes a millisecond for a thousand routes.
    pub fn survey(
        &mut self,
        question: &RouteQuery,
        ifindex: &dyn Fn(Interface) -> Option<u32>,
    ) -> Result<RouteAnswer, Failure> {
        let mut attempt = 0;
        loop {
            let mut survey = RouteTable::new(question, ifindex);
            let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
            let request = Request::new(libc::RTM_GETROUTE, flags, &[0; HEADER]);
            let asked = self.socket()?.ask(request, &mut |message| {
                if message.kind == libc::RTM_NEWROUTE
                    && let Some(route) = read(message.payload)?
                {
                    survey.take(&route);
                }
                Ok(())
            });
            match asked {
                Err(Failure::Interrupted) if attempt < ATTEMPTS => attempt += 1,
                asked => return asked.map(|()| survey.finish()),
            }
        }
    }

    /// What announcements of our own changes carry, see [`Socket::port`]. None: we have not changed anything yet.
    pub fn port(&self) -> Option<u32> {
        self.socket.as_ref()?.port()
    }

    fn change(&mut self, kind: u16, flags: i32, route: &OwnRoute) -> Result<(), Failure> {
        let request = write(kind, (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16, route);
        self.socket()?.ask(request, &mut |_| Ok(()))
    }

    fn socket(&mut self) -> Result<&mut Socket, Failure> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::asking(SockProtocol::NetlinkRoute).map_err(Failure::Io)?,
        };
        Ok(self.socket.insert(socket))
    }
}

fn explain(route: &OwnRoute, failure: Failure) -> Error {
    match failure.errno() {
        // It says EINVAL for other things too; but of what we send, these are all that it may not know.
        Some(libc::EINVAL) if route.from.is_some() => Error::NoSourceRoutes(*route),
        Some(libc::EINVAL) if route.source.is_some() => Error::NoWay(*route),
        Some(libc::EEXIST) => Error::Taken(*route),
        Some(libc::ENODEV | libc::ENETDOWN | libc::ENETUNREACH | libc::EHOSTUNREACH) => Error::NoWay(*route),
        _ => Error::Failed(*route, failure),
    }
}

/// Bytes of struct rtmsg.
const HEADER: usize = 12;

fn write(kind: u16, flags: u16, route: &OwnRoute) -> Request {
    let (family, universe, link) = if route.to.address().is_ipv4() {
        (libc::AF_INET, libc::RT_SCOPE_UNIVERSE, libc::RT_SCOPE_LINK)
    } else {
        (libc::AF_INET6, libc::RT_SCOPE_UNIVERSE, libc::RT_SCOPE_UNIVERSE)
    };
    let (scope, route_type, hop_flags) = match route.via {
        Via::Unreachable => (universe, libc::RTN_UNREACHABLE, 0),
        Via::By(Hop { gateway: None, .. }) => (link, libc::RTN_UNICAST, 0),
        Via::By(Hop { gateway: Some(_), .. }) => (universe, libc::RTN_UNICAST, RTNH_F_ONLINK),
    };
    let from_length = route.from.map_or(0, |from| from.length());
    let table = libc::RT_TABLE_MAIN;
    let mut header =
        [family as u8, route.to.length(), from_length, 0, table, PROTOCOL, scope, route_type, 0, 0, 0, 0];
    header[8..].copy_from_slice(&hop_flags.to_ne_bytes());
    let mut request = Request::new(kind, flags, &header);
    octets(&mut request, libc::RTA_DST, &[], route.to.address());
    if let Some(from) = route.from {
        octets(&mut request, libc::RTA_SRC, &[], from.address());
    }
    request.attribute(libc::RTA_PRIORITY, &route.metric.to_ne_bytes());
    if let Some(source) = route.source {
        octets(&mut request, libc::RTA_PREFSRC, &[], source);
    }
    if let Via::By(hop) = route.via {
        request.attribute(libc::RTA_OIF, &hop.ifindex.to_ne_bytes());
        match hop.gateway {
            Some(gateway) if gateway.is_ipv4() == route.to.address().is_ipv4() => {
                octets(&mut request, libc::RTA_GATEWAY, &[], gateway);
            }
            // An IPv4 route by an IPv6 router: struct rtvia, the family, then the address.
            Some(gateway) => {
                octets(&mut request, RTA_VIA, &(libc::AF_INET6 as u16).to_ne_bytes(), gateway);
            }
            None => {}
        }
    }
    request
}

/// Adds an attribute that is an address, behind some other bytes of it.
pub(super) fn octets(request: &mut Request, kind: u16, before: &[u8], ip: IpAddr) {
    let mut value = [0; 18];
    value[..before.len()].copy_from_slice(before);
    let end = match ip {
        IpAddr::V4(ip) => {
            value[before.len()..][..4].copy_from_slice(&ip.octets());
            before.len() + 4
        }
        IpAddr::V6(ip) => {
            value[before.len()..][..16].copy_from_slice(&ip.octets());
            before.len() + 16
        }
    };
    request.attribute(kind, &value[..end]);
}

/// None: of no interest, since another table's, or no route for packets that others send.
fn read(payload: Bytes) -> Result<Option<MainRoute>, Malformed> {
    let route_type = payload.u8(7)?;
    let table = payload.u8(4)?;
    if table != libc::RT_TABLE_MAIN || matches!(route_type, libc::RTN_MULTICAST | libc::RTN_BROADCAST) {
        return Ok(None);
    }
    let Some(Route { to, from, metric, hops, source, .. }) = whole_route(payload)? else { return Ok(None) };
    let unicast = route_type == libc::RTN_UNICAST;
    if unicast && hops.is_empty() {
        return Ok(None);
    }
    Ok(Some(MainRoute {
        to,
        from: (from.length() > 0).then_some(from),
        metric,
        // IPv6 says that a route that leads nowhere leads to the loopback device.
        hops: if unicast { hops } else { Vec::new() },
        source,
        protocol: payload.u8(5)?,
        unreachable: route_type == libc::RTN_UNREACHABLE,
    }))
}
