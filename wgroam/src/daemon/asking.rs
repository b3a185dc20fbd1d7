// SPDX-License-Identifier: GPL-2.0-only
//! What the daemon asks the world for the engine: names of the resolver, echoes through the tunnel.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::{Daemon, failed};
use crate::engine::{Event, ResolveError};
use crate::linux::echo::Echo;
use crate::linux::resolver::{self, Resolver};
use crate::model::Interface;

/// The resolver has no thread and the echo no socket until they are needed.
pub struct Asking {
    resolver: Resolver,
    echo: Option<Echo>,
    echo_token: Token,
    registry: Registry,
}

impl Asking {
    /// Joins the loop.
    pub fn start(registry: &Registry, names: Token, echoes: Token) -> io::Result<Self> {
        let resolver = Resolver::start()?;
        registry.register(&mut SourceFd(&resolver.as_raw_fd()), names, Interest::READABLE)?;
        Ok(Self { resolver, echo: None, echo_token: echoes, registry: registry.try_clone()? })
    }

    /// When [`Daemon::take_names`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.resolver.deadline()
    }

    /// Asks for a name.
    pub fn resolve(&mut self, host: &str) {
        self.resolver.ask(host);
    }

    /// Sends one echo request through the interface.
    pub fn probe(&mut self, interface: Interface, target: IpAddr, token: u16) -> io::Result<()> {
        self.echo()?.send(interface, target, token)
    }

    /// Sends something that the router at the other end answers.
    pub fn wake(&mut self, interface: Interface, target: IpAddr) -> io::Result<()> {
        self.echo()?.wake(interface, target)
    }

    fn echo(&mut self) -> io::Result<&mut Echo> {
        let echo = match self.echo.take() {
            Some(echo) => echo,
            None => {
                let mut echo = Echo::open()?;
                self.registry.register(&mut echo, self.echo_token, Interest::READABLE)?;
                echo
            }
        };
        Ok(self.echo.insert(echo))
    }
}

impl Daemon {
    /// Names that were found, or not.
    pub(super) fn take_names(&mut self, now: Instant) {
        self.asking.resolver.expire(now);
        while let Some(answer) = self.asking.resolver.next() {
            let host = answer.host;
            let answer = answer.addresses.map_err(|error| match error {
                resolver::ResolveError::NotFound => ResolveError::NotFound,
                resolver::ResolveError::TimedOut => ResolveError::TimedOut,
                other => ResolveError::Temporary(other.to_string()),
            });
            self.engine.handle_event(now, Event::Resolved { host, answer });
        }
    }

    /// Echoes that came back.
    pub(super) fn take_echoes(&mut self, now: Instant) -> Result<(), super::Error> {
        while let Some(echo) = &mut self.asking.echo {
            let Some(reply) = echo.next().map_err(failed("echo socket"))? else { break };
            if let Some(interface) = self.routes.name_of(reply.ifindex) {
                let (target, token) = (reply.source, reply.token);
                self.engine.handle_event(now, Event::ProbeReply { interface, target, token });
            }
        }
        Ok(())
    }
}
