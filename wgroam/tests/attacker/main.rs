// SPDX-License-Identifier: GPL-2.0-only
//! Somebody who records every packet and sends it again, at any moment, in any order and from any address, against the
//! engine. Each play is drawn from a seed: two ends of a tunnel with a model of WireGuard, what happens to them, what the
//! attacker does, and a referee who knows who really sent what. After the attack both ends have to reach each other as soon
//! as they do when wgroam is gone, and whatever endpoints it set with it.
//!
//! `PLAYS=1000000 ci/cargo test --release --test attacker` plays a million. `PLAY=seed` plays one again and tells its
//! story; `FROM=seed` begins there.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attacker;
mod draw;
mod happens;
mod host;
mod network;
mod play;
mod referee;
#[path = "../sim/rng.rs"]
mod rng;
mod script;
// It can do more than is wanted here.
#[allow(dead_code)]
#[path = "../sim/wireguard.rs"]
mod wireguard;
mod world;
