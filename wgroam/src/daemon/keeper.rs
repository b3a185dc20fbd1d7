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
    volatile: StateFile,
    lasting: Option<StateFile>,
    /// When the lasting file is to be written; None while it holds all that there is.
    flash_due: Option<Instant>,
    flash_tried: Option<Instant>,
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
        let volatile = StateFile { path: volatile, sync: false, failed: false };
        let mut keeper = Self { volatile, lasting: None, flash_due: None, flash_tried: None };
        keeper.set_lasting(lasting);
        (keeper, entries)
    }

    /// A reload may change whether flash is used; the volatile file stays.
    pub fn set_lasting(&mut self, lasting: Option<PathBuf>) {
        self.lasting = lasting.map(|path| StateFile { path, sync: true, failed: false });
    }

    /// The memory changed.
    pub fn remember(&mut self, now: Instant, memory: &[Remembered]) {
        self.volatile.write(memory);
        if self.lasting.is_some() && self.flash_due.is_none() {
            self.flash_due = Some(self.flash_tried.map_or(now, |tried| (tried + FLASH_INTERVAL).max(now)));
        }
        self.expire(now, memory);
    }

    /// When [`Keeper::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.flash_due
    }

    /// Writes to flash when it is time. What could not be written is tried again an hour later, and on stop.
    pub fn expire(&mut self, now: Instant, memory: &[Remembered]) {
        if self.flash_due.is_some_and(|due| due <= now) {
            self.flash_tried = Some(now);
            self.flash_due = (!self.flash(memory)).then(|| now + FLASH_INTERVAL);
        }
    }

    /// The last write: what flash does not have yet.
    pub fn stop(&mut self, memory: &[Remembered]) {
        if self.flash_due.take().is_some() {
            self.flash(memory);
        }
    }

    fn flash(&mut self, memory: &[Remembered]) -> bool {
        self.lasting.as_mut().is_none_or(|lasting| lasting.write(memory))
    }
}

struct StateFile {
    path: PathBuf,
    /// Wait until it is on the disk?
    sync: bool,
    /// The last write failed, which was said.
    failed: bool,
}

impl StateFile {
    /// False when it could not be written, which is said once, until it works again: the tunnel matters more. Its
    /// folder is made when it is missing: nobody else makes /var/lib/wgroam on a plain machine.
    fn write(&mut self, memory: &[Remembered]) -> bool {
        let (path, text) = (&self.path, state::format(memory));
        let written = files::make_folder_of(path)
            .and_then(|()| files::write_atomically(path, text.as_bytes(), 0o600, self.sync));
        let failed_before = std::mem::replace(&mut self.failed, written.is_err());
        if let (Err(error), false) = (&written, failed_before) {
            log::warn!(
                "the last good endpoints are not kept: {}: {error}; make the folder writable",
                path.display()
            );
        }
        written.is_ok()
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

    #[test]
    fn what_could_not_be_written_is_tried_again_on_stop() {
        let folder = std::env::temp_dir().join(format!("wgroam-keeper-stop-{}", std::process::id()));
        let lasting = folder.join("lasting/state");
        let (mut keeper, memory) = Keeper::load(folder.join("run/state"), Some(lasting.clone()));
        // A file is in the way of the folder.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("lasting"), "").unwrap();
        let now = Instant::now();
        keeper.remember(now, &memory);
        assert_eq!(keeper.deadline(), Some(now + FLASH_INTERVAL));
        std::fs::remove_file(folder.join("lasting")).unwrap();
        keeper.stop(&memory);
        assert!(lasting.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
