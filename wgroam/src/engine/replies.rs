// SPDX-License-Identifier: GPL-2.0-only
//! Answers that ladders wait for: what a name stands for, and echoes out of the tunnel.

use std::net::IpAddr;
use std::time::Instant;

use super::chase::Stage;
use super::ladder::recovered;
use super::peer::PeerState;
use super::{Engine, Report, ResolveError};
use crate::model::Interface;

impl Engine {
    pub(super) fn on_resolved(
        &mut self,
        now: Instant,
        host: String,
        answer: Result<Vec<IpAddr>, ResolveError>,
    ) {
        let old = self.names.lookup(&host).0;
        let changed = self.names.answer(now, &host, &answer);
        let good = answer.is_ok();
        let new: Vec<IpAddr> = answer.iter().flatten().copied().filter(|ip| !old.contains(ip)).collect();
        if changed {
            self.report(Report::Name { host: host.clone(), answer });
        }
        let settings = &self.settings;
        for device in self.devices.values_mut().filter(|device| device.present() && good) {
            let mut concerned = false;
            for peer in device.peers.values_mut() {
                let section = settings.chased(device.interface, peer.seen.public_key);
                let names_it =
                    section.is_some_and(|section| section.endpoints.iter().any(|c| c.host == host));
                let ladder = peer.chased.as_mut().and_then(|chased| chased.ladder.as_mut());
                // That nothing changed is told by a look too: the endpoint may be out of date for longer.
                concerned |= names_it && (changed || ladder.is_some());
                // What is new is tried as soon as it may be.
                if let Some(ladder) = ladder.filter(|_| names_it && changed) {
                    (ladder.stage, ladder.due, ladder.resting) = (Stage::Trying, now, false);
                    if let (Some(section), false) = (section, new.is_empty()) {
                        // What had its chance by another name is not new.
                        let news = self.names.endpoints(section).into_iter();
                        let news =
                            news.filter(|other| new.contains(&other.ip()) && !ladder.tried.contains(other));
                        ladder.news.extend(news);
                    }
                }
            }
            if concerned {
                device.looks.now(now, &self.ticks);
            }
        }
    }

    /// Only replies that came out of the tunnel are brought here: they were authenticated by WireGuard.
    pub(super) fn on_probe_reply(&mut self, now: Instant, interface: Interface, target: IpAddr, token: u16) {
        let Some(device) = self.devices.get_mut(&interface) else { return };
        let asked = |peer: &&mut Box<PeerState>| {
            let section = self.settings.chased(interface, peer.seen.public_key);
            section.is_some_and(|section| section.probe == Some(target))
        };
        for peer in device.peers.values_mut().filter(asked) {
            let Some(mut chased) = peer.chased.take() else { continue };
            if chased.reply(now, token) && chased.ladder.is_some() {
                self.actions.extend(recovered(interface, &mut chased, peer, now));
                device.looks.now(now, &self.ticks);
            }
            peer.chased = Some(chased);
        }
    }
}
