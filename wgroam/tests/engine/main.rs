// SPDX-License-Identifier: GPL-2.0-only
//! What the engine does, one behaviour a test, by its public face.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod copies;
mod devices;
mod dialed;
mod initiations;
mod memory;
mod pokes;
mod recovery;
mod routes;
mod rules;
