// SPDX-License-Identifier: GPL-2.0-only
//! Keeps what the engine remembers: at once in the runtime folder (memory), and on flash when it changed, at most
//! once an hour and on stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::engine::Remembered;
use crate::linux::files;
use crate::state;

/// Flash wears out: an endpoint that moves each minute costs 24 writes a day and not 1,440.
const FLASH_INTERVAL: Duration = Duration::from_secs(3600);

/// The two state files.
pub struct Keeper {
    volatile: PathBuf,
    lasting: Option<PathBuf>,
    flash_due: Option<Instant>,
    flash_written: Option<Instant>,
    failed: bool,
}

impl Keeper {
    /// Reads both files. `lasting` is None when nothing is to outlive a reboot.
    pub fn load(volatile: PathBuf, lasting: Option<PathBuf>) -> (Self, Vec<Remembered>) {
        let mut entries = Vec::new();
        for path in [Some(&volatile), lasting.as_ref()].into_iter().flatten() {
            let loaded = state::load(path);
            if let Some(notice) = loaded.notice {
                log::warn!("{notice}");
            }
            entries = state::merge(&entries, &loaded.entries);
        }
        (Self { volatile, lasting, flash_due: None, flash_written: None, failed: false }, entries)
    }

    /// A reload may change whether flash is used; the volatile file stays.
    pub fn set_lasting(&mut self, lasting: Option<PathBuf>) {
        self.lasting = lasting;
    }

    /// The memory changed.
    pub fn remember(&mut self, now: Instant, memory: &[Remembered]) {
        self.write(&self.volatile.clone(), memory, false);
        if self.lasting.is_some() && self.flash_due.is_none() {
            self.flash_due =
                Some(self.flash_written.map_or(now, |written| (written + FLASH_INTERVAL).max(now)));
        }
        self.expire(now, memory);
    }

    /// When [`Keeper::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.flash_due
    }

    /// Writes to flash when it is time.
    pub fn expire(&mut self, now: Instant, memory: &[Remembered]) {
        if self.flash_due.is_some_and(|due| due <= now) {
            self.flash(memory);
            self.flash_written = Some(now);
        }
    }

    /// The last write: what flash does not have yet.
    pub fn stop(&mut self, memory: &[Remembered]) {
        if self.flash_due.is_some() {
            self.flash(memory);
        }
    }

    fn flash(&mut self, memory: &[Remembered]) {
        self.flash_due = None;
        if let Some(lasting) = self.lasting.clone() {
            self.write(&lasting, memory, true);
        }
    }

    /// A file that can't be written is said once, until it works again: the tunnel matters more.
    fn write(&mut self, path: &std::path::Path, memory: &[Remembered], sync: bool) {
        match files::write_atomically(path, state::format(memory).as_bytes(), 0o600, sync) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                log::warn!(
                    "the last good endpoints are not kept: {}: {error}; make the folder writable",
                    path.display()
                );
            }
            Err(_) => {}
        }
    }
}
