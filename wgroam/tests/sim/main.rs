// SPDX-License-Identifier: GPL-2.0-only
//! The two-router simulator: engines, models of the kernel's WireGuard, a NAT and somebody bad play against each other
//! in simulated time. Minutes pass in milliseconds, and the same seed gives the same play.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod doing;
mod host;
mod journeys;
mod model;
mod nat;
mod network;
mod never_worse;
mod referee;
mod rng;
mod roamer;
mod routes;
mod scenarios;
mod wireguard;
mod world;
