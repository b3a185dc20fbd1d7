// SPDX-License-Identifier: GPL-2.0-only
//! The command line: one file a subcommand.

pub mod check;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command. Exit codes: 0 ok, 1 the answer is no, 2 usage, 3 no daemon.
pub fn main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::from(2)
}
