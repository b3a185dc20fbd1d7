// SPDX-License-Identifier: GPL-2.0-only
//! How this machine is connected, and what changes about it: links, addresses, default routes.

mod link;
pub mod message;

pub use link::Links;
