// SPDX-License-Identifier: GPL-2.0-only
//! A netlink socket: ask the kernel and read its answer, or listen to its announcements. What the messages mean is
//! the business of [`super::wireguard`] and [`super::route`].

pub mod wire;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recvfrom,
    sendto, setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use zeroize::Zeroize;

use wire::{Endian, Malformed, Message, Messages, Request};

/// The kernel answers within the call that asks; only a kernel that is stuck on a lock takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The kernel sizes the parts of a dump by the largest buffer it was offered (af_netlink.c: netlink_recvmsg, up to 32
/// KiB), and no announcement of a router is larger than half of this. Four sockets have one each; only what is used
/// becomes resident.
const BUFFER: usize = 16 * 1024;

/// Why the kernel did not answer.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused (its errno), or the socket failed.
    Io(io::Error),
    /// The kernel's answer can't be read.
    Malformed(Malformed),
    /// What was being read changed meanwhile (NLM_F_DUMP_INTR): what was read so far is void, ask again.
    Interrupted,
}

impl Failure {
    /// The kernel's errno, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Failure::Io(error) => error.raw_os_error(),
            Failure::Malformed(_) | Failure::Interrupted => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Io(error) => error.fmt(f),
            Failure::Malformed(Malformed(what)) => write!(f, "the kernel's answer can't be read: {what}"),
            Failure::Interrupted => f.write_str("it changed faster than it could be read"),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => error,
            Failure::Malformed(Malformed(what)) => io::Error::new(io::ErrorKind::InvalidData, what),
            Failure::Interrupted => io::Error::new(io::ErrorKind::Interrupted, "a dump was interrupted"),
        }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::Malformed(malformed)
    }
}

/// What a listening socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything there was.
    All,
    /// The kernel had to drop announcements (ENOBUFS): look at everything anew.
    Overrun,
}

/// A netlink socket. Its buffer is wiped after every datagram: it may have held private and preshared keys.
pub struct Socket {
    fd: OwnedFd,
    buffer: Box<[u8]>,
    sequence: u32,
}

impl Socket {
    /// A socket to ask with. Waits at most a second for an answer.
    pub fn asking(protocol: SockProtocol) -> io::Result<Self> {
        let socket = Self::open(protocol, 0, SockFlag::empty())?;
        setsockopt(&socket.fd, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT.as_secs() as _, 0))?;
        Ok(socket)
    }

    /// A socket to listen with, never blocking. `groups` is a mask of RTMGRP_*.
    pub fn listening(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        Self::open(protocol, groups, SockFlag::SOCK_NONBLOCK)
    }

    fn open(protocol: SockProtocol, groups: u32, flags: SockFlag) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags | SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; BUFFER].into_boxed_slice(), sequence: 0 })
    }

    /// The number that the kernel knows it by: announcements of what it asked for have it, see [`Message::port`].
    pub fn port(&self) -> Option<u32> {
        getsockname::<NetlinkAddr>(self.fd.as_raw_fd()).ok().map(|own| own.pid())
    }

    /// Sends a request, and hands every message of the answer to `each`, up to the kernel's acknowledgement or the
    /// end of its dump. The request must have NLM_F_ACK or NLM_F_DUMP among its flags.
    pub fn ask(
        &mut self,
        request: Request,
        each: &mut dyn FnMut(&Message) -> Result<(), Malformed>,
    ) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        sendto(self.fd.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())
            .map_err(io_failure)?;
        let mut interrupted = false;
        loop {
            let sequence = self.sequence;
            let datagram = self.receive().map_err(Failure::Io)?;
            for message in Messages::new(datagram.0, Endian::NATIVE) {
                let message = message?;
                if message.sequence != sequence {
                    // Of a request that we gave up waiting for.
                    continue;
                }
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        // struct nlmsgerr and the end of a dump both begin with a negative errno.
                        let errno = message.payload.u32(0).map_or(0, |errno| errno as i32);
                        return match errno {
                            0 if interrupted => Err(Failure::Interrupted),
                            0 => Ok(()),
                            _ => Err(Failure::Io(io::Error::from_raw_os_error(errno.wrapping_neg()))),
                        };
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(&message)?,
                }
            }
        }
    }

    /// Hands every message that has arrived to `each`. A message that can't be read is logged, and the rest of its
    /// datagram left: the caller can't do better than to look at everything anew.
    pub fn drain(&mut self, each: &mut dyn FnMut(&Message) -> Result<(), Malformed>) -> io::Result<Drained> {
        let mut drained = Drained::All;
        loop {
            let datagram = match self.receive() {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(drained),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    drained = Drained::Overrun;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let read = Messages::new(datagram.0, Endian::NATIVE).try_for_each(|message| each(&message?));
            if let Err(Malformed(what)) = read {
                log::warn!("netlink: an announcement can't be read: {what}");
                drained = Drained::Overrun;
            }
        }
    }

    /// The next datagram of the kernel's own; whoever else may have sent one is not heard.
    fn receive(&mut self) -> io::Result<Datagram<'_>> {
        loop {
            let received = recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer);
            match received {
                Ok((length, from)) if from.is_none_or(|from| from.pid() == 0) => {
                    // A datagram that fills the buffer to the brim may have been cut: its last message then fails
                    // to parse. The kernel sends none larger than the buffer.
                    return Ok(Datagram(&mut self.buffer[..length]));
                }
                Ok((length, _)) => self.buffer[..length].zeroize(),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Received bytes, wiped when dropped.
struct Datagram<'a>(&'a mut [u8]);

impl Drop for Datagram<'_> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn io_failure(error: nix::errno::Errno) -> Failure {
    Failure::Io(error.into())
}
