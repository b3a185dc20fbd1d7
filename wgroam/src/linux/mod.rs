// SPDX-License-Identifier: GPL-2.0-only
//! Every system call, and all `unsafe`. Adapters translate between the kernel and [`crate::model`]; they decide nothing.

pub mod clock;
pub mod control;
pub mod copies;
pub mod crash;
pub mod echo;
pub mod files;
pub mod name_servers;
pub mod netlink;
pub mod own_routes;
pub mod process;
pub mod program;
pub mod resolver;
pub mod route;
pub mod signals;
pub mod start;
pub mod syslog;
pub mod tap;
pub mod thread;
pub mod trace;
pub mod wireguard;
