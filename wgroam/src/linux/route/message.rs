// SPDX-License-Identifier: GPL-2.0-only
//! The rtnetlink messages that say how this machine is connected, taken apart. Pure; rtnetlink(7) and the kernel's
//! include/uapi/linux/{rtnetlink,if_link,if_addr}.h say what is where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::netlink::wire::{Attributes, Bytes, Malformed, Message};
use crate::model::Interface;
use crate::routing::{Hop, PROTOCOL, Prefix};

/// include/uapi/linux/rtnetlink.h; the libc crate has it for glibc only.
pub(in crate::linux) const RTA_VIA: u16 = 18;

/// A message that tells something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A link is there, or changed.
    Link(Link),
    /// The link with this number is gone.
    LinkGone(u32),
    /// An address is there, or its flags or lifetimes changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A default route is there, or changed.
    Route(DefaultRoute),
    /// A default route is gone.
    RouteGone,
    /// A route of ours is gone, as this socket wanted ([`Message::port`]).
    OwnRouteGone(u32),
    /// A policy rule is there or gone.
    Rule,
}

/// A link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub interface: Interface,
    /// The kernel's number for it.
    pub ifindex: u32,
    /// Switched on (IFF_UP)?
    pub up: bool,
    /// Able to carry packets (IFF_UP, and IFF_RUNNING: a carrier, or nobody knows)?
    pub running: bool,
    /// None: the message does not say (a device that was made by no rtnetlink, or a note about a radio).
    pub kind: Option<Kind>,
}

/// What made a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's WireGuard.
    WireGuard,
    /// A program: maybe a WireGuard in user space.
    Tun,
    /// Anything else.
    Other,
}

/// An address of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// On this link.
    pub ifindex: u32,
    /// The address.
    pub ip: IpAddr,
    /// Do others take packets from it now? Not while IPv6 still looks for a duplicate, nor when it found one.
    pub usable: bool,
    /// Can a packet to anybody come from it: usable, of global scope, not deprecated?
    pub global: bool,
    /// What reaches all in its IPv4 network.
    pub broadcast: Option<Ipv4Addr>,
    /// When it was created, in hundredths of a second since boot: differs when an address was removed and added
    /// again, not when its lifetime was extended.
    pub created: u32,
}

impl Address {
    /// The same address, with the same rights, and not made anew in between? Both are of one link.
    pub fn same(&self, other: &Address) -> bool {
        (self.ip, self.usable, self.created) == (other.ip, other.usable, other.created)
    }
}

/// A default route. Which one is best: [`DefaultRoute::rank`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// For IPv6?
    pub ipv6: bool,
    /// The routing table; 254 is main.
    pub table: u32,
    /// Lower is better.
    pub metric: u32,
    /// Where it leads: one entry, or several where traffic is spread.
    pub hops: Vec<Hop>,
}

impl DefaultRoute {
    /// Sorts the best first: the main table before those that rules select, then by metric.
    pub fn rank(&self) -> (bool, u32, u32) {
        (self.table != u32::from(libc::RT_TABLE_MAIN), self.metric, self.table)
    }
}

/// What the message tells; None when it is of no interest.
pub fn read(message: &Message) -> Result<Option<Told>, Malformed> {
    let payload = message.payload;
    Ok(match message.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link(payload)?.map(|link| match message.kind {
            libc::RTM_NEWLINK => Told::Link(link),
            _ => Told::LinkGone(link.ifindex),
        }),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => address(payload)?.map(|address| match message.kind {
            libc::RTM_NEWADDR => Told::Address(address),
            _ => Told::AddressGone(address),
        }),
        libc::RTM_NEWROUTE => route(payload)?.map(Told::Route),
        libc::RTM_DELROUTE if payload.u8(5)? == PROTOCOL => Some(Told::OwnRouteGone(message.port)),
        libc::RTM_DELROUTE => (payload.u8(1)? == 0).then_some(Told::RouteGone),
        libc::RTM_NEWRULE | libc::RTM_DELRULE => Some(Told::Rule),
        _ => None,
    })
}

/// Bytes of struct ifinfomsg.
const LINK_HEADER: usize = 16;

