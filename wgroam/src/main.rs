// SPDX-License-Identifier: GPL-2.0-only
//! Arguments in, exit code out; everything else is in the library.

// Why not std's own main(): linux/start.rs.
#![no_main]

use std::ffi::{c_char, c_int};

use wgroam::linux::start;

/// Called by the C library.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, values: *const *const c_char) -> c_int {
    start::begin();
    // SAFETY: they are main()'s.
    let arguments = unsafe { start::arguments(count, values) };
    wgroam::cli::main(arguments.into_iter()).into()
}
