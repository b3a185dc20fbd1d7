// SPDX-License-Identifier: GPL-2.0-only
//! wgroam: keeps WireGuard tunnels connected whatever moves, on cryptographic proof only.
//!
//! The pure parts know no socket, clock or file: [`model`] (the words everybody uses), [`routing`] (routes, and where
//! they lead), [`config`], [`initiation`] (what a packet proves) and [`engine`] (events in, actions out). [`linux`] holds
//! every system call and all `unsafe`. [`daemon`] is the loop that carries one to the other, [`diagnose`] finds what keeps
//! a tunnel from working, [`cli`] are the commands around them.

#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod daemon;
pub mod diagnose;
pub mod engine;
pub mod initiation;
#[allow(unsafe_code)]
pub mod linux;
mod lists;
pub mod logging;
pub mod model;
pub mod render;
pub mod routing;
mod sorted;
pub mod state;
pub mod wan;