fn link(payload: Bytes) -> Result<Option<Link>, Malformed> {
    // A bridge tells about its ports under its own family; "gone" then means "no port any more".
    if i32::from(payload.u8(0)?) != libc::AF_UNSPEC {
        return Ok(None);
    }
    let flags = payload.u32(8)?;
    let mut interface = None;
    let mut kind = None;
    for attribute in payload.from(LINK_HEADER).attributes() {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFLA_IFNAME => interface = attribute.value.text().ok().and_then(|name| name.parse().ok()),
            libc::IFLA_LINKINFO => {
                kind =
                    attribute.value.attributes().find(libc::IFLA_INFO_KIND).map(|kind| match kind.text() {
                        Ok("wireguard") => Kind::WireGuard,
                        Ok("tun") => Kind::Tun,
                        _ => Kind::Other,
                    });
            }
            _ => {}
        }
    }
    // A name that is not UTF-8 is nobody's WireGuard and nobody's WAN.
    let Some(interface) = interface else { return Ok(None) };
    let has = |flag: i32| flags & flag as u32 != 0;
    Ok(Some(Link {
        interface,
        ifindex: payload.u32(4)?,
        up: has(libc::IFF_UP),
        running: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
        kind,
    }))
}

/// Bytes of struct ifaddrmsg.
const ADDRESS_HEADER: usize = 8;

fn address(payload: Bytes) -> Result<Option<Address>, Malformed> {
    let ipv6 = match i32::from(payload.u8(0)?) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return Ok(None),
    };
    let mut flags = u32::from(payload.u8(2)?);
    let (mut local, mut other, mut broadcast) = (None, None, None);
    let mut created = 0;
    for attribute in payload.from(ADDRESS_HEADER).attributes() {
        let attribute = attribute?;
        match attribute.kind {
            // On a point-to-point link IFA_ADDRESS is the far end's.
            libc::IFA_LOCAL => local = Some(ip(attribute.value, ipv6)?),
            libc::IFA_ADDRESS => other = Some(ip(attribute.value, ipv6)?),
            libc::IFA_BROADCAST => broadcast = Some(Ipv4Addr::from(*attribute.value.array::<4>(0)?)),
            libc::IFA_FLAGS => flags = attribute.value.u32(0)?,
            // struct ifa_cacheinfo: preferred, valid, created, updated.
            libc::IFA_CACHEINFO => created = attribute.value.u32(8)?,
            _ => {}
        }
    }
    let Some(ip) = local.or(other) else { return Ok(None) };
    let has = |flag: u32| flags & flag != 0;
    let waiting = has(libc::IFA_F_TENTATIVE) && !has(libc::IFA_F_OPTIMISTIC);
    let usable = !waiting && !has(libc::IFA_F_DADFAILED);
    let global = usable && !has(libc::IFA_F_DEPRECATED) && payload.u8(3)? == libc::RT_SCOPE_UNIVERSE;
    let broadcast = broadcast.or(highest(other.unwrap_or(ip), payload.u8(1)?));
    Ok(Some(Address { ifindex: payload.u32(4)?, ip, usable, global, broadcast, created }))
}

/// The highest address of an IPv4 network: the kernel takes it for the broadcast address even if nobody says so
/// (fib_frontend.c: fib_add_ifaddr).
fn highest(ip: IpAddr, length: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = ip else { return None };
    (length < 31).then(|| Ipv4Addr::from_bits(ip.to_bits() | u32::MAX >> length))
}

/// Bytes of struct rtmsg.
const ROUTE_HEADER: usize = 12;
/// Bytes of struct rtnexthop.
const HOP_HEADER: usize = 8;
/// RTNH_F_DEAD.
const DEAD: u32 = 1;

fn route(payload: Bytes) -> Result<Option<DefaultRoute>, Malformed> {
    // A source prefix (rtm_src_len) is usual for IPv6 on OpenWrt. "unreachable default" and the like lead nowhere.
    if payload.u8(1)? != 0 || payload.u8(7)? != libc::RTN_UNICAST {
        return Ok(None);
    }
    let default = whole_route(payload)?.filter(|route| !route.hops.is_empty());
    Ok(default.map(|Route { to, table, metric, hops, .. }| DefaultRoute {
        ipv6: to.address().is_ipv6(),
        table,
        metric,
        hops,
    }))
}

/// A route, with all that is of interest to anybody.
pub(in crate::linux) struct Route {
    pub to: Prefix,
    /// Of length 0 where the source makes no difference.
    pub from: Prefix,
    pub table: u32,
    pub metric: u32,
    /// The address that packets get which have none.
    pub source: Option<IpAddr>,
    /// Those that are alive: the kernel passes over what leads to a link that is down.
    pub hops: Vec<Hop>,
}

