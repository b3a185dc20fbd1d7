// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam run`: reads the configuration, then becomes the daemon.

use std::path::PathBuf;

use crate::config;
use crate::daemon::{Daemon, Paths};
use crate::linux::process;
use crate::logging::{self, Target};

/// What the command line says.
pub struct Options {
    /// None: the default file, which may be missing.
    pub config: Option<PathBuf>,
    /// Control socket, lock and volatile state.
    pub runtime_dir: PathBuf,
    /// State that outlives a reboot.
    pub state: PathBuf,
    /// Log to stderr.
    pub foreground: bool,
    /// End when the process that started this one does.
    pub end_with_parent: bool,
}

/// Runs until it is told to stop.
pub fn run(options: Options) -> u8 {
    if options.end_with_parent && !process::end_with_parent() {
        return super::NO;
    }
    // Before anything that could hold a key.
    let hidden = process::not_dumpable();
    let (file, may_be_missing) = match &options.config {
        Some(file) => (file.clone(), false),
        None => (PathBuf::from(super::CONFIG), true),
    };
    let loaded = match config::read(&file, may_be_missing) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return super::NO;
        }
    };
    let target = match options.foreground || process::stderr_is_terminal() {
        true => Target::Stderr,
        false => Target::Syslog,
    };
    logging::init(loaded.config.globals.log_level, target);
    if let Err(error) = hidden {
        log::warn!("the process can be dumped by its own user: {error}");
    }
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    for note in &loaded.notes {
        log::info!("{note}");
    }
    if !loaded.config.globals.enabled {
        log::info!("not enabled in {} (option enabled '0'): nothing to do", file.display());
        return 0;
    }
    let paths = Paths {
        config: file,
        config_may_be_missing: may_be_missing,
        runtime_dir: options.runtime_dir,
        state: options.state,
    };
    match Daemon::start(loaded, paths).and_then(Daemon::run) {
        Ok(()) => 0,
        Err(error) => {
            log::error!("{error}");
            super::NO
        }
    }
}
