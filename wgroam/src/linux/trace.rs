// SPDX-License-Identifier: GPL-2.0-only
//! How far UDP packets to a port get, beside packets to another port of the same host: routers on the way say so when a
//! packet's hop limit ends at them (as traceroute asks), and a host says that nothing listens. WireGuard itself is silent
//! about what is none of its packets.
//!
//! What comes back is nobody's proof: it is for telling a person where to look first, and nothing else.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;

use super::echo::set;
use super::thread::pause;
use super::wireguard::dump::sockaddr;

/// The other port: traceroute's first, where nobody listens.
const OTHER_PORT: u16 = 33434;

/// So many hops are asked. A filter is where the way begins; and what lies further away nobody on this side can change.
const HOPS: u8 = 8;

/// Linux answers six packets to one host at once, and then one a second (net.ipv4.icmp_ratelimit, XRLIM_BURST_FACTOR).
/// With two for each port and hop a lost one does not look like a filter.
const COPIES: usize = 2;

/// Answers from within a country take 0.1 s, from another continent 0.3 s. In milliseconds.
const PATIENCE: u16 = 1000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The furthest hop that said where packets to the port ended; 0: none did.
    pub hops: u8,
    /// The same for the other port.
    pub other_hops: u8,
    /// The host says that nothing listens on the port.
    pub refused: bool,
    /// The host says that nothing listens on the other port: it is there.
    pub alive: bool,
}

/// Sends packets to both ports, with WireGuard's mark so that they take the way of its own, and waits a second. Needs
/// CAP_NET_ADMIN for a mark.
pub fn trace(endpoint: SocketAddr, mark: u32) -> io::Result<Trace> {
    let mut other = endpoint;
    other.set_port(OTHER_PORT);
    let mut sent = Vec::new();
    // The last ones go all the way.
    for hops in (1..=HOPS).chain([64]) {
        for to in [endpoint, other] {
            sent.push((hops, to == other, send(to, hops, mark)?));
        }
    }
    pause(PATIENCE);
    let mut trace = Trace::default();
    for (hops, other, (socket, said)) in sent {
        let (furthest, refused) = match other {
            false => (&mut trace.hops, &mut trace.refused),
            true => (&mut trace.other_hops, &mut trace.alive),
        };
        for errno in [said, heard(&socket)] {
            match errno {
                Errno::ECONNREFUSED => *refused = true,
                Errno::EHOSTUNREACH if hops <= HOPS => *furthest = hops,
                _ => {}
            }
        }
    }
    Ok(trace)
}

/// The socket, and what the network said already.
fn send(to: SocketAddr, hops: u8, mark: u32) -> io::Result<(OwnedFd, Errno)> {
    let address = sockaddr(to);
    let (family, level, hop_limit, errors) = match to.is_ipv4() {
        true => (libc::AF_INET, libc::IPPROTO_IP, libc::IP_TTL, libc::IP_RECVERR),
        false => (libc::AF_INET6, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_RECVERR),
    };
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the descriptor is new and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(Errno::result(libc::socket(family, kind, 0))?) };
    if mark != 0 {
        set(&socket, libc::SOL_SOCKET, libc::SO_MARK, &mark)?;
    }
    set(&socket, level, hop_limit, &c_int::from(hops))?;
    // Without it only "nothing listens" is told (net/ipv4/udp.c: __udp4_lib_err).
    set(&socket, level, errors, &1)?;
    let mut said = Errno::from_raw(0);
    // SAFETY: the address and the datagram are valid for their sizes.
    unsafe {
        Errno::result(libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as _))?;
        for _ in 0..COPIES {
            // An error is the answer to the copy before, and told only once.
            if let Err(errno) = Errno::result(libc::send(socket.as_raw_fd(), [0u8; 4].as_ptr().cast(), 4, 0))
            {
                said = errno;
            }
        }
    }
    Ok((socket, said))
}

/// What the network says of the packets of this socket now.
fn heard(socket: &OwnedFd) -> Errno {
    let (mut code, mut length): (c_int, _) = (0, mem::size_of::<c_int>() as libc::socklen_t);
    // SAFETY: both are valid, and the length is that of the number.
    unsafe {
        let number = (&raw mut code).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, number, &mut length);
    }
    Errno::from_raw(code)
}
