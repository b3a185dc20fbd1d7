// SPDX-License-Identifier: GPL-2.0-only
//! WireGuard in the kernel, over generic netlink. Needs root, a kernel with WireGuard and wireguard-tools: run in the
//! VM (ci/vm/run), with `--features vm-tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::any::Any;

mod common;
#[path = "common/wireguard.rs"]
mod wireguard;

use common::run;

/// A WireGuard interface of the kernel, deleted when dropped.
struct Link(String);

impl Drop for Link {
    fn drop(&mut self) {
        run(&format!("ip link del {}", self.0));
    }
}

fn create(interface: &str) -> Box<dyn Any> {
    run(&format!("ip link add {interface} type wireguard"));
    Box::new(Link(interface.into()))
}

#[test]
fn device_reads_as_wg_shows_it() {
    wireguard::device_reads_as_wg_shows_it(create);
}

#[test]
fn device_without_a_key_has_none() {
    wireguard::device_without_a_key_has_none(create);
}

#[test]
fn endpoint_is_set_and_nothing_else_changes() {
    wireguard::endpoint_is_set_and_nothing_else_changes(
        create,
        &["192.0.2.1:51820", "[2001:db8::1]:443", "[fe80::1%1]:51821"],
    );
}

#[test]
fn unknown_peer_is_not_created() {
    wireguard::unknown_peer_is_not_created(create);
}

#[test]
fn poke_sends_exactly_one_packet_and_leaves_the_keepalive() {
    wireguard::poke_sends_exactly_one_packet_and_leaves_the_keepalive(create);
}

#[test]
fn missing_and_foreign_interfaces_are_told_apart() {
    wireguard::missing_and_foreign_interfaces_are_told_apart(create);
}
