// SPDX-License-Identifier: GPL-2.0-only
//! TRACE=FILE: what happened in the last case that failed, which is the shortest one that was found.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use super::court::Court;

/// What was noted of one case.
pub struct Trace {
    file: Option<String>,
    lines: String,
    start: Instant,
}

impl Trace {
    pub fn new(start: Instant) -> Self {
        Self { file: std::env::var("TRACE").ok(), lines: String::new(), start }
    }

    /// Something happened.
    pub fn note(&mut self, now: Instant, what: &str, about: &impl Debug) {
        if self.file.is_some() {
            let after: Duration = now - self.start;
            self.lines += &format!("{:9.3} {what} {about:?}\n", after.as_secs_f64());
        }
    }
}

impl Drop for Court {
    fn drop(&mut self) {
        let Trace { file, lines, .. } = &self.trace;
        if let Some(file) = file.as_ref().filter(|_| std::thread::panicking()) {
            std::fs::write(file, lines).unwrap_or_else(|why| eprintln!("{file}: {why}"));
        }
    }
}
