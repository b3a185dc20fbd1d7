// SPDX-License-Identifier: GPL-2.0-only
//! The verifier against implementations that are not ours: snow, and what wireguard-go and Linux sent.

#![allow(clippy::unwrap_used)] // Helpers of tests too.

mod initiator;
mod properties;
mod vectors;
mod verdicts;
