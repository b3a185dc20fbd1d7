// SPDX-License-Identifier: GPL-2.0-only
//! WireGuard interfaces, whoever runs them: the kernel ([`genl`]) or a program in user space ([`uapi`]).

pub mod dump;
pub mod genl;
mod readd;
pub mod uapi;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use self::readd::Kept;
use super::netlink::Failure;
use super::netlink::wire::Malformed;
use super::route::Links;
use super::route::message::{Kind, Link};
use crate::lists;
use crate::model::{Device, Interface, PrivateKey, PublicKey};

/// One way to talk to WireGuard. A peer that is not there is never created: nothing happens, and that is no error,
/// since neither the kernel nor wireguard-go tells.
pub trait Backend {
    /// The device, and its private key if it has one.
    fn device(&mut self, link: &Link) -> Result<(Device, Option<PrivateKey>), Error>;

    /// Tells WireGuard where the peer is. Nothing else of it changes; what waited for an endpoint is sent.
    fn set_endpoint(&mut self, link: &Link, peer: &PublicKey, endpoint: SocketAddr) -> Result<(), Error>;

    /// Makes WireGuard send the peer one authenticated packet now, and leaves this persistent keepalive behind
    /// (seconds, 0 = off). On an interface that is down nothing is sent.
    fn poke(&mut self, link: &Link, peer: &PublicKey, keepalive: u16) -> Result<(), Error>;

    /// Has WireGuard listen on another port at once; 0: on a random one. The sessions survive. On an interface that is
    /// down it chooses a random port when it comes up; until then it is 0.
    fn set_port(&mut self, link: &Link, port: u16) -> Result<(), Error>;

    /// What makes up the peer; it says, too, whether there is one.
    fn kept(&mut self, link: &Link, peer: &PublicKey) -> Result<Kept, Error>;

    /// Removes the peer and adds it again in one step, with what is kept of it, at this endpoint, and makes it begin a
    /// handshake. What is forgotten: its session, its counters, and the newest timestamp that it proved itself with.
    ///
    /// # Errors
    /// [`Error::TooManyAllowedIps`]: only the endpoint was set.
    fn readd_peer(&mut self, link: &Link, kept: &Kept, endpoint: SocketAddr) -> Result<(), Error>;
}

/// All WireGuard interfaces of this network namespace.
#[derive(Default)]
pub struct WireGuard {
    links: Links,
    kernel: genl::Kernel,
    userspace: uapi::Userspace,
}

impl WireGuard {
    /// Opens nothing yet: sockets come with their first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// All WireGuard interfaces there are now, by name.
    pub fn interfaces(&mut self) -> io::Result<Vec<Interface>> {
        let mut found: Vec<Interface> = Vec::new();
        for link in self.links.all()? {
            if link.kind == Some(Kind::WireGuard) || uapi::answers(link.interface) {
                found.push(link.interface);
            }
        }
        lists::sort_list(&mut found);
        Ok(found)
    }

    /// The device, and its private key if it has one. Drop the key as soon as it has served.
    pub fn device(&mut self, interface: Interface) -> Result<(Device, Option<PrivateKey>), Error> {
        let (link, backend) = self.backend(interface)?;
        backend.device(&link)
    }

    /// Tells WireGuard where the peer is: [`Backend::set_endpoint`].
    pub fn set_endpoint(
        &mut self,
        interface: Interface,
        peer: &PublicKey,
        endpoint: SocketAddr,
    ) -> Result<(), Error> {
        let (link, backend) = self.backend(interface)?;
        backend.set_endpoint(&link, peer, endpoint)
    }

    /// Makes WireGuard send the peer something: [`Backend::poke`].
    pub fn poke(&mut self, interface: Interface, peer: &PublicKey, keepalive: u16) -> Result<(), Error> {
        let (link, backend) = self.backend(interface)?;
        backend.poke(&link, peer, keepalive)
    }

    /// Another source port: [`Backend::set_port`].
    pub fn set_port(&mut self, interface: Interface, port: u16) -> Result<(), Error> {
        let (link, backend) = self.backend(interface)?;
        backend.set_port(&link, port)
    }

