// SPDX-License-Identifier: GPL-2.0-only
//! Arguments in, exit code out; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wgroam::cli::main(std::env::args_os())
}
