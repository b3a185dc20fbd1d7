// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own, each with our protocol number: so that they are told from everybody else's, and found again
//! after a crash. All in the main table. When to have one is decided elsewhere.
//!
//! Nobody else's route is ever replaced or removed: adding insists on a new one (NLM_F_EXCL), removing names our
//! protocol, which the kernel compares (fib_table_delete, ip6_route_del).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;

use super::netlink::wire::{Bytes, Malformed, Request};
use super::netlink::{Failure, Socket};
use super::route::message::Hop;

/// Marks our routes: `ip route show proto 119`. Neither in iproute2's etc/iproute2/rt_protos and rt_protos.d nor in
/// include/uapi/linux/rtnetlink.h; above what the kernel takes for its own (RTPROT_STATIC and less). It is the letter w.
pub const PROTOCOL: u8 = b'w';

/// A dump that something changes under is asked for again, so often.
const ATTEMPTS: u32 = 5;

/// include/uapi/linux/rtnetlink.h; the libc crate has it for glibc only.
const RTA_VIA: u16 = 18;
/// The gateway is a neighbour, whatever addresses the link has.
const RTNH_F_ONLINK: u32 = 4;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first one: no bits behind the prefix are set.
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of this length (at most 32 or 128 bits; longer counts as that) that the address lies in.
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(ip) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv4Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
            IpAddr::V6(ip) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv6Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
        }
    }

    /// This address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits that all its addresses share.
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRoute {
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only. IPv6, and in kernels that have it (CONFIG_IPV6_SUBTREES, as OpenWrt's do).
    pub from: Option<Prefix>,
    /// Of routes to and from the same the lowest counts. IPv6 takes 0 for 1024.
    pub metric: u32,
    /// Where to.
    pub way: Way,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nowhere, and whoever tries is told at once.
    Unreachable,
    /// By this link, to this router if there is one. The router is taken for a neighbour without a check: the way is
    /// copied from a route that works.
    By(Hop),
}

impl fmt::Display for OwnRoute {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.way == Way::Unreachable {
            f.write_str("unreachable ")?;
        }
        write!(f, "{}", self.to)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Way::By(hop) = self.way {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " by link {}", hop.ifindex)?;
        }
        write!(f, " metric {}", self.metric)
    }
}

/// Why a route could not be added or removed.
#[derive(Debug)]
pub enum Error {
    /// Somebody else has a route to and from the same with the same metric.
    Taken(OwnRoute),
    /// The kernel does not do routes by source address: CONFIG_IPV6_SUBTREES is off, or it is IPv4, which never does.
    NoSourceRoutes(OwnRoute),
    /// The link or the router of the way is not there, or the link is down.
    NoWay(OwnRoute),
    /// Anything else.
    Failed(OwnRoute, Failure),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Taken(route) => write!(f, "route {route}: somebody else has one with this metric"),
            Error::NoSourceRoutes(route) => {
                write!(
                    f,
                    "route {route}: the kernel has no routes by source address (IPv4 never, IPv6 with \
                     CONFIG_IPV6_SUBTREES)"
                )
            }
            Error::NoWay(route) => write!(f, "route {route}: its link or router is not there, or down"),
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

