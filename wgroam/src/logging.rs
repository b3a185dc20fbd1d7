// SPDX-License-Identifier: GPL-2.0-only
//! What a log record looks like, and where it goes: to stderr when a person runs the daemon, to the system's log with
//! its own severity when procd does (procd would give every line of stderr the same one).

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::path::Path;

use env_logger::{Builder, Logger, Target as Pipe};
use log::{Level, LevelFilter, Record};

use crate::config::LogLevel;
use crate::linux::syslog::{DEV_LOG, Syslog};

/// The facility of daemons that have none of their own, shifted to its place (RFC 3164, 4.1.1).
const DAEMON: u8 = 3 << 3;

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `wgroam: warn: text`.
    Stderr,
    /// `<28>wgroam[123]: text` to /dev/log, and to stderr while nobody listens there.
    Syslog,
}

/// Starts logging. Once a process: later calls change the level only.
pub fn init(level: LogLevel, target: Target) {
    let logger = match target {
        Target::Stderr => stderr_logger(),
        Target::Syslog => syslog_logger(Path::new(DEV_LOG)),
    };
    // It fails when there is a logger already, which then stays.
    let _ = log::set_boxed_logger(Box::new(logger));
    set_level(level);
}

/// What is logged from now on.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    });
}

/// The logger behind [`Target::Syslog`], for a logger's socket at `path`.
pub fn syslog_logger(path: &Path) -> Logger {
    let mut builder = builder();
    builder.target(Pipe::Pipe(Box::new(Syslog::at(path))));
    builder.format(|out, record| {
        write!(out, "<{}>wgroam[{}]: ", DAEMON | severity(record.level()), std::process::id())?;
        text(out, record)
    });
    builder.build()
}

fn stderr_logger() -> Logger {
    let mut builder = builder();
    builder.target(Pipe::Stderr);
    builder.format(|out, record| {
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        write!(out, "wgroam: {level}: ")?;
        text(out, record)?;
        out.write_all(b"\n")
    });
    builder.build()
}

/// Our own records of every level, so that the level can change later; nothing of other crates.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.filter_module("wgroam", LevelFilter::Trace);
    builder
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn text(out: &mut impl Write, record: &Record) -> io::Result<()> {
    write!(OneLine(out), "{}", record.args()).map_err(|_| io::ErrorKind::WriteZero.into())
}

/// Control characters become spaces: a name from outside must not be able to forge a second record.
struct OneLine<'a, W: Write>(&'a mut W);

impl<W: Write> fmt::Write for OneLine<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, part) in text.split(char::is_control).enumerate() {
            if number > 0 {
                self.0.write_all(b" ").map_err(|_| fmt::Error)?;
            }
            self.0.write_all(part.as_bytes()).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}
