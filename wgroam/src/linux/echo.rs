// SPDX-License-Identifier: GPL-2.0-only
//! Echo requests (ICMP, ICMPv6) through a tunnel, and their replies: does anybody live at its other end?
//!
//! - **A request goes out by the interface it is for.** Each packet names it (IP_PKTINFO, IPV6_PKTINFO), so that routes
//!   by other devices do not count. IPv4 takes the target for a neighbour where the interface has no route to it
//!   (net/ipv4/route.c: ip_route_output_key_hash_rcu), IPv6 refuses. `unreachable` routes do not stop it.
//! - **A reply counts only from whom was asked, by the interface that was asked**: what comes by a tunnel is
//!   authenticated by it, what comes by the WAN is by nobody. The request carries both, and a secret; a reply has to
//!   bring them back (RFC 792 and RFC 4443 make it return the data).
//! - **Only our own replies wake the daemon**: raw sockets see every ICMP packet of the machine, so the kernel drops the
//!   other types (ICMP_FILTER, ICMP6_FILTER) and the replies to other people's pings (a packet filter on the
//!   identifier).
//! - **A large one goes as it is or not at all**, whatever was learned of the way's MTU: that is what it asks about
//!   (IP_PMTUDISC_PROBE).

mod mark;

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, c_int,
    in_pktinfo, in6_pktinfo, iovec, msghdr, sock_filter, sock_fprog, sockaddr_in, sockaddr_in6, socklen_t,
};
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg};

use crate::model::Interface;
pub use mark::Reply;
use mark::{DATA, ECHO_REPLY, ECHO_REPLY_V6, ECHO_REQUEST, ECHO_REQUEST_V6, HEADER, Mark};

/// Half of what the kernel then allows: some 40 replies wait, more than there are probes a second.
const RECEIVE_BUFFER: c_int = 16 * 1024;

/// include/uapi/linux/icmp.h and icmpv6.h: a set bit stops that type.
const ICMP_FILTER: c_int = 1;
const ICMPV6_FILTER: c_int = 1;

/// Sends echo requests and hears their replies. Needs CAP_NET_RAW. Works in the network namespace in which it was
/// opened.
///
/// Its readiness is edge-triggered: call [`Echo::next`] until it has nothing more.
pub struct Echo {
    v4: OwnedFd,
    /// None in a kernel without IPv6.
    v6: Option<OwnedFd>,
    mark: Mark,
}

impl Echo {
    /// Opens the sockets.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        let mark = Mark::random()?;
        let v4 = raw_socket(libc::AF_INET, libc::IPPROTO_ICMP)?;
        set(&v4, libc::SOL_RAW, ICMP_FILTER, &!(1u32 << ECHO_REPLY))?;
        set(&v4, libc::IPPROTO_IP, libc::IP_PKTINFO, &1)?;
        set(&v4, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_PROBE)?;
        // The filter sees an IPv4 packet from its IP header on (raw.c: raw_rcv), and an IPv6 one from its ICMPv6 header
        // on (net/ipv6/raw.c: rawv6_rcv).
        filter(
            &v4,
            &mut [statement(BPF_LDX | BPF_B | BPF_MSH, 0), statement(BPF_LD | BPF_H | BPF_IND, 4)],
            &mark,
        )?;

        let v6 = match raw_socket(libc::AF_INET6, libc::IPPROTO_ICMPV6) {
            Ok(socket) => Some(socket),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        if let Some(v6) = &v6 {
            let mut stopped = [u32::MAX; 8];
            stopped[usize::from(ECHO_REPLY_V6) / 32] &= !(1 << (ECHO_REPLY_V6 % 32));
            set(v6, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &stopped)?;
            set(v6, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1)?;
            set(v6, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &libc::IPV6_PMTUDISC_PROBE)?;
            filter(v6, &mut [statement(BPF_LD | BPF_H | BPF_ABS, 4)], &mark)?;
        }
        Ok(Self { v4, v6, mark })
    }

    /// Sends one request to `target` by `interface`. `token` comes back with the reply, if there is one.
    ///
    /// # Errors
    /// The message names the interface, and says what is wrong as far as the kernel tells: the interface is not there or
    /// down, has no route to the target (IPv6), no peer of it has the target among its allowed IPs, that peer has no
    /// endpoint, a firewall on this machine drops it.
    pub fn send(&mut self, interface: Interface, target: IpAddr, token: u16) -> io::Result<()> {
        self.send_any(interface, target, token, 0, false)
    }

