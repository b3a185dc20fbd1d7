// SPDX-License-Identifier: GPL-2.0-only
//! Arguments in, exit code out; everything else is in the library.

// Why not std's own main(): linux/start.rs.
#![no_main]

wgroam::program!(wgroam::cli::main);
