// SPDX-License-Identifier: GPL-2.0-only
//! The system's log, with a logger of our own behind a path of our own.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::{Level, Log, Record};
use wgroam::linux::syslog::Syslog;
use wgroam::logging::syslog_logger;

struct Logger {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Logger {
    fn start(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgroam-syslog-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { path, socket }
    }

    fn read(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn log(to: &impl Log, level: Level, text: &str) {
    let record = |args| Record::builder().level(level).target("wgroam::daemon").args(args).build();
    to.log(&record(format_args!("{text}")));
}

#[test]
fn each_record_is_one_datagram_with_its_severity() {
    let logger = Logger::start("severity");
    let log_to = syslog_logger(&logger.path);
    let pid = std::process::id();
    for (level, priority) in [(Level::Error, 27), (Level::Warn, 28), (Level::Info, 30), (Level::Debug, 31)] {
        log(&log_to, level, "wg0: home moved");
        assert_eq!(logger.read(), format!("<{priority}>wgroam[{pid}]: wg0: home moved"));
    }
}

#[test]
fn a_text_can_not_forge_a_second_record() {
    let logger = Logger::start("forge");
    let log_to = syslog_logger(&logger.path);
    log(&log_to, Level::Info, "name a\n<0>kernel: b\0c\x1b[2J");
    assert!(logger.read().ends_with("]: name a <0>kernel: b c [2J"));
}

#[test]
fn other_crates_are_not_heard() {
    let logger = Logger::start("others");
    let log_to = syslog_logger(&logger.path);
    log_to
        .log(&Record::builder().level(Level::Error).target("mio::poll").args(format_args!("noise")).build());
    log(&log_to, Level::Info, "ours");
    assert!(logger.read().ends_with("]: ours"));
}

#[test]
fn a_logger_that_restarts_is_found_again() {
    let mut logger = Logger::start("restart");
    let mut syslog = Syslog::at(&logger.path);
    syslog.write_all(b"<30>one").unwrap();
    assert_eq!(logger.read(), "<30>one");
    // Gone: nothing fails, and the record goes to stderr.
    let path = logger.path.clone();
    drop(logger);
    syslog.write_all(b"<30>two: nobody listens, shown on stderr").unwrap();
    logger = Logger::start("restart");
    assert_eq!(path, logger.path);
    syslog.write_all(b"<30>three").unwrap();
    assert_eq!(logger.read(), "<30>three");
}

#[test]
fn a_logger_that_does_not_read_holds_nothing_up() {
    let logger = Logger::start("slow");
    let mut syslog = Syslog::at(&logger.path);
    // A write that waited for the reader would wait for ever.
    let start = Instant::now();
    for number in 0..300 {
        syslog.write_all(format!("<30>{number}").as_bytes()).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(60));
    // What it had room for, it has.
    assert_eq!(logger.read(), "<30>0");
    assert_eq!(logger.read(), "<30>1");
}
