// SPDX-License-Identifier: GPL-2.0-only
//! The configuration reader against bytes that nobody meant as configuration: it never panics, takes time in
//! proportion, and reads no more than it said it would.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use wgroam::config::{self, Error, MAX_BYTES};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgroam-robust-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What this thread has cost so far: other tests and a busy machine do not count.
fn processor_time() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    Duration::from(time)
}

#[test]
fn a_missing_file_is_told_apart() {
    let folder = Folder::new("missing");
    assert!(matches!(config::read(&folder.0.join("none"), false), Err(Error::Missing(_))));
}

#[test]
fn a_file_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    let folder = Folder::new("limit");
    let path = folder.0.join("wgroam");
    let mut text = b"config tunnel 'wgr'\n".to_vec();
    text.resize(MAX_BYTES, b'#');
    fs::write(&path, &text).unwrap();
    assert_eq!(config::read(&path, false).unwrap().config.tunnels.len(), 1);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"#").unwrap();
    assert!(matches!(config::read(&path, false), Err(Error::TooLarge(_))));
}

#[test]
fn an_endless_file_is_refused() {
    assert!(matches!(config::read("/dev/zero".as_ref(), false), Err(Error::TooLarge(_))));
}

#[test]
fn a_folder_can_not_be_read_and_that_is_said() {
    let folder = Folder::new("folder");
    let error = config::read(&folder.0, false).unwrap_err();
    assert!(matches!(error, Error::Unreadable(..)), "{error}");
    assert!(error.to_string().ends_with("can't be read: it is a folder"), "{error}");
}

#[test]
fn a_megabyte_of_anything_is_read_in_no_time() {
    let filled = |unit: &str| unit.repeat(MAX_BYTES / unit.len()).into_bytes();
    let numbered = |line: &dyn Fn(usize) -> String| -> Vec<u8> {
        let mut text: Vec<u8> = (0..).map(line).take(90_000).collect::<String>().into_bytes();
        text.truncate(MAX_BYTES);
        text
    };
    let peers = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = wgroam::model::PublicKey(key);
        format!("config peer p{number}\n option tunnel w\n option public_key {key}\n")
    };
    let of_network = |number: usize| {
        let interface = format!("config interface w{number}\n option proto wireguard\n");
        let key = peers(number).replace(&format!("config peer p{number}\n option tunnel w\n"), "");
        format!("{interface}config wireguard_w{number}\n{key} option endpoint_host a{number}\n")
    };
    for (what, text) in [
        ("single quotes", filled("'")),
        ("double quotes", filled("\"")),
        ("quotes of both kinds", filled("'\"")),
        ("options made of quotes", filled("config a b\noption c '''\"''\"'\n")),
        ("one long quoted value", [b"config a b\noption c '".to_vec(), filled("x\n")].concat()),
        ("backslashes", filled("\\")),
        ("continued lines", [b"config a b\noption c ".to_vec(), filled("\\\n")].concat()),
        ("semicolons", filled(";")),
        ("commands on one line", filled("config a 'b'; ")),
        ("empty lines", filled("\n")),
        ("anonymous sections", filled("c a\n")),
        ("named sections", numbered(&|number| format!("c a n{number}\n"))),
        (
            "options of one section",
            numbered(&|number| {
                format!("{}o n{number} x\n", if number == 0 { "c wgroam globals\n" } else { "" })
            }),
        ),
        ("one list", [b"config wgroam globals\n".to_vec(), filled("l wan a\n")].concat()),
        (
            "one option, again and again",
            [b"config a b\n".to_vec(), filled("o x a\no y b\no x b\no y a\n")].concat(),
        ),
        ("tunnels", numbered(&|number| format!("c tunnel w{number}\n"))),
        ("peers", numbered(&peers)),
        ("peers of package network", [b"package network\n".to_vec(), numbered(&of_network)].concat()),
        ("bytes that are no UTF-8", [b"package network\n".to_vec(), vec![0xff; MAX_BYTES]].concat()),
        ("packages", numbered(&|number| format!("p n{number}\n"))),
    ] {
        let start = processor_time();
        let read = config::parse(&text, "f");
        let took = processor_time() - start;
        eprintln!("{what}: {took:?}, {}", if read.is_ok() { "accepted" } else { "refused" });
        // Measured without optimisation: 0.06 s for quotes, 0.9 s for the worst, tunnels. Quadratic would be minutes.
        let limit = if what.contains("quotes") { 1 } else { 3 };
        assert!(took < Duration::from_secs(limit), "{what}: {took:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = config::parse(&bytes, "f").map_err(|errors| errors.to_string());
    }

    #[test]
    fn any_text_made_of_what_the_syntax_knows_gives_an_answer(
        pieces in proptest::collection::vec(
            proptest::sample::select(&[
                "config", "option", "list", "package", " ", "\n", "'", "\"", "\\", ";", "#", "\r\n", "peer", "tunnel",
                "wgroam", "globals", "endpoint", "public_key", "é", "\u{b}", "\t", "[::1]:5", "wan", "enabled",
                "\n\toption ", "\nconfig ",
            ][..]),
            0..80,
        )
    ) {
        let text = pieces.concat();
        match config::parse(text.as_bytes(), "f") {
            Ok(_) => (),
            Err(errors) => {
                prop_assert!(!errors.mistakes.is_empty());
                let lines = text.split_inclusive('\n').count() as u32;
                for mistake in &errors.mistakes {
                    prop_assert!((1..=lines).contains(&mistake.line), "{mistake}");
                }
            }
        }
    }
}
