// SPDX-License-Identifier: GPL-2.0-only
//! The state file, good and bad, and the file handling below it.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wgroam::engine::Remembered;
use wgroam::engine::constants::{GOOD_MAX, MEMORY_MAX};
use wgroam::initiation::Timestamp;
use wgroam::linux::files;
use wgroam::model::{PublicKey, WallTime};
use wgroam::state::{self, Error, MAX_ENTRIES, load};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgroam-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(number: u32) -> PublicKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey(key)
}

fn entry(number: u32, endpoint: Option<&str>, confirmed: u64, newest: Option<u8>) -> Remembered {
    Remembered {
        interface: "wgr".parse().unwrap(),
        peer: key(number),
        endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
        confirmed: WallTime { seconds: confirmed, nanos: 0 },
        newest: newest.map(|byte| Timestamp([byte; 12])),
        good: vec![],
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_format_is_this_one() {
    let entries = [
        entry(1, Some("203.0.113.9:51820"), 1_763_900_000, Some(0x4a)),
        entry(2, Some("[2001:db8::1]:1"), 0, None),
        entry(3, None, u64::MAX, None),
    ];
    let text = "wgroam-state 1\n\
        wgr AAAAAQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= 203.0.113.9:51820 1763900000 4a4a4a4a4a4a4a4a4a4a4a4a\n\
        wgr AAAAAgcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= [2001:db8::1]:1 0 -\n\
        wgr AAAAAwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= - 18446744073709551615 -\n\
        end: 3\n";
    assert_eq!(state::format(&entries), text);
    assert_eq!(state::parse(text).unwrap(), entries);
    assert_eq!(state::parse(&state::format(&[])).unwrap(), []);
}

/// With these as the last good candidates.
fn with_wans(entry: Remembered, wans: &[(&str, &str)]) -> Remembered {
    let good = wans.iter().map(|(wan, endpoint)| (wan.parse().unwrap(), endpoint.parse().unwrap())).collect();
    Remembered { good, ..entry }
}

#[test]
fn the_last_good_candidate_of_each_wan_stands_behind_the_rest() {
    let wans = [("wwan0", "203.0.113.9:443"), ("-", "[2001:db8::1]:1"), ("a=b", "[fe80::1%3]:2")];
    let entries =
        [with_wans(entry(1, Some("203.0.113.9:51820"), 5, None), &wans), entry(2, None, 5, Some(1))];
    let text = state::format(&entries);
    assert_eq!(
        text.lines().nth(1).unwrap(),
        "wgr AAAAAQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= 203.0.113.9:51820 5 - wwan0=203.0.113.9:443 \
         -=[2001:db8::1]:1 a=b=[fe80::1%3]:2"
    );
    assert_eq!(state::parse(&text).unwrap(), entries);
    for wrong in
        ["wwan0", "=192.0.2.1:1", "wwan0=192.0.2.1", "wwan0=x", "w/n=192.0.2.1:1", "a=b=[fe80::1%3]:2"]
    {
        let text = text.replacen("[fe80::1%3]:2\n", &format!("[fe80::1%3]:2 {wrong}\n"), 1);
        assert_eq!(state::parse(&text), Err(Error::Line(2)), "{wrong}");
    }
    let five = text.replacen("[fe80::1%3]:2\n", "[fe80::1%3]:2 x=192.0.2.1:1 y=192.0.2.1:1\n", 1);
    assert_eq!(state::parse(&five), Err(Error::Line(2)));
}

#[test]
fn all_that_an_engine_remembers_can_be_read_again() {
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
    let wans = ["fifteen-chars-1", "fifteen-chars-2", "fifteen-chars-3", "fifteen-chars-4"];
    let one = with_wans(entry(0, Some(longest), u64::MAX, Some(1)), &wans.map(|wan| (wan, longest)));
    assert_eq!(one.good.len(), GOOD_MAX);
    let many: Vec<_> = (0..MEMORY_MAX as u32)
        .map(|number| Remembered {
            peer: key(number),
            interface: "fifteen-chars-0".parse().unwrap(),
            ..one.clone()
        })
        .collect();
    let text = state::format(&many);
    assert!(text.len() <= state::MAX_BYTES, "{} bytes", text.len());
    assert_eq!(state::parse(&text).unwrap(), many);
}

#[test]
fn an_interface_called_end_is_no_end() {
    let mut odd = entry(1, None, 5, None);
    for name in ["end", "end:"] {
        let Ok(interface) = name.parse() else { continue };
        odd.interface = interface;
        assert_eq!(state::parse(&state::format(&[odd.clone()])).unwrap(), [odd.clone()]);
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let text = state::format(&[entry(1, Some("[fe80::1%3]:51820"), 99, Some(1)), entry(2, None, 5, None)]);
    for length in 0..text.len() {
        assert!(state::parse(&text[..length]).is_err(), "{length} of {} bytes", text.len());
    }
    assert_eq!(state::parse(&text).unwrap().len(), 2);
}

#[test]
fn what_nobody_wrote_is_refused_with_its_place() {
    let good = state::format(&[entry(1, None, 5, None)]);
    for (text, error) in [
        (String::new(), Error::NotAState),
        ("wgroam-state 2\nend: 0\n".to_owned(), Error::NotAState),
        ("wgroam-state 1\n".to_owned(), Error::Truncated),
        ("wgroam-state 1\nend: 0".to_owned(), Error::Truncated),
        ("wgroam-state 1\nend: 1\n".to_owned(), Error::Miscounted { said: 1, found: 0 }),
        ("wgroam-state 1\nend: x\n".to_owned(), Error::Line(2)),
        (good.replace("end: 1", "end: 2"), Error::Miscounted { said: 2, found: 1 }),
        (format!("{good}\n"), Error::Trailing(4)),
        (good.replace(" 5 ", " -5 "), Error::Line(2)),
        (good.replace(" 5 ", " +5 "), Error::Line(2)),
        (good.replace(" 5 ", "  5 "), Error::Line(2)),
        (good.replace("5 -\n", "5 - x\n"), Error::Line(2)),
        (good.replace("5 -\n", "5 00\n"), Error::Line(2)),
        (good.replace("5 -\n", "5 4A4a4a4a4a4a4a4a4a4a4a4a\n"), Error::Line(2)),
        (good.replace("wgr ", "w/r "), Error::Line(2)),
        (good.replace("= - 5", "= 203.0.113.9 5"), Error::Line(2)),
    ] {
        assert_eq!(state::parse(&text), Err(error), "{text}");
    }
}

#[test]
fn the_newest_of_two_memories_counts_for_each_peer() {
    let flash = [entry(1, Some("192.0.2.1:1"), 10, Some(9)), entry(2, Some("192.0.2.2:2"), 50, None)];
    let ram = [entry(3, None, 1, Some(3)), entry(1, Some("192.0.2.9:9"), 20, Some(4))];
    let wanted = [
        // The endpoint confirmed last, and the newest initiation that either saw.
        entry(1, Some("192.0.2.9:9"), 20, Some(9)),
        entry(2, Some("192.0.2.2:2"), 50, None),
        entry(3, None, 1, Some(3)),
    ];
    assert_eq!(state::merge(&flash, &ram), wanted);
    assert_eq!(state::merge(&ram, &flash), wanted);
    // While the clock was behind, times stand still.
    let moved = [entry(2, Some("192.0.2.3:3"), 50, None)];
    assert_eq!(state::merge(&moved, &flash)[1], moved[0]);
    // The WANs of both, those of the newer one first.
    let wans = |confirmed, wans| [with_wans(entry(2, Some("192.0.2.2:2"), confirmed, None), wans)];
    let old = wans(50, &[("a", "192.0.2.1:1"), ("b", "192.0.2.2:2")]);
    let new = wans(60, &[("c", "192.0.2.3:3"), ("b", "192.0.2.4:4")]);
    let both = wans(60, &[("c", "192.0.2.3:3"), ("b", "192.0.2.4:4"), ("a", "192.0.2.1:1")]);
    assert_eq!(state::merge(&old, &new), both);
    assert_eq!(state::merge(&new, &old), both);
    // An entry without an endpoint takes none away.
    let bare = [entry(2, None, 60, Some(1))];
    assert_eq!(state::merge(&flash, &bare)[1], entry(2, Some("192.0.2.2:2"), 50, Some(1)));
}

#[test]
fn memory_is_bounded_and_keeps_what_was_confirmed_last() {
    let many: Vec<_> =
        (0..MAX_ENTRIES as u32 + 10).map(|number| entry(number, None, u64::from(number), None)).collect();
    let merged = state::merge(&many, &[]);
    assert_eq!(merged.len(), MAX_ENTRIES);
    assert_eq!(merged[0].peer, key(10));
    let text = state::format(&merged);
    assert!(text.len() <= state::MAX_BYTES);
    assert_eq!(state::parse(&text).unwrap(), merged);
    assert_eq!(state::parse(&state::format(&many)).unwrap().len(), MAX_ENTRIES);
    let line = text.lines().nth(1).unwrap();
    let too_many = format!("wgroam-state 1\n{}end: 65537\n", format!("{line}\n").repeat(MAX_ENTRIES + 1));
    assert_eq!(state::parse(&too_many), Err(Error::TooMany));
}

#[test]
fn a_good_file_is_loaded_and_a_missing_one_is_nothing_to_tell() {
    let folder = Folder::new("good");
    let path = folder.file("state");
    assert_eq!(load(&path), state::Loaded::default());
    let entries = vec![entry(1, Some("192.0.2.1:1"), 10, Some(9))];
    files::write_atomically(&path, state::format(&entries).as_bytes(), 0o600, true).unwrap();
    assert_eq!(load(&path), state::Loaded { entries, notice: None });
    assert_eq!(folder.names(), ["state"]);
}

#[test]
fn garbage_is_set_aside_and_said_so() {
    let folder = Folder::new("garbage");
    let path = folder.file("state");
    for (garbage, reason) in [
        (&b"\xff\xfe\x00garbage"[..], "it does not begin with 'wgroam-state 1'"),
        (b"", "it does not begin with 'wgroam-state 1'"),
        (b"wgroam-state 1\nwgr", "it is cut off"),
        (b"wgroam-state 1\nnonsense\nend: 1\n", "line 2 can't be read"),
    ] {
        fs::write(&path, garbage).unwrap();
        let loaded = load(&path);
        assert!(loaded.entries.is_empty());
        let notice = loaded.notice.unwrap();
        assert!(notice.contains(reason) && notice.ends_with("state.corrupt"), "{notice}");
        // The file, for a person to look at, in place of the one before; the next start finds none.
        assert_eq!(fs::read(folder.file("state.corrupt")).unwrap(), garbage);
        assert_eq!(mode(&folder.file("state.corrupt")), 0o600);
        assert_eq!(folder.names(), ["state.corrupt"]);
        assert_eq!(load(&path), state::Loaded::default());
    }
}

#[test]
fn a_huge_file_is_set_aside_unread() {
    let folder = Folder::new("huge");
    let path = folder.file("state");
    // A sparse file of a terabyte: reading it would not end.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let notice = load(&path).notice.unwrap();
    assert!(notice.contains("larger than") && notice.contains("set aside"), "{notice}");
    assert_eq!(folder.names(), ["state.corrupt"]);
}

#[test]
fn whatever_is_no_file_is_moved_away_as_it_is() {
    let folder = Folder::new("kinds");
    let path = folder.file("state");
    let aside = folder.file("state.corrupt");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "x").unwrap();
    assert!(load(&path).notice.unwrap().contains("it is a folder; set aside"));
    assert!(aside.join("inside").exists());

    // A pipe would block whoever opens it. What somebody keeps in the folder that is in its way stays.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load(&path).notice.unwrap().contains("it is not a file; set aside"));
    assert!(fs::symlink_metadata(aside.join("state")).unwrap().file_type().is_fifo());
    assert!(aside.join("inside").exists());
    fs::remove_dir_all(&aside).unwrap();

    // A folder where a file was set aside.
    fs::write(&aside, "older").unwrap();
    fs::create_dir(&path).unwrap();
    assert!(load(&path).notice.unwrap().contains("it is a folder; set aside"));
    assert!(aside.is_dir());
    fs::remove_dir(&aside).unwrap();

    let target = folder.file("target");
    fs::write(&target, "precious").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&target, &path).unwrap();
    assert!(load(&path).notice.unwrap().contains("it is not a file; set aside"));
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(mode(&target), 0o644);
    assert_eq!(folder.names(), ["state.corrupt", "target"]);
}

/// Needs root: it becomes somebody else, on a thread of its own.
#[test]
fn without_permission_the_file_stays_and_the_notice_says_why() {
    assert!(nix::unistd::Uid::effective().is_root(), "this test has to be run as root");
    let folder = Folder::new("denied");
    let path = folder.file("state");
    fs::write(&path, state::format(&[])).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let place = path.clone();
    let (loaded, written, aside) = std::thread::spawn(move || {
        nix::unistd::setfsgid(65534.into());
        // setfsuid is for this thread only, and takes root's rights on files with it.
        nix::unistd::setfsuid(65534.into());
        let loaded = load(&place);
        (loaded, files::write_atomically(&place, b"x", 0o600, false), files::set_aside(&place))
    })
    .join()
    .unwrap();
    let notice = loaded.notice.unwrap();
    assert!(notice.contains("can't be read: Permission denied") && notice.contains("without it"), "{notice}");
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(aside.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(folder.names(), ["state"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), state::format(&[]));
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = Folder::new("atomic");
    let path = folder.file("state");
    fs::write(&path, "old").unwrap();
    let reader = fs::File::open(&path).unwrap();
    files::write_atomically(&path, b"new", 0o640, false).unwrap();
    assert_eq!(io::read_to_string(reader).unwrap(), "old", "who has it open keeps the old one");
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(mode(&path), 0o640);
    assert_eq!(folder.names(), ["state"]);
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let folder = Folder::new("link");
    let (path, target) = (folder.file("state"), folder.file("target"));
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    // One that lies in wait where the temporary file goes.
    symlink(&target, folder.file("state.new")).unwrap();
    files::write_atomically(&path, b"new", 0o600, false).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(folder.names(), ["state", "target"]);
}

#[test]
fn what_a_crash_left_behind_is_cleared_away() {
    let folder = Folder::new("crash");
    fs::write(folder.file("state.new"), "half of it").unwrap();
    files::write_atomically(&folder.file("state"), b"new", 0o600, false).unwrap();
    assert_eq!(folder.names(), ["state"]);
    assert_eq!(fs::read_to_string(folder.file("state")).unwrap(), "new");
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let folder = Folder::new("fails");
    let path = folder.file("state");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "x").unwrap();
    assert!(files::write_atomically(&path, b"new", 0o600, true).is_err());
    assert_eq!(folder.names(), ["state"]);
    assert!(files::write_atomically(&folder.file("none/state"), b"new", 0o600, true).is_err());
    assert!(files::write_atomically("/".as_ref(), b"new", 0o600, true).is_err());
}

/// An entry with anything in it.
fn any_entry() -> impl Strategy<Value = Remembered> {
    let endpoint = proptest::option::of((any::<std::net::IpAddr>(), any::<u16>()).prop_map(Into::into));
    let newest = proptest::option::of(any::<[u8; 12]>().prop_map(Timestamp));
    let place = (any::<std::net::IpAddr>(), any::<u16>()).prop_map(Into::into);
    let wans = proptest::collection::btree_map("[a-zA-Z0-9=._-]{3,15}", place, 0..=GOOD_MAX);
    ("[a-zA-Z0-9._-]{3,15}", any::<[u8; 32]>(), endpoint, any::<u64>(), newest, wans).prop_map(
        |(interface, peer, endpoint, seconds, newest, wans)| Remembered {
            interface: interface.parse().unwrap(),
            peer: PublicKey(peer),
            endpoint,
            confirmed: WallTime { seconds, nanos: 0 },
            newest,
            good: wans.into_iter().map(|(wan, place)| (wan.parse().unwrap(), place)).collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_was_remembered_is_remembered(entries in proptest::collection::vec(any_entry(), 0..20)) {
        prop_assert_eq!(state::parse(&state::format(&entries)).unwrap(), entries);
    }

    #[test]
    fn any_text_gives_an_answer(text in "(wgroam-state 1\n)?([a-f0-9=:. \n-]|end: |wgr ){0,80}") {
        let _ = state::parse(&text);
    }
}
