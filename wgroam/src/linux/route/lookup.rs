// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's answer to "where would this packet go?", with all its rules and tables: RTM_GETROUTE for one address.

use std::net::IpAddr;

use super::super::netlink::wire::{Malformed, Message, Request};
use super::super::own_routes::octets;
use super::message::{Route, whole_route};

/// Bytes of struct rtmsg.
const HEADER: usize = 12;

/// Where a packet would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// By this link.
    pub ifindex: u32,
    /// From this address.
    pub source: Option<IpAddr>,
    /// The address is this machine's own.
    pub local: bool,
}

/// `by` is the link that it has to leave by; 0: any.
pub(super) fn question(to: IpAddr, from: Option<IpAddr>, mark: u32, by: u32) -> Request {
    let (family, bits) = if to.is_ipv4() { (libc::AF_INET, 32) } else { (libc::AF_INET6, 128) };
    let mut header = [0; HEADER];
    header[..3].copy_from_slice(&[family as u8, bits, if from.is_some() { bits } else { 0 }]);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    let mut request = Request::new(libc::RTM_GETROUTE, flags as u16, &header);
    octets(&mut request, libc::RTA_DST, &[], to);
    if let Some(from) = from {
        octets(&mut request, libc::RTA_SRC, &[], from);
    }
    request.attribute(libc::RTA_MARK, &mark.to_ne_bytes());
    if by > 0 {
        request.attribute(libc::RTA_OIF, &by.to_ne_bytes());
    }
    request
}

pub(super) fn read(message: &Message) -> Result<Option<Lookup>, Malformed> {
    if message.kind != libc::RTM_NEWROUTE {
        return Ok(None);
    }
    let local = message.payload.u8(7)? == libc::RTN_LOCAL;
    let route = whole_route(message.payload)?;
    let way = |Route { hops, source, .. }| Some(Lookup { ifindex: hops.first()?.ifindex, source, local });
    Ok(route.and_then(way))
}
