// SPDX-License-Identifier: GPL-2.0-only
//! What owners, networks and clocks do.

use wgroam::engine::{Command, Event};
use wgroam::wan::WanChange;

use super::host::interface;
use super::rng::Rng;
use super::script::{ANCHOR, Happens, ROAMER};
use super::wireguard::Payload;
use super::world::{World, roamers};

impl World {
    pub(super) fn happen(&mut self, what: Happens) {
        self.tell_story(|_| format!("{what:?}"));
        match what {
            Happens::Flap(host) => {
                let (now, wall) = (self.now, self.hosts[host].wall(self.now));
                for up in [false, true] {
                    self.hosts[host].wireguard.set_link(now, wall, up);
                    self.tell(host, Event::DeviceUp { interface: interface() });
                    self.flush(host);
                }
            }
            Happens::Recreate(host) => {
                if let Some(daemon) = &mut self.hosts[host].daemon {
                    daemon.forget();
                }
                self.tell(host, Event::DeviceGone { interface: interface() });
                let rng = Rng(self.rng.next());
                self.hosts[host].recreate(host, rng);
                self.tell(host, Event::DeviceUp { interface: interface() });
                self.configure(host, host == ROAMER || self.script.anchor_knows);
                self.tell(host, Event::DeviceUp { interface: interface() });
            }
            Happens::Anew(host, keeps) => {
                let (now, wall) = (self.now, self.hosts[host].wall(self.now));
                let wireguard = &mut self.hosts[host].wireguard;
                wireguard.readd(now, wall, None);
                if !keeps && host == ANCHOR {
                    wireguard.endpoint = None;
                    wireguard.outbox.clear();
                    self.hosts[host].alone = None;
                }
                self.flush(host);
            }
            Happens::Send(host, bytes) => {
                let (now, wall) = (self.now, self.hosts[host].wall(self.now));
                self.hosts[host].wireguard.transmit(now, wall, Payload::Load(bytes));
                self.flush(host);
            }
            Happens::Moves => {
                self.places += 1;
                let roamer = &mut self.hosts[ROAMER];
                let old = std::mem::replace(&mut roamer.address, roamers(self.places));
                roamer.earlier.push(old);
                self.tell(ROAMER, Event::OwnAddresses(vec![roamers(self.places).ip()]));
                self.happen(Happens::WanChanged(ROAMER));
            }
            Happens::Clock(off) => {
                self.hosts[ROAMER].clock = off;
                let wall = self.hosts[ROAMER].wall(self.now);
                self.tell(ROAMER, Event::ClockStepped { wall });
            }
            Happens::Firewall(host, firewall) => self.hosts[host].firewall = firewall,
            Happens::Tap(tap) => self.hosts[ANCHOR].tap = tap,
            Happens::Unheard(unheard) => self.unheard = unheard,
            Happens::DaemonStops(host) => self.stop(host),
            Happens::DaemonStarts(host, with_state) => self.start(host, with_state),
            Happens::OwnerSets => {
                let (now, wall) = (self.now, self.hosts[ANCHOR].wall(self.now));
                let roamer = self.hosts[ROAMER].address;
                let anchor = &mut self.hosts[ANCHOR];
                let set_by_wgroam = anchor.wireguard.endpoint == Some(roamer) && anchor.alone != Some(roamer);
                self.referee.same_as_owner |= set_by_wgroam;
                anchor.alone = Some(roamer);
                self.hosts[ANCHOR].wireguard.set_endpoint(now, wall, roamer);
                self.flush(ANCHOR);
            }
            Happens::Poke(host) => {
                self.tell(host, Event::Command(Command::Poke { interface: None, peer: None }));
            }
            Happens::WanChanged(host) => {
                let address = self.hosts[host].address.ip();
                let change = WanChange::Address("wan".parse().unwrap(), address);
                self.tell(host, Event::WanChanged(change));
            }
        }
    }
}
