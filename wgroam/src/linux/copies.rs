// SPDX-License-Identifier: GPL-2.0-only
//! Sends a handshake initiation of WireGuard's to other addresses, too: bit for bit the same packet, from the same port. Whoever
//! it is for answers, and WireGuard goes where the answer came from. So other addresses are tried, and the endpoint of now
//! loses nothing by it.
//!
//! - **The packet is seen as it leaves** by a packet socket for all protocols, the only kind that the kernel shows what it sends
//!   (`dev_queue_xmit_nit()` in net/core/dev.c). That costs a copy of each packet's header that the router sends, so the
//!   socket is there only while an initiation is waited for: some tenths of a second in 5 s, while a peer is silent.
//! - **The copy is sent by a raw socket**: WireGuard has the port. It takes the way that the kernel's routes and rules have for it,
//!   with the interface's mark, and passes the output chain and conntrack like any packet of this host, so that the answer is
//!   let in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::socket::{SockaddrIn, SockaddrIn6, connect};

use super::clock::earlier;
use super::echo::{raw_socket, set};
use super::tap::socket::PacketSocket;
use super::tap::{PAYLOAD, filter, parse};
use crate::lists;
use crate::model::{Interface, PublicKey};

/// An initiation that is to be copied.
#[derive(Clone, Debug)]
pub struct Order {
    /// Of this interface's.
    pub interface: Interface,
    /// On behalf of this peer.
    pub peer: PublicKey,
    /// The next one that leaves for this endpoint,
    pub home: SocketAddr,
    /// goes to these, too,
    pub to: Vec<SocketAddr>,
    /// with this mark; 0: none,
    pub mark: u32,
    /// until then.
    pub until: Instant,
}

/// Initiations that are waited for. Needs CAP_NET_RAW, and CAP_NET_ADMIN for a mark.
#[derive(Default)]
pub struct Copies {
    orders: Vec<Order>,
    /// Only while there are orders.
    socket: Option<PacketSocket>,
}

impl Copies {
    /// Takes an order, in place of an earlier one for the same peer. Gives the socket to wait for when it was opened just now;
    /// its readiness is edge-triggered: call [`Copies::carry_out`] then.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW.
    pub fn take(&mut self, order: Order) -> io::Result<Option<RawFd>> {
        let new = match &self.socket {
            Some(_) => None,
            None => {
                let socket = PacketSocket::open(libc::ETH_P_ALL, &mut filter::outgoing())?;
                Some(self.socket.insert(socket).as_raw_fd())
            }
        };
        lists::keep(&mut self.orders, |other| (other.interface, other.peer) != (order.interface, order.peer));
        self.orders.push(order);
        Ok(new)
    }

    /// When [`Copies::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.orders.iter().map(|order| Some(order.until)).fold(None, earlier)
    }

    /// Drops orders whose time is over.
    pub fn expire(&mut self, now: Instant) {
        lists::keep(&mut self.orders, |order| order.until > now);
        if self.orders.is_empty() {
            self.socket = None;
        }
    }

    /// Copies the initiations that left, and says on whose behalf at least one copy was sent. `port`: where the interface listens, which is where it sends from.
    ///
    /// # Errors
    /// The socket can't be read. Copies that can't be sent are told to `failed`.
    pub fn carry_out(
        &mut self,
        port: impl Fn(Interface) -> Option<u16>,
        mut failed: impl FnMut(SocketAddr, io::Error),
    ) -> io::Result<Vec<(Interface, PublicKey)>> {
        let mut done = Vec::new();
        let mut buffer = [0; filter::SNAP_V6 as usize];
        while let Some(socket) = &self.socket {
            let Some((packet, ifindex)) = socket.receive(&mut buffer)? else { break };
            let Some(datagram) = parse::datagram(packet, ifindex) else { continue };
            let from = datagram.source.port();
            let is =
                |order: &Order| order.home == datagram.destination && port(order.interface) == Some(from);
            let Some(at) = self.orders.iter().position(is).filter(|_| datagram.payload[..4] == [1, 0, 0, 0])
            else {
                continue;
            };
            let order = self.orders.swap_remove(at);
            let mut sent = false;
            for &to in &order.to {
                match send(from, to, order.mark, datagram.payload) {
                    Ok(()) => sent = true,
                    Err(error) => failed(to, error),
                }
            }
            // Where no copy can leave, the addresses have to be tried in another way.
            if sent {
                done.push((order.interface, order.peer));
            }
            if self.orders.is_empty() {
                self.socket = None;
            }
        }
        Ok(done)
    }
}

/// Sends it from this port. The socket is there for one packet only: it is shown all UDP packets that come in.
fn send(from: u16, to: SocketAddr, mark: u32, payload: &[u8; PAYLOAD]) -> io::Result<()> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = raw_socket(family, libc::IPPROTO_UDP)?;
    if mark != 0 {
        set(&socket, libc::SOL_SOCKET, libc::SO_MARK, &mark)?;
    }
    // A raw socket takes a port for a protocol.
    match to {
        SocketAddr::V4(to) => connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0))),
        SocketAddr::V6(mut to) => {
            to.set_port(0);
            connect(socket.as_raw_fd(), &SockaddrIn6::from(to))
        }
    }?;
    let socket = UdpSocket::from(socket);
    let segment = segment((socket.local_addr()?.ip(), from), (to.ip(), to.port()), payload);
    socket.send(&segment).map(drop)
}

const SEGMENT: usize = parse::UDP_LENGTH as usize;

fn segment(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8; PAYLOAD]) -> [u8; SEGMENT] {
    let mut segment = [0; SEGMENT];
    segment[..2].copy_from_slice(&from.1.to_be_bytes());
    segment[2..4].copy_from_slice(&to.1.to_be_bytes());
    segment[4..6].copy_from_slice(&parse::UDP_LENGTH.to_be_bytes());
    segment[8..].copy_from_slice(payload);
    // The sum of what stands for the IP header (RFC 768, and RFC 8200, 8.1: the order of words makes no difference), and of the
    // segment.
    let mut sum = libc::IPPROTO_UDP as u32 + u32::from(parse::UDP_LENGTH) + words(&segment);
    for ip in [from.0, to.0] {
        sum += match ip {
            IpAddr::V4(ip) => words(&Ipv4Addr::octets(&ip)),
            IpAddr::V6(ip) => words(&Ipv6Addr::octets(&ip)),
        };
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Zero would say that there is none.
    let checksum = match !(sum as u16) {
        0 => u16::MAX,
        checksum => checksum,
    };
    segment[6..8].copy_from_slice(&checksum.to_be_bytes());
    segment
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}
