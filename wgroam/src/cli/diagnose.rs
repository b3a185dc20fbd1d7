// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam diagnose [INTERFACE]`: what keeps a tunnel from working, and what to do first.

use super::NO;
use crate::diagnose::Facts;
use crate::diagnose::gather::{Places, gather};
use crate::diagnose::judge::judge;
use crate::linux::{process, start};
use crate::model::Interface;
use crate::render::{diagnosis_json, diagnosis_text, is_sound};

/// Looks, says what it found, and returns the exit code: 0 without a cross.
pub fn run(places: &Places, interface: Option<Interface>, json: bool) -> u8 {
    // Private keys pass by. Where it fails, whoever could look at our memory may read them anyhow.
    let _ = process::not_dumpable();
    let facts: &[Facts] = gather(places, interface).leak();
    let found: Vec<_> = facts.iter().map(|facts| (facts.interface, judge(facts))).collect();
    let found = found.leak();
    let text = if json { diagnosis_json(found) } else { diagnosis_text(found) };
    match start::print(text.as_bytes()) {
        Ok(()) if is_sound(found) => 0,
        _ => NO,
    }
}
