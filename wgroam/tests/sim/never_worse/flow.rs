// SPDX-License-Identifier: GPL-2.0-only
//! What the LANs send, and what became of it.

use std::net::IpAddr;
use std::time::Duration;

use super::hands::PARKED;
use super::plan::{Carries, Plan, R1, R2, R3, chance};
use super::router::{inside_address, lan6};
use crate::wireguard::Time;

/// From one ping of a LAN to its next. An answer that takes longer than `IN_TIME` is none.
pub const PING: Duration = Duration::from_millis(500);
pub const IN_TIME: Duration = Duration::from_secs(1);

/// A LAN that sends into its tunnel all the time.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub host: usize,
    pub tunnel: usize,
    pub to: IpAddr,
    /// When its first ping is sent.
    offset: Time,
}

impl Flow {
    /// The ends of its tunnel.
    pub fn ends(&self) -> [usize; 2] {
        let far = if self.host == R1 { self.tunnel + 1 } else { self.host };
        [R1, far]
    }
}

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    Silent,
    Answered,
    /// A route refused it, or led it past the tunnel.
    Refused,
}

pub fn flows(plan: &Plan) -> Vec<Flow> {
    let mut flows = vec![(R1, 0, lan6(R2)), (R2, 0, lan6(R1))];
    match plan.seed % 4 {
        // Somebody in R1's LAN uses R2 by its IPv4 address in the tunnel.
        0 => flows.push((R1, 0, inside_address(R2))),
        // Or something in the Internet that a name of ours means at times.
        1 if plan.ends[R1].carries != Carries::Split => flows.push((R1, 0, PARKED)),
        _ => {}
    }
    flows.retain(|flow| plan.only.is_none_or(|only| only == flow.0));
    if plan.second.is_some() {
        flows.extend([(R1, 1, lan6(R3)), (R3, 0, lan6(R1))]);
    }
    let flow = |(at, (host, tunnel, to)): (usize, (usize, usize, IpAddr))| {
        let offset = Duration::from_millis(3000 + chance(plan.seed, Time::ZERO, at as u64) % 500);
        Flow { host, tunnel, to, offset }
    };
    flows.into_iter().enumerate().map(flow).collect()
}

impl Flow {
    pub fn sent(&self, ping: usize) -> Time {
        self.offset + PING * ping as u32
    }

    pub fn pings(&self, until: Time) -> usize {
        (until.saturating_sub(self.offset).as_millis() / PING.as_millis()) as usize
    }
}