    /// Sends one that goes no further than the router at the other end of the tunnel, which answers it at once whoever the
    /// target is (RFC 4443, 3.3). What comes in is not brought here: it is WireGuard's counters that tell.
    ///
    /// # Errors
    /// As [`Echo::send`].
    pub fn wake(&mut self, interface: Interface, target: IpAddr) -> io::Result<()> {
        self.send_any(interface, target, 0, 0, true)
    }

    /// As [`Echo::send`], a packet of so many bytes with its IP header, never in fragments; a smaller number counts as the
    /// least that there is.
    pub fn send_sized(
        &mut self,
        interface: Interface,
        target: IpAddr,
        token: u16,
        size: usize,
    ) -> io::Result<()> {
        self.send_any(interface, target, token, size, false)
    }

    fn send_any(
        &mut self,
        interface: Interface,
        target: IpAddr,
        token: u16,
        size: usize,
        near: bool,
    ) -> io::Result<()> {
        let ip_header = if target.is_ipv4() { 20 } else { 40 };
        // Zeroes, which change no checksum.
        let padding = vec![0; size.saturating_sub(ip_header + HEADER + DATA)];
        let ifindex = if_nametoindex(interface.as_str()).map_err(|error| {
            io::Error::new(io::Error::from(error).kind(), format!("{interface}: there is no such interface"))
        })?;
        let sent = match (target, &self.v6) {
            (IpAddr::V4(ip), _) => {
                let packet = self.mark.request(ECHO_REQUEST, ifindex, target, token);
                // SAFETY: all-zero bytes are a valid in_pktinfo.
                let mut by: in_pktinfo = unsafe { mem::zeroed() };
                by.ipi_ifindex = ifindex as _;
                let to = SockaddrIn::from(SocketAddrV4::new(ip, 0));
                let parts = [IoSlice::new(&packet), IoSlice::new(&padding)];
                transmit(&self.v4, &parts, &[ControlMessage::Ipv4PacketInfo(&by)], &to)
            }
            (IpAddr::V6(ip), Some(v6)) => {
                let packet = self.mark.request(ECHO_REQUEST_V6, ifindex, target, token);
                // SAFETY: all-zero bytes are a valid in6_pktinfo.
                let mut by: in6_pktinfo = unsafe { mem::zeroed() };
                by.ipi6_ifindex = ifindex as _;
                let scope = if ip.is_unicast_link_local() { ifindex } else { 0 };
                let to = SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, scope));
                let parts = [IoSlice::new(&packet), IoSlice::new(&padding)];
                let hops = ControlMessage::Ipv6HopLimit(&1);
                let by = [ControlMessage::Ipv6PacketInfo(&by), hops];
                transmit(v6, &parts, if near { &by } else { &by[..1] }, &to)
            }
            (IpAddr::V6(_), None) => Err(Errno::EAFNOSUPPORT),
        };
        sent.map_err(|errno| self.explain(interface, target, errno))
    }

    /// The next reply, or `None` when nothing waits.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and an end is only the end for now")]
    pub fn next(&mut self) -> io::Result<Option<Reply>> {
        // The longest IPv4 header, and what we sent; of a longer reply the beginning.
        let mut buffer = [0; 60 + HEADER + DATA];
        while let Some((packet, source, ifindex)) = receive(&self.v4, &mut buffer)? {
            let header = usize::from(packet.first().map_or(0, |byte| byte & 15)) * 4;
            let message = packet.get(header..).unwrap_or_default();
            if let Some(reply) = self.mark.reply(ECHO_REPLY, message, source, ifindex) {
                return Ok(Some(reply));
            }
        }
        let Some(v6) = &self.v6 else { return Ok(None) };
        while let Some((message, source, ifindex)) = receive(v6, &mut buffer)? {
            if let Some(reply) = self.mark.reply(ECHO_REPLY_V6, message, source, ifindex) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// "Required key not available" is WireGuard's for: no peer for that address.
    fn explain(&self, interface: Interface, target: IpAddr, errno: Errno) -> io::Error {
        let error = io::Error::from(errno);
        let what = match errno {
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EADDRNOTAVAIL
            | Errno::ENODEV => {
                if self.is_up(interface) {
                    format!("no route or no source address for {target} by this interface")
                } else {
                    "the interface is down".into()
                }
            }
            Errno::ENOKEY => format!("no peer has {target} among its allowed IPs"),
            Errno::EDESTADDRREQ => {
                format!("the peer that has {target} among its allowed IPs has no endpoint")
            }
            Errno::EPERM => format!("a firewall rule on this machine drops echo requests to {target}"),
            Errno::EAFNOSUPPORT => "the kernel has no IPv6".into(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("{interface}: {what}"))
    }

    /// Unknown counts as up.
    fn is_up(&self, interface: Interface) -> bool {
        // SAFETY: all-zero bytes are a valid ifreq, whose name is longer than any interface's.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(interface.as_str().bytes()) {
            *to = from as _;
        }
        // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of the ifreq.
        let flags = unsafe {
            match libc::ioctl(self.v4.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request) {
                0 => request.ifr_ifru.ifru_flags,
                _ => return true,
            }
        };
        c_int::from(flags) & libc::IFF_UP != 0
    }

    fn sockets(&self) -> impl Iterator<Item = RawFd> {
        [Some(&self.v4), self.v6.as_ref()].into_iter().flatten().map(AsRawFd::as_raw_fd)
    }
}

/// Both sockets under one token.
impl Source for Echo {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.sockets().try_for_each(|fd| SourceFd(&fd).register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.sockets().try_for_each(|fd| SourceFd(&fd).reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.sockets().try_for_each(|fd| SourceFd(&fd).deregister(registry))
    }
}

pub(super) fn raw_socket(family: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the descriptor is new and ours.
    let socket = unsafe {
        let fd = Errno::result(libc::socket(family, kind, protocol))?;
        OwnedFd::from_raw_fd(fd)
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
    Ok(socket)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Lets only those packets pass whose identifier, as these instructions load it, is ours.
fn filter(socket: &OwnedFd, load: &mut [sock_filter], mark: &Mark) -> io::Result<()> {
    let mut program = load.to_vec();
    program.push(sock_filter { jf: 1, ..statement(BPF_JMP | BPF_JEQ | BPF_K, u32::from(mark.identifier)) });
    program.push(statement(BPF_RET | BPF_K, u32::MAX));
    program.push(statement(BPF_RET | BPF_K, 0));
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Sets an option of a socket.
pub(super) fn set<T>(socket: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is valid for its size, and what a sock_fprog points to outlives the call.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            mem::size_of::<T>() as socklen_t,
        )
    })?;
    Ok(())
}

fn transmit(
    socket: &OwnedFd,
    parts: &[IoSlice],
    by: &[ControlMessage],
    to: &impl SockaddrLike,
) -> Result<(), Errno> {
    loop {
        match sendmsg(socket.as_raw_fd(), parts, by, MsgFlags::empty(), Some(to)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The next packet, its sender and the link it came by. `None`: nothing waits.
///
/// By hand: nix reads every kind of control message there is, 3 KB on MIPS for the one that comes here.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<Option<(&'a [u8], IpAddr, u32)>> {
    loop {
        // Aligned as a control message has to be, and with room for the longer of the two.
        let mut control = [0u64; 8];
        // SAFETY: all-zero bytes are a valid address, the longer of the two, and a valid message.
        let (mut from, mut message): (sockaddr_in6, msghdr) = unsafe { mem::zeroed() };
        let mut part = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of::<sockaddr_in6>() as socklen_t;
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: all that the message points to is valid for its size.
        let length = match Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) }) {
            Ok(length) => length as usize,
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // SAFETY: the kernel has left whole control messages in the buffer.
        let Some(header) = (unsafe { libc::CMSG_FIRSTHDR(&message).as_ref() }) else { continue };
        // SAFETY: each kind is followed by a structure of its own, and comes by a socket with addresses of its family.
        let (source, ifindex) = match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => unsafe {
                let from = (&raw const from).cast::<sockaddr_in>().read();
                let by = libc::CMSG_DATA(header).cast::<in_pktinfo>().read_unaligned();
                (Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()).into(), by.ipi_ifindex as u32)
            },
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => unsafe {
                let by = libc::CMSG_DATA(header).cast::<in6_pktinfo>().read_unaligned();
                (Ipv6Addr::from(from.sin6_addr.s6_addr).into(), by.ipi6_ifindex as u32)
            },
            _ => continue,
        };
        return Ok(Some((&buffer[..length], source, ifindex)));
    }
}
