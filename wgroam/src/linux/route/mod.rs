// SPDX-License-Identifier: GPL-2.0-only
//! How this machine is connected, and what changes about it: links, addresses, default routes. What the messages say
//! is read in [`message`], what differs between two moments is found in [`state`]; here are the socket and the clock.

mod answer;
mod link;
mod lookup;
pub mod message;
pub mod state;

pub use link::Links;
pub use lookup::Lookup;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::socket::SockProtocol;

use super::netlink::{Drained, Socket};
use super::wireguard::uapi;
use crate::lists;
use crate::model::Interface;
use crate::routing::Hop;
use crate::wan::WanChange;
use message::{Kind, Link, Told};
use state::{Known, Lost, State};

/// A change is told once nothing more has come for so long. netifd and DHCP clients set address and routes one by
/// one, within a few milliseconds; a shell script that calls `ip` for each of them needs up to 20 ms a call.
pub const QUIET: Duration = Duration::from_millis(50);

/// ... and after so long at the latest, however restless the network is: half of the 0.5 s in which a tunnel has to
/// follow a WAN change.
pub const AT_MOST: Duration = Duration::from_millis(250);

/// When the kernel could not be asked (no memory, or it changes faster than it can be read), it is asked again after
/// this time.
pub const RETRY: Duration = Duration::from_secs(1);

/// News of a link that could be a WireGuard interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is there: created, re-created (another ifindex), or its link went up or down.
    Present {
        /// Its name.
        interface: Interface,
        /// The kernel's number for it.
        ifindex: u32,
        /// Is the link up?
        up: bool,
    },
    /// It is gone, or goes by another name.
    Gone {
        /// Its name.
        interface: Interface,
    },
}

/// RTNLGRP_IPV6_RULE as a mask; the libc crate has the other ones.
const RTMGRP_IPV6_RULE: i32 = 1 << 18;

/// Listens to rtnetlink.
pub struct RouteMonitor {
    announcements: Socket,
    questions: Socket,
    /// As last told. Its routes are those of the last settling: IPv4 routes that go with their link or address go
    /// without a word (fib_frontend.c: fib_flush), so they are asked for each time.
    now: State,
    /// As of the last settling.
    settled: State,
    lost: Vec<Lost>,
    /// Policy rules changed since the last settling.
    rules: bool,
    /// Routes of ours may be gone, and [`RouteMonitor::routes_changed`] has not said so yet.
    routes_changed: bool,
    own_port: Option<u32>,
    /// Own addresses came or went, and [`RouteMonitor::own_addresses`] has not said so yet.
    own_changed: bool,
    wan: Vec<Interface>,
    events: Vec<LinkEvent>,
    restless: Option<Restless>,
    /// Announcements were lost, and links and addresses not read anew since.
    stale: bool,
    /// The kernel could not be asked: not again before this.
    retry_at: Option<Instant>,
}

/// Something changed and may go on changing.
#[derive(Clone, Copy)]
struct Restless {
    first: Instant,
    last: Instant,
}