/// None: of another family. What stands in the header alone (rtm_protocol, rtm_type) is left to who asks.
pub(in crate::linux) fn whole_route(payload: Bytes) -> Result<Option<Route>, Malformed> {
    let (ipv6, any): (_, IpAddr) = match i32::from(payload.u8(0)?) {
        libc::AF_INET => (false, Ipv4Addr::UNSPECIFIED.into()),
        libc::AF_INET6 => (true, Ipv6Addr::UNSPECIFIED.into()),
        _ => return Ok(None),
    };
    let mut table = u32::from(payload.u8(4)?);
    let (mut to, mut from, mut metric, mut source, mut hops) = (any, any, 0, None, Vec::new());
    for attribute in payload.from(ROUTE_HEADER).attributes() {
        let attribute = attribute?;
        let value = attribute.value;
        match attribute.kind {
            libc::RTA_TABLE => table = value.u32(0)?,
            libc::RTA_DST => to = ip(value, ipv6)?,
            libc::RTA_SRC => from = ip(value, ipv6)?,
            libc::RTA_PREFSRC => source = Some(ip(value, ipv6)?),
            libc::RTA_PRIORITY => metric = value.u32(0)?,
            libc::RTA_OIF => {
                let gateway = gateway(payload.from(ROUTE_HEADER).attributes(), ipv6)?;
                hops.push(Hop { ifindex: value.u32(0)?, gateway });
            }
            libc::RTA_MULTIPATH => several(value, ipv6, &mut hops)?,
            _ => {}
        }
    }
    if payload.u32(8)? & DEAD != 0 {
        hops.clear();
    }
    let (to, from) = (Prefix::new(to, payload.u8(1)?), Prefix::new(from, payload.u8(2)?));
    Ok(Some(Route { to, from, table, metric, source, hops }))
}

/// struct rtnexthop: length, flags, weight, link, attributes; one after the other, padded to 4 bytes.
fn several(mut bytes: Bytes, ipv6: bool, hops: &mut Vec<Hop>) -> Result<(), Malformed> {
    while !bytes.all().is_empty() {
        let length = usize::from(bytes.u16(0)?);
        if length < HOP_HEADER {
            return Err(Malformed("a next hop is shorter than its header"));
        }
        let gateway = gateway(bytes.to(length)?.from(HOP_HEADER).attributes(), ipv6)?;
        if u32::from(bytes.u8(2)?) & DEAD == 0 {
            hops.push(Hop { ifindex: bytes.u32(4)?, gateway });
        }
        bytes = bytes.from(length.next_multiple_of(4));
    }
    Ok(())
}

fn gateway(attributes: Attributes, ipv6: bool) -> Result<Option<IpAddr>, Malformed> {
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_GATEWAY => return ip(attribute.value, ipv6).map(Some),
            // struct rtvia, an IPv4 route by an IPv6 router: the family, then the address.
            RTA_VIA => {
                let ipv6 = i32::from(attribute.value.u16(0)?) == libc::AF_INET6;
                return ip(attribute.value.from(2), ipv6).map(Some);
            }
            _ => {}
        }
    }
    Ok(None)
}

// Called from all over: inlined, it was 400 bytes more on MIPS.
#[inline(never)]
pub(super) fn ip(value: Bytes, ipv6: bool) -> Result<IpAddr, Malformed> {
    Ok(if ipv6 {
        Ipv6Addr::from(*value.array::<16>(0)?).into()
    } else {
        Ipv4Addr::from(*value.array::<4>(0)?).into()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::netlink::wire::{Endian, Messages, Request};
    use super::*;

    /// The kernel takes any bytes but a few for a name. An error would make the monitor give up on all links.
    #[test]
    fn a_link_whose_name_is_no_text_is_passed_over() {
        for (name, there) in [(&b"wg0\0"[..], true), (b"x\xff\0", false), (b"a:b\0", false)] {
            let mut request = Request::new(libc::RTM_NEWLINK, 0, &[0; LINK_HEADER]);
            request.attribute(libc::IFLA_IFNAME, name);
            let bytes = request.finish(1);
            let message = Messages::new(&bytes, Endian::NATIVE).next().unwrap().unwrap();
            assert_eq!(read(&message).map(|told| told.is_some()), Ok(there), "{name:?}");
        }
    }
}
