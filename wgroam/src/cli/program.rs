// SPDX-License-Identifier: GPL-2.0-only
//! Commands that are programs of their own, for routers that have no room for what is seldom used: `wgroam NAME` is
//! `wgroam-NAME` in the same folder.

use std::ffi::OsString;
use std::io::ErrorKind;

use super::{NO, USAGE};
use crate::linux::program;

/// What OpenWrt's package wgroam-tools has.
const TOOLS: [&str; 2] = ["diagnose", "setup"];

/// Becomes the program that the argument of that number names, with all the others. Returns the exit code if it could not.
pub fn become_it(mut arguments: Vec<OsString>, number: usize) -> u8 {
    let command = arguments.remove(number);
    let command = command.to_str().unwrap_or_default();
    // No path.
    if !command.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return unknown(command);
    }
    let name = format!("wgroam-{command}");
    let error = program::become_it(&name, arguments);
    if error.kind() != ErrorKind::NotFound {
        eprintln!("wgroam: {name} can't be run: {error}");
    } else if TOOLS.contains(&command) {
        eprintln!(
            "wgroam: {name} is not installed; OpenWrt: `opkg install wgroam-tools`, or `apk add wgroam-tools`"
        );
    } else {
        return unknown(command);
    }
    NO
}

fn unknown(command: &str) -> u8 {
    eprintln!("wgroam: there is no command '{command}'; `wgroam --help` lists what there is");
    USAGE
}
