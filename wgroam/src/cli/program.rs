// SPDX-License-Identifier: GPL-2.0-only
//! Commands that are programs of their own, for routers that have no room for what is seldom used: `wgroam NAME` is
//! `wgroam-NAME` in the same folder.

use std::ffi::OsString;
use std::io::ErrorKind;

use super::{NO, USAGE};
use crate::linux::program;

/// What OpenWrt's package wgroam-tools has.
const TOOLS: [&str; 2] = ["diagnose", "setup"];

/// Becomes the program. Returns the exit code if it could not.
pub fn become_it(command: &str, arguments: Vec<OsString>) -> u8 {
    let name = format!("wgroam-{command}");
    let error = program::become_it(&name, arguments);
    if error.kind() != ErrorKind::NotFound {
        eprintln!("wgroam: {name} can't be run: {error}");
    } else if TOOLS.contains(&command) {
        eprintln!("wgroam: {name} is not installed: `opkg install wgroam-tools`, or `apk add wgroam-tools`");
    } else {
        eprintln!("wgroam: there is no command '{command}'; `wgroam --help` lists what there is");
        return USAGE;
    }
    NO
}