impl RouteMonitor {
    /// Listens from now on, and takes stock of what there is. The first [`RouteMonitor::read`], due at once, tells of
    /// all WireGuard interfaces there are.
    pub fn open() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE
            | libc::RTMGRP_IPV4_RULE
            | RTMGRP_IPV6_RULE;
        let mut monitor = Self {
            // Listening comes first: what changes while we take stock is told twice, not never.
            announcements: Socket::listening(SockProtocol::NetlinkRoute, groups as u32)?,
            questions: Socket::asking(SockProtocol::NetlinkRoute)?,
            now: State::default(),
            settled: State::default(),
            lost: Vec::new(),
            rules: false,
            routes_changed: false,
            own_port: None,
            own_changed: true,
            wan: Vec::new(),
            events: Vec::new(),
            restless: None,
            stale: false,
            retry_at: None,
        };
        monitor.take_stock()?;
        monitor.now.routes = link::default_routes(&mut monitor.questions)?;
        monitor.settled = monitor.now.clone();
        Ok(monitor)
    }

    /// The devices that count as WAN; none: whatever carries a default route and is no WireGuard interface.
    pub fn set_wan(&mut self, wan: Vec<Interface>) {
        self.wan = wan;
    }

    /// The device that carries the best default route, IPv4 first.
    pub fn wan(&self) -> Option<Interface> {
        state::way(&self.settled, &self.wan)
    }

    /// Does this address belong to this machine? (Addresses only: not what a route of type local claims as a whole.)
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.now.is_local(ip)
    }

    /// All addresses of this machine and its IPv4 networks' broadcast addresses, sorted: at the start, and with the
    /// settling after some came or went.
    pub fn own_addresses(&mut self) -> Option<Vec<IpAddr>> {
        if self.restless.is_some() || !std::mem::take(&mut self.own_changed) {
            return None;
        }
        Some(self.now.own_addresses())
    }

    /// Whose changes are our own: what [`super::own_routes::OwnRoutes::port`] says.
    pub fn set_own_port(&mut self, port: Option<u32>) {
        self.own_port = port;
    }

    /// May routes of ours have gone since the last call? Somebody removed one, announcements were lost, or there was a
    /// settling: IPv4 routes go with their link or address without a word.
    pub fn routes_changed(&mut self) -> bool {
        std::mem::take(&mut self.routes_changed)
    }

    /// Where packets leave to the Internet by IPv4 and by IPv6, as of the last settling: the best default routes that no
    /// tunnel has.
    pub fn uplinks(&self) -> [Option<Hop>; 2] {
        let uplink = |ipv6| state::uplink(&self.settled, ipv6, &self.wan);
        [uplink(false), uplink(true)]
    }

    /// The number of a link.
    pub fn ifindex_of(&self, interface: Interface) -> Option<u32> {
        self.now.links.iter().find(|known| known.link.interface == interface).map(|known| known.link.ifindex)
    }

    /// The name of the link with this number.
    pub fn name_of(&self, ifindex: u32) -> Option<Interface> {
        self.now.link(ifindex).map(|known| known.link.interface)
    }

    /// Reads what has arrived: to be called when the socket is readable, and at [`RouteMonitor::deadline`]. Tells at
    /// once about links that could be WireGuard; for the WAN call [`RouteMonitor::settled`] afterwards.
    ///
    /// # Errors
    /// When the kernel can't be asked about what it could not tell. Nothing is lost: the next call from the deadline on
    /// asks again.
    pub fn read(&mut self, now: Instant) -> io::Result<Vec<LinkEvent>> {
        let mut told = Vec::new();
        let drained = self.announcements.drain(&mut |message| {
            told.extend(message::read(message)?);
            Ok(())
        });
        let mut changed = false;
        for told in told {
            changed |= self.hear(told);
        }
        // A socket that fails may have lost something, too.
        if !matches!(drained, Ok(Drained::All)) {
            log::debug!("netlink: announcements were lost; looking at all links and addresses anew");
            (self.stale, self.routes_changed, self.rules) = (true, true, true);
        }
        if self.stale && self.may_ask(now) {
            if let Err(error) = self.take_stock() {
                self.retry_at = Some(now + RETRY);
                return Err(error);
            }
            (self.stale, self.retry_at) = (false, None);
            changed = true;
        }
        if changed {
            self.stir(now);
        }
        Ok(std::mem::take(&mut self.events))
    }

    /// When to call [`RouteMonitor::read`] and [`RouteMonitor::settled`]; None while nothing changes.
    pub fn deadline(&self) -> Option<Instant> {
        let rest = self.restless.map(|restless| (restless.last + QUIET).min(restless.first + AT_MOST));
        match self.retry_at {
            Some(retry) => Some(rest.map_or(retry, |rest| rest.max(retry))),
            None => rest,
        }
    }

    /// What changed about our way to the Internet since the last time, now that it has come to rest. Nothing before
    /// the deadline, or while links and addresses are not known.
    ///
    /// # Errors
    /// When the kernel can't be asked. Nothing is lost: the next call from the deadline on asks again.
    pub fn settled(&mut self, now: Instant) -> io::Result<Vec<WanChange>> {
        if self.stale || self.restless.is_none() || self.deadline().is_none_or(|deadline| deadline > now) {
            return Ok(Vec::new());
        }
        match link::default_routes(&mut self.questions) {
            Ok(routes) => self.now.routes = routes,
            Err(error) => {
                self.retry_at = Some(now + RETRY);
                return Err(error.into());
            }
        }
        (self.restless, self.retry_at) = (None, None);
        self.routes_changed = true;
        let mut changes = state::changes(&self.settled, &self.now, &self.lost, &self.wan);
        self.lost.clear();
        if std::mem::take(&mut self.rules) {
            changes.push(WanChange::Rules);
        }
        self.settled.clone_from(&self.now);
        Ok(changes)
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry| retry <= now)
    }

    /// Something changed that may change our way to the Internet.
    fn stir(&mut self, now: Instant) {
        let first = self.restless.map_or(now, |restless| restless.first);
        self.restless = Some(Restless { first, last: now });
    }

    /// Takes in what was told; true if it may change our way to the Internet.
    fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Link(link) => self.link(link),
            Told::LinkGone(ifindex) => self.link_gone(ifindex),
            Told::Address(address) => {
                let known = self
                    .now
                    .addresses
                    .iter_mut()
                    .find(|known| (known.ifindex, known.ip) == (address.ifindex, address.ip));
                match known {
                    Some(known) => {
                        let before = std::mem::replace(known, address);
                        !before.same(&address) || before.global != address.global
                    }
                    None => {
                        self.now.addresses.push(address);
                        self.own_changed = true;
                        true
                    }
                }
            }
            Told::AddressGone(address) => {
                let gone = (address.ifindex, address.ip);
                lists::keep(&mut self.now.addresses, |known| (known.ifindex, known.ip) != gone);
                self.own_changed = true;
                if state::matters(&address) && !self.lost.contains(&gone) {
                    self.lost.push(gone);
                }
                true
            }
            Told::Route(route) => !self.now.routes.contains(&route),
            Told::RouteGone => true,
            Told::OwnRouteGone(port) => {
                self.routes_changed |= Some(port) != self.own_port;
                false
            }
            Told::Rule => {
                self.rules = true;
                true
            }
        }
    }

    fn link(&mut self, link: Link) -> bool {
        let known = self.now.link(link.ifindex).copied();
        let kind = link.kind.or(known.and_then(|known| known.link.kind));
        let link = Link { kind, ..link };
        let tunnel = could_be_wireguard(&link);
        let known = match known {
            Some(known) if known.link.interface != link.interface => {
                self.link_gone(link.ifindex);
                None
            }
            known => known,
        };
        // Its end would have been told; but a name belongs to one link alone.
        let namesake = self.now.links.iter().find(|other| other.link.interface == link.interface);
        if let Some(ifindex) =
            namesake.map(|other| other.link.ifindex).filter(|&ifindex| ifindex != link.ifindex)
        {
            self.link_gone(ifindex);
        }
        let new = Known { link, tunnel };
        if known == Some(new) {
            return false;
        }
        lists::keep(&mut self.now.links, |other| other.link.ifindex != link.ifindex);
        self.now.links.push(new);
        let same_to_us = known.is_some_and(|known| known.tunnel && known.link.up == link.up);
        if tunnel && !same_to_us {
            let Link { interface, ifindex, up, .. } = link;
            self.events.push(LinkEvent::Present { interface, ifindex, up });
        }
        !tunnel || self.wan.contains(&link.interface)
    }

    fn link_gone(&mut self, ifindex: u32) -> bool {
        let Some(known) = self.now.link(ifindex).copied() else { return false };
        lists::keep(&mut self.now.links, |other| other.link.ifindex != ifindex);
        let interface = known.link.interface;
        if known.tunnel {
            self.events.push(LinkEvent::Gone { interface });
        }
        !known.tunnel || self.wan.contains(&interface)
    }

    /// Asks for all links and addresses, and takes the answer in as if it had been told.
    fn take_stock(&mut self) -> io::Result<()> {
        let links = link::dump(&mut self.questions, libc::RTM_GETLINK)?;
        let addresses = link::dump(&mut self.questions, libc::RTM_GETADDR)?;
        let is = |told: &Told, ifindex| matches!(told, Told::Link(link) if link.ifindex == ifindex);
        let mut gone = Vec::new();
        for known in &self.now.links {
            if !links.iter().any(|told| is(told, known.link.ifindex)) {
                gone.push(known.link.ifindex);
            }
        }
        for ifindex in gone {
            self.link_gone(ifindex);
        }
        for link in links {
            self.hear(link);
        }
        // Those that went and came back are told apart by the time of their creation.
        self.now.addresses.clear();
        for told in addresses {
            if let Told::Address(address) = told {
                self.now.addresses.push(address);
            }
        }
        self.own_changed = true;
        Ok(())
    }
}

impl AsRawFd for RouteMonitor {
    fn as_raw_fd(&self) -> RawFd {
        self.announcements.as_raw_fd()
    }
}

impl AsFd for RouteMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.announcements.as_fd()
    }
}

/// The kernel's WireGuard says so itself. A TUN device is one when a program listens for it; wireguard-go opens that
/// socket after the device, and before anybody can set the link up, so at the latest that is when we see it.
fn could_be_wireguard(link: &Link) -> bool {
    match link.kind {
        Some(Kind::WireGuard) => true,
        Some(Kind::Tun) => uapi::socket_path(link.interface).exists(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
