// SPDX-License-Identifier: GPL-2.0-only
//! One daemon at a time, and nothing to dump.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wgroam::linux::process::{Lock, LockError, not_dumpable};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgroam-process-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_second_daemon_is_told_who_holds_the_lock() {
    let folder = Folder::new("second");
    let path = folder.0.join("run/lock");
    let first = Lock::take(&path).unwrap();
    let error = Lock::take(&path).unwrap_err();
    let pid = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("another wgroam (pid {pid}) is running: it holds {}; stop it first", path.display())
    );
    drop(first);
    Lock::take(&path).unwrap();
}

#[test]
fn a_clean_end_leaves_no_file_and_takes_no_other_s() {
    let folder = Folder::new("clean");
    let path = folder.0.join("lock");
    let lock = Lock::take(&path).unwrap();
    assert!(path.exists());
    drop(lock);
    assert!(!path.exists());
    let lock = Lock::take(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = Lock::take(&path).unwrap();
    drop(lock);
    assert!(path.exists(), "it is another one's by now");
    drop(other);
}

#[test]
fn of_many_that_come_and_go_one_has_the_lock() {
    let folder = Folder::new("many");
    let path = folder.0.join("lock");
    let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3000 {
                    let Ok(lock) = Lock::take(&path) else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                    taken.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert!(taken.into_inner() > 100);
}

#[test]
fn a_dead_daemons_lock_is_free_and_its_longer_pid_is_gone() {
    let folder = Folder::new("dead");
    let path = folder.0.join("lock");
    fs::write(&path, "4294967295 and more that is no pid\n").unwrap();
    let _lock = Lock::take(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_lock_held_by_who_wrote_garbage_is_still_held() {
    let folder = Folder::new("garbage");
    let path = folder.0.join("lock");
    let _lock = Lock::take(&path).unwrap();
    fs::write(&path, [0xff; 100_000]).unwrap();
    let error = Lock::take(&path).unwrap_err();
    assert!(matches!(&error, LockError::Held { pid: None, .. }), "{error:?}");
    assert!(error.to_string().starts_with("another wgroam is running: it holds "), "{error}");
}

#[test]
fn a_child_does_not_inherit_the_lock() {
    let folder = Folder::new("child");
    let path = folder.0.join("lock");
    let lock = Lock::take(&path).unwrap();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    // As after a kill: the file stays, and whoever inherited it would hold it.
    let kept = folder.0.join("kept");
    fs::hard_link(&path, &kept).unwrap();
    drop(lock);
    fs::rename(&kept, &path).unwrap();
    // spawn() returns a moment before exec() closes what is not to be inherited.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut result = Lock::take(&path);
    while result.is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        result = Lock::take(&path);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    result.unwrap();
}

#[test]
fn a_place_that_takes_no_file_is_named() {
    let error = Lock::take(Path::new("/proc/none/lock")).unwrap_err();
    assert!(error.to_string().starts_with("can't lock /proc/none/lock: "), "{error}");
}

#[test]
fn nothing_of_the_process_can_be_dumped() {
    assert!(nix::sys::prctl::get_dumpable().unwrap());
    not_dumpable().unwrap();
    assert!(!nix::sys::prctl::get_dumpable().unwrap());
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}
