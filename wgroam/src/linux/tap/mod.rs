// SPDX-License-Identifier: GPL-2.0-only
//! The packet tap: copies of the handshake initiations that reach this host, whether the kernel likes them or not.
//!
//! Two packet sockets, one bound to IPv4 and one to IPv6, on all devices. Where they sit in the kernel
//! (`__netif_receive_skb_core()` in net/core/dev.c) decides what they see:
//!
//! - **Each packet once.** A socket bound to a protocol comes after VLAN tags are taken off and after the handler of a
//!   bridge, bond or macvlan has moved the packet to its upper device; one for all protocols (tcpdump) sees it on each.
//! - **PPPoE.** The Ethernet frame has a protocol of its own (ETH_P_PPP_SES) that we do not take. The ppp device then
//!   delivers what was inside as ETH_P_IP or ETH_P_IPV6 (`ppp_receive_nonmp_frame()` in drivers/net/ppp/ppp_generic.c),
//!   and that we do. TUN and other devices with no link header do the same.
//! - **Before nftables and conntrack**, except its ingress hook (and tc, XDP), which come first. So a packet that the
//!   input chain drops is seen, and one that is redirected to the listen port is not: it still has the other port.
//! - **Forwarded packets too**, when they go to one of our ports: [`Captured::destination`] tells.
//! - Only frames addressed to this host; nothing that it sends.
//!
//! Limits: fragments and IPv6 extension headers are not followed; an initiation is far smaller than any MTU. Two of one
//! flow that the device's GRO has merged are missed; a peer sends one in 5 s.

pub(super) mod filter;
pub(super) mod parse;
pub(super) mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

pub use filter::MAX_PORTS;
use socket::PacketSocket;

/// Bytes of a handshake initiation (WireGuard paper, 5.4.2).
pub const PAYLOAD: usize = 148;

/// What looks like an initiation by its length and first four bytes. Nothing is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Who sent it, or says so. An IPv6 link-local address has its scope.
    pub source: SocketAddr,
    /// The address and port it was sent to, before any translation on this host.
    pub destination: SocketAddr,
    /// The device that it came in by: the upper one where devices are stacked.
    pub ifindex: u32,
    /// The UDP payload.
    pub payload: [u8; PAYLOAD],
}

/// The tap. Needs CAP_NET_RAW. Watches the network namespace in which it was opened.
///
/// Its readiness is edge-triggered: call [`Tap::next`] until it has nothing more.
pub struct Tap {
    sockets: [PacketSocket; 2],
    /// Sorted, so that the filter does not change with the order in which interfaces are listed.
    ports: Vec<u16>,
    /// The socket to ask first, so that a flood on one protocol does not starve the other.
    turn: usize,
}

impl Tap {
    /// Opens the tap; it sees nothing until [`Tap::set_ports`].
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; EAFNOSUPPORT in a kernel without packet sockets (CONFIG_PACKET).
    pub fn open() -> io::Result<Self> {
        let open = |protocol| PacketSocket::open(protocol, &mut filter::ipv4(&[]));
        Ok(Self { sockets: [open(libc::ETH_P_IP)?, open(libc::ETH_P_IPV6)?], ports: Vec::new(), turn: 0 })
    }

    /// Watches these destination ports from now on, and no others; an empty list stops everything. Costs nothing when
    /// the ports are the same. Packets that wait already are kept if they fit the new list.
    ///
    /// With more than [`MAX_PORTS`] ports the kernel passes initiations to any port, and the list is checked here.
    pub fn set_ports(&mut self, wanted: &[u16]) -> io::Result<()> {
        let mut ports = Vec::new();
        for &port in wanted {
            if let Err(at) = ports.binary_search(&port) {
                ports.insert(at, port);
            }
        }
        if ports == self.ports {
            return Ok(());
        }
        let [v4, v6] = &self.sockets;
        v4.attach(&mut filter::ipv4(&ports))?;
        v6.attach(&mut filter::ipv6(&ports))?;
        self.ports = ports;
        Ok(())
    }

    /// The next initiation, or `None` when nothing waits.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and an end is only the end for now")]
    pub fn next(&mut self) -> io::Result<Option<Captured>> {
        // The longer of the two snap lengths.
        let mut buffer = [0; filter::SNAP_V4 as usize];
        let mut empty = 0;
        while empty < self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            match self.sockets[self.turn].receive(&mut buffer)? {
                None => empty += 1,
                Some((packet, ifindex)) => {
                    empty = 0;
                    if let Some(captured) = self.accept(packet, ifindex) {
                        return Ok(Some(captured));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Were packets lost since the last call, because they came faster than they were read? In doubt, yes.
    pub fn has_dropped(&self) -> bool {
        let [v4, v6] = &self.sockets;
        // Both are asked: that is what sets their counts to zero.
        v4.has_dropped() | v6.has_dropped()
    }

    /// What the filter let through under an older list of ports, or under none, is compared again.
    fn accept(&self, packet: &[u8], ifindex: u32) -> Option<Captured> {
        let datagram = parse::datagram(packet, ifindex)?;
        self.ports.binary_search(&datagram.destination.port()).ok()?;
        Some(Captured {
            source: datagram.source,
            destination: datagram.destination,
            ifindex,
            payload: *datagram.payload,
        })
    }
}

/// Both sockets under one token.
impl Source for Tap {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.sockets.iter().try_for_each(|s| SourceFd(&s.as_raw_fd()).register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.sockets.iter().try_for_each(|s| SourceFd(&s.as_raw_fd()).reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.sockets.iter().try_for_each(|s| SourceFd(&s.as_raw_fd()).deregister(registry))
    }
}
