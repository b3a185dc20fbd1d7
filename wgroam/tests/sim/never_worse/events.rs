// SPDX-License-Identifier: GPL-2.0-only
//! What happens to the ends, as the plan says.

use std::time::Duration;

use wgroam::engine::{Engine, Event as Told};
use wgroam::model::Interface;
use wgroam::routing::Via;
use wgroam::wan::WanChange;

use super::plan::{ClockSet, Event, R3, What};
use super::router::{interface, socket};
use super::world::{Due, World};
use crate::world::DEBOUNCE;

fn wan() -> Interface {
    "wan".parse().expect("a name")
}

impl World<'_> {
    pub(super) fn event(&mut self, event: &Event) {
        let (now, end) = (self.now, event.end);
        self.note(|_| format!("R{}: {:?}", end + 1, event.what));
        match event.what {
            What::Cut { time, told } => self.cut(end, time, told),
            What::Flap => self.cut(end, Duration::from_secs(1), true),
            What::Move { off, portal, ddns } => {
                self.routers[end].moves(self.plan.seed);
                self.after(off + ddns, Due::Publish(end));
                self.routers[end].portal = if portal.is_zero() { now } else { now + off + portal };
                self.cut(end, off, true);
            }
            What::Forget => self.routers[end].nat.forget(),
            What::Swallow { time } => self.routers[end].swallowed = now + time,
            What::Block { time } => self.blocked = now + time,
            What::Reboot { off, behind, memory, moves } => {
                let host = &mut self.routers[end];
                let known = host.engine.take().filter(|_| memory);
                host.remembered = known.map(|engine| engine.memory()).unwrap_or_default();
                host.tunnels.iter_mut().for_each(|tunnel| tunnel.wireguard = None);
                host.own_routes.clear();
                host.owner_routes.clear();
                host.nat.forget();
                host.off = host.off.max(now + off);
                if moves && end != R3 {
                    host.moves(self.plan.seed);
                    self.after(off + Duration::from_secs(3), Due::Publish(end));
                }
                let host = &mut self.routers[end];
                if let Some((seconds, set)) = behind {
                    host.clock_off = -(seconds as i64);
                    host.asks_time = set == ClockSet::ThroughTunnel;
                    if let ClockSet::After(time) = set {
                        self.after(off + time, Due::SetClock(end));
                    }
                }
                self.after(off, Due::Boot(end));
            }
            What::Lie { lie, time } => self.lies[end] = Some((lie, now + time)),
            What::NoNames { time } => self.routers[end].no_names = now + time,
            What::Script => {
                let (peer, wall) = (1 - end, self.routers[end].wall(now));
                let there = socket(self.routers[peer].nat.address);
                if let Some(wireguard) = &mut self.routers[end].tunnels[0].wireguard {
                    wireguard.set_endpoint(now, wall, there);
                    self.flush(end, 0);
                }
            }
            What::Hands => {
                self.routers[end].own_routes.clear();
                self.after(Duration::from_millis(1), Due::Tell(end, Told::RoutesChanged));
            }
            What::Restart { memory } => {
                let host = &mut self.routers[end];
                let kept = host.engine.take().filter(|_| memory).map(|engine: Engine| engine.memory());
                if memory {
                    // It stopped cleanly.
                    host.own_routes.clear();
                }
                self.start_engine(end, kept.unwrap_or_default());
            }
            What::Touch => self.address_event(end, DEBOUNCE),
        }
    }

    fn address_event(&mut self, end: usize, after: Duration) {
        let address = self.routers[end].nat.inside;
        self.after(after, Due::Tell(end, Told::WanChanged(WanChange::Address(wan(), address))));
    }

    /// The link carries nothing for a while. If the kernel notices, the adapter tells when it is sure.
    fn cut(&mut self, end: usize, time: Duration, told: bool) {
        let host = &mut self.routers[end];
        host.off = host.off.max(self.now + time);
        if !told {
            return;
        }
        host.off_told = host.off_told.max(self.now + time);
        // The kernel takes routes by a link that is down away, whoever made them; the owner's tool makes its own anew.
        host.own_routes.retain(|route| !matches!(route.via, Via::By(_)));
        if time > DEBOUNCE {
            self.after(DEBOUNCE, Due::Tell(end, Told::WanChanged(WanChange::Route(None))));
        }
        let addresses = self.routers[end].own_addresses();
        self.after(time, Due::Tell(end, Told::OwnAddresses(addresses)));
        self.address_event(end, time + DEBOUNCE);
        let route = Told::WanChanged(WanChange::Route(Some(wan())));
        self.after(time + DEBOUNCE, Due::Tell(end, route));
    }

    /// The tunnel carried something for the first time since the router's clock is wrong: now it can ask for the time.
    pub(super) fn may_ask_time(&mut self, router: usize) {
        if std::mem::take(&mut self.routers[router].asks_time) {
            self.after(Duration::from_secs(1), Due::SetClock(router));
        }
    }

    pub(super) fn tunnel_named(&self, router: usize, name: Interface) -> Option<usize> {
        (0..self.routers[router].tunnels.len()).find(|&tunnel| interface(tunnel) == name)
    }
}
