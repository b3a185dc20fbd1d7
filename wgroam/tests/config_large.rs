// SPDX-License-Identifier: GPL-2.0-only
//! A file far too large, in a process of its own: the memory that is measured is that of the whole process.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use wgroam::config::{self, Error};

/// Resident memory of this process at its highest, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_megabytes_are_refused_unread() {
    let path = std::env::temp_dir().join(format!("wgroam-large-{}", std::process::id()));
    let before = peak_memory();
    // Sixty times ten megabytes, in sparse files, so that reading them would show.
    for _ in 0..60 {
        fs::File::create(&path).unwrap().set_len(10 << 20).unwrap();
        let error = config::read(&path, false).unwrap_err();
        assert!(matches!(error, Error::TooLarge(_)), "{error}");
        assert!(error.to_string().contains("is larger than 1024 KiB and was not read"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(peak_memory() - before < 8 << 10, "{before} KiB, then {} KiB", peak_memory());
}
