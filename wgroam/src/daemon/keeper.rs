// SPDX-License-Identifier: GPL-2.0-only
//! Keeps what the engine remembers: at once in the runtime folder (memory), and on flash when it changed, at most
//! once an hour and on stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::engine::Remembered;
use crate::linux::control::make_parent;
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

    /// A file that can't be written is said once, until it works again: the tunnel matters more. Its folder is made
    /// when it is missing: nobody else makes /var/lib/wgroam on a plain machine.
    fn write(&mut self, path: &Path, memory: &[Remembered], sync: bool) {
        let text = state::format(memory);
        let written =
            make_parent(path).and_then(|()| files::write_atomically(path, text.as_bytes(), 0o600, sync));
        match written {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_is_made() {
        let folder = std::env::temp_dir().join(format!("wgroam-keeper-{}", std::process::id()));
        let lasting = folder.join("lib/wgroam/state");
        let (mut keeper, memory) = Keeper::load(folder.join("run/state"), Some(lasting.clone()));
        keeper.remember(Instant::now(), &memory);
        assert!(lasting.is_file() && folder.join("run/state").is_file());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
