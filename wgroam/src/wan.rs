// SPDX-License-Identifier: GPL-2.0-only
//! What a change of our own way to the Internet is. The Linux layer finds out, the engine acts on it.

use std::net::IpAddr;

use crate::model::Interface;

/// How our own way to the Internet changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WanChange {
    /// A device that counts as WAN came up.
    Up(Interface),
    /// A device that counts as WAN went down or away.
    Down(Interface),
    /// It has another address.
    Address(Interface, IpAddr),
    /// Default routes changed: this device carries the best one of a family now, or none does.
    Route(Option<Interface>),
    /// Policy rules changed (`ip rule`): packets may take another uplink.
    Rules,
}
