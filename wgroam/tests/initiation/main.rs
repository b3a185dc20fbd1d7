// SPDX-License-Identifier: GPL-2.0-only
//! The verifier against implementations that are not ours: snow, and what wireguard-go and Linux sent.

mod initiator;
mod verdicts;