    /// The networks that the peer may send from and is sent to, with their prefix lengths; none if there is no such peer.
    pub fn allowed_ips(
        &mut self,
        interface: Interface,
        peer: &PublicKey,
    ) -> Result<Vec<(IpAddr, u8)>, Error> {
        let (link, backend) = self.backend(interface)?;
        Ok(backend.kept(&link, peer)?.allowed_ips)
    }

    /// A fresh start with a peer, at this endpoint or its own: [`Backend::readd_peer`]. Without any nothing is changed.
    ///
    /// # Errors
    /// [`Error::NoPeer`]; [`Error::TooManyAllowedIps`]: only the endpoint was set.
    pub fn readd_peer(
        &mut self,
        interface: Interface,
        peer: &PublicKey,
        endpoint: Option<SocketAddr>,
    ) -> Result<(), Error> {
        let (link, backend) = self.backend(interface)?;
        let kept = backend.kept(&link, peer)?;
        if !kept.found {
            return Err(Error::NoPeer(interface, *peer));
        }
        match endpoint.or(kept.peer.endpoint) {
            Some(endpoint) => backend.readd_peer(&link, &kept, endpoint),
            None => Ok(()),
        }
    }

    /// The kernel itself says whether a link is its own WireGuard. (Asking the "wireguard" family would do too, but
    /// on a machine without it every question makes the kernel start modprobe.)
    fn backend(&mut self, interface: Interface) -> Result<(Link, &mut dyn Backend), Error> {
        let link = match self.links.find(interface) {
            Ok(Some(link)) => link,
            Ok(None) => return Err(Error::Gone(interface)),
            Err(failure) => return Err(Error::from_failure(interface, failure)),
        };
        match link.kind {
            Some(Kind::WireGuard) => Ok((link, &mut self.kernel)),
            _ => Ok((link, &mut self.userspace)),
        }
    }
}

/// Why WireGuard could not be read or told something.
#[derive(Debug)]
pub enum Error {
    /// There is no such interface, or it went away meanwhile.
    Gone(Interface),
    /// There is one, but neither the kernel's WireGuard nor one with a socket is behind it.
    NotWireGuard(Interface),
    /// The kernel says that we may not.
    Denied(Interface),
    /// The socket of a WireGuard in user space says that we may not.
    SocketDenied(Interface),
    /// There is no such peer. Only [`Backend::readd_peer`] tells.
    NoPeer(Interface, PublicKey),
    /// The peer has more allowed IPs than one request to the kernel can hold (some 1,600), so that it can't be added
    /// again in one step.
    TooManyAllowedIps(Interface, PublicKey),
    /// The answer can't be read.
    Malformed(Interface, &'static str),
    /// Anything else.
    Io(Interface, io::Error),
}

impl Error {
    fn from_failure(interface: Interface, failure: Failure) -> Self {
        match failure {
            Failure::Malformed(Malformed(what)) => Error::Malformed(interface, what),
            Failure::Interrupted => Error::Io(interface, failure.into()),
            Failure::Io(error) => match error.raw_os_error() {
                Some(libc::ENODEV) => Error::Gone(interface),
                Some(libc::EOPNOTSUPP) => Error::NotWireGuard(interface),
                Some(libc::EPERM) => Error::Denied(interface),
                _ => Error::Io(interface, error),
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Gone(interface) => write!(f, "{interface}: there is no such interface"),
            Error::NotWireGuard(interface) => write!(
                f,
                "{interface}: not a WireGuard interface, neither of the kernel nor with a socket {}",
                uapi::socket_path(*interface).display()
            ),
            Error::Denied(interface) => {
                write!(f, "{interface}: the kernel refuses; run wgroam as root or give it CAP_NET_ADMIN")
            }
            Error::SocketDenied(interface) => write!(
                f,
                "{interface}: may not open {}; run wgroam as the user who runs this WireGuard",
                uapi::socket_path(*interface).display()
            ),
            Error::NoPeer(interface, peer) => write!(f, "{interface}: there is no peer {}", peer.short()),
            Error::TooManyAllowedIps(interface, peer) => write!(
                f,
                "{interface}: peer {} has too many allowed IPs to be added again in one step; only its endpoint was set",
                peer.short()
            ),
            Error::Malformed(interface, what) => {
                write!(f, "{interface}: WireGuard's answer can't be read: {what}")
            }
            Error::Io(interface, error) => write!(f, "{interface}: {error}"),
        }
    }
}

impl std::error::Error for Error {}