    /// Adds the route; it is no error if we have it already. One of ours that differs only in its way is replaced.
    pub fn add(&mut self, route: &OwnRoute) -> Result<(), Error> {
        // IPv4 takes a source prefix and does without it: such a route would be for everybody.
        if route.from.is_some() && route.to.address.is_ipv4() {
            return Err(Error::NoSourceRoutes(*route));
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.change(libc::RTM_NEWROUTE, flags, route) {
            Err(failure) if failure.errno() == Some(libc::EEXIST) => {}
            added => return added.map_err(|failure| explain(route, failure)),
        }
        let ours = self.list().map_err(|failure| Error::Failed(*route, failure))?;
        let key = |route: &OwnRoute| (route.to, route.from, metric(route));
        match ours.iter().find(|other| key(other) == key(route)) {
            None => Err(Error::Taken(*route)),
            Some(same) if same.way == route.way => Ok(()),
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
        let mut attempt = 0;
        let mut routes = Vec::new();
        loop {
            routes.clear();
            let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
            let request = Request::new(libc::RTM_GETROUTE, flags, &[0; HEADER]);
            let asked = self.socket()?.ask(request, &mut |message| {
                if message.kind == libc::RTM_NEWROUTE {
                    routes.extend(read(message.payload)?);
                }
                Ok(())
            });
            match asked {
                Err(Failure::Interrupted) if attempt < ATTEMPTS => attempt += 1,
                asked => return asked.map(|()| routes),
            }
        }
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
        // It says EINVAL for other things too; but of what we send, the source is all that it may not know.
        Some(libc::EINVAL) if route.from.is_some() => Error::NoSourceRoutes(*route),
        Some(libc::EEXIST) => Error::Taken(*route),
        Some(libc::ENODEV | libc::ENETDOWN | libc::ENETUNREACH | libc::EHOSTUNREACH) => Error::NoWay(*route),
        _ => Error::Failed(*route, failure),
    }
}

/// IPv6 has a default where IPv4 has none (IP6_RT_PRIO_USER).
fn metric(route: &OwnRoute) -> u32 {
    if route.metric == 0 && route.to.address.is_ipv6() { 1024 } else { route.metric }
}

/// Bytes of struct rtmsg.
const HEADER: usize = 12;

fn write(kind: u16, flags: u16, route: &OwnRoute) -> Request {
    let (family, universe, link) = if route.to.address.is_ipv4() {
        (libc::AF_INET, libc::RT_SCOPE_UNIVERSE, libc::RT_SCOPE_LINK)
    } else {
        (libc::AF_INET6, libc::RT_SCOPE_UNIVERSE, libc::RT_SCOPE_UNIVERSE)
    };
    let (scope, route_type, hop_flags) = match route.way {
        Way::Unreachable => (universe, libc::RTN_UNREACHABLE, 0),
        Way::By(Hop { gateway: None, .. }) => (link, libc::RTN_UNICAST, 0),
        Way::By(Hop { gateway: Some(_), .. }) => (universe, libc::RTN_UNICAST, RTNH_F_ONLINK),
    };
    let from_length = route.from.map_or(0, |from| from.length);
    let table = libc::RT_TABLE_MAIN;
    let mut header =
        [family as u8, route.to.length, from_length, 0, table, PROTOCOL, scope, route_type, 0, 0, 0, 0];
    header[8..].copy_from_slice(&hop_flags.to_ne_bytes());
    let mut request = Request::new(kind, flags, &header);
    octets(&mut request, libc::RTA_DST, &[], route.to.address);
    if let Some(from) = route.from {
        octets(&mut request, libc::RTA_SRC, &[], from.address);
    }
    request.attribute(libc::RTA_PRIORITY, &route.metric.to_ne_bytes());
    if let Way::By(hop) = route.way {
        request.attribute(libc::RTA_OIF, &hop.ifindex.to_ne_bytes());
        match hop.gateway {
            Some(gateway) if gateway.is_ipv4() == route.to.address.is_ipv4() => {
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

fn octets(request: &mut Request, kind: u16, before: &[u8], ip: IpAddr) {
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

/// None: no route of ours.
fn read(payload: Bytes) -> Result<Option<OwnRoute>, Malformed> {
    let ipv6 = match i32::from(payload.u8(0)?) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return Ok(None),
    };
    if payload.u8(5)? != PROTOCOL || payload.u8(4)? != libc::RT_TABLE_MAIN {
        return Ok(None);
    }
    let any: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut to = Prefix::new(any, payload.u8(1)?);
    let mut from = Prefix::new(any, payload.u8(2)?);
    let mut metric = 0;
    let mut ifindex = None;
    let mut gateway = None;
    for attribute in payload.from(HEADER).attributes() {
        let attribute = attribute?;
        let value = attribute.value;
        match attribute.kind {
            libc::RTA_DST => to.address = ip(value, ipv6)?,
            libc::RTA_SRC => from.address = ip(value, ipv6)?,
            libc::RTA_PRIORITY => metric = value.u32(0)?,
            libc::RTA_OIF => ifindex = Some(value.u32(0)?),
            libc::RTA_GATEWAY => gateway = Some(ip(value, ipv6)?),
            RTA_VIA => gateway = Some(ip(value.from(2), i32::from(value.u16(0)?) == libc::AF_INET6)?),
            _ => {}
        }
    }
    let way = match (payload.u8(7)?, ifindex) {
        // IPv6 says that these lead to the loopback device.
        (libc::RTN_UNREACHABLE, _) => Way::Unreachable,
        (libc::RTN_UNICAST, Some(ifindex)) => Way::By(Hop { ifindex, gateway }),
        // Not made by us, for all its number says.
        _ => return Ok(None),
    };
    let from = (from.length > 0).then_some(from);
    Ok(Some(OwnRoute { to, from, metric, way }))
}

fn ip(value: Bytes, ipv6: bool) -> Result<IpAddr, Malformed> {
    Ok(if ipv6 {
        Ipv6Addr::from(*value.array::<16>(0)?).into()
    } else {
        Ipv4Addr::from(*value.array::<4>(0)?).into()
    })
}
