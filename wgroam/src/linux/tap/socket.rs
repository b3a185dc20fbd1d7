// SPDX-License-Identifier: GPL-2.0-only
//! The system calls of a packet socket.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, sock_fprog, sockaddr_ll, socklen_t, tpacket_stats};

/// Half of what the kernel then allows, 128 KB with its own bookkeeping: some 50 to 150 packets wait, and a flood
/// fills no more.
const RECEIVE_BUFFER: c_int = 64 * 1024;

/// A packet socket for one protocol on all devices, that shows packets from their IP header on.
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens the socket with `filter` in place before the first packet can come: one that is opened with a protocol
    /// collects packets at once, so this one has none until it is bound.
    pub fn open(protocol: c_int, filter: &mut [sock_filter]) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the descriptor is new and ours.
        let socket = unsafe {
            let fd = check(libc::socket(libc::AF_PACKET, kind, 0))?;
            Self(OwnedFd::from_raw_fd(fd))
        };
        socket.attach(filter)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
        // Only a socket for all protocols is shown what this host sends.
        if protocol != libc::ETH_P_ALL {
            // Since Linux 4.20. A kernel without it leaves the work to the filter.
            let _ = socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1);
        }
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (protocol as u16).to_be();
        // SAFETY: the address is valid for its size.
        check(unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                mem::size_of::<sockaddr_ll>() as socklen_t,
            )
        })?;
        Ok(socket)
    }

    /// Replaces the filter; the kernel swaps it in one step, so that each packet meets the old one or the new one.
    pub fn attach(&self, filter: &mut [sock_filter]) -> io::Result<()> {
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// The next packet and the index of the device it came by. `None`: nothing waits.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<(&'a [u8], u32)>> {
        loop {
            let mut from = MaybeUninit::<sockaddr_ll>::zeroed();
            let mut length = mem::size_of::<sockaddr_ll>() as socklen_t;
            // SAFETY: both buffers are valid for their sizes.
            let read = unsafe {
                libc::recvfrom(
                    self.as_raw_fd(),
                    buffer.as_mut_ptr().cast::<c_void>(),
                    buffer.len(),
                    0,
                    from.as_mut_ptr().cast(),
                    &mut length,
                )
            };
            if read < 0 {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => return Ok(None),
                    _ => return Err(error),
                }
            }
            // SAFETY: zeroed, so that every field has a valid value whatever the kernel wrote.
            let ifindex = unsafe { from.assume_init_ref() }.sll_ifindex;
            return Ok(Some((&buffer[..read as usize], ifindex as u32)));
        }
    }

    /// Were packets lost since the last call, because the buffer was full? In doubt, yes.
    pub fn has_dropped(&self) -> bool {
        let mut statistics = tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = mem::size_of::<tpacket_stats>() as socklen_t;
        // SAFETY: the buffer is valid for its size.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut length,
            )
        };
        result < 0 || statistics.tp_drops > 0
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value is valid for its size, and what a sock_fprog points to outlives the call.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                mem::size_of::<T>() as socklen_t,
            )
        })?;
        Ok(())
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> c_int {
        self.0.as_raw_fd()
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
