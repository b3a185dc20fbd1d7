// SPDX-License-Identifier: GPL-2.0-only
//! What survives a restart, as text: the last good endpoint and the newest initiation of each peer, and from which WAN
//! it was good where.
//!
//! ```text
//! wgroam-state 1
//! wgr xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg= 203.0.113.9:51820 1763900000 400000006922f2a000000000 wwan0=203.0.113.9:443
//! end: 1
//! ```
//! One line for each peer: interface, key, endpoint or `-`, when that was confirmed (seconds since 1970), newest
//! initiation (TAI64N, 24 hexadecimal digits) or `-`, and for up to four WANs the last good candidate (files of before
//! have none). The last line counts them, so that half a file is not taken for
//! a whole one (the colon tells it from an interface called end). There are no secrets in it, but it says where people were: 0600.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::path::Path;

use crate::engine::Remembered;
use crate::engine::constants::GOOD_MAX;
use crate::initiation::Timestamp;
use crate::linux::files;
use crate::model::{Interface, PublicKey, WallTime, digits};

/// The first line; another number is another format.
const HEADER: &str = "wgroam-state 1";

/// How many peers are remembered at most: more than a router has, and 10 MB.
pub const MAX_ENTRIES: usize = 65_536;

/// The longest line without WANs: 15 + 44 + 58 (an IPv6 address with zone and port) + 20 + 24 and four blanks, rounded up.
const MAX_LINE: usize = 176;

/// The largest state file that is read, in bytes. All that an engine remembers fits: 20,000 peers, each with four WANs of
/// 76 bytes at most.
pub const MAX_BYTES: usize = MAX_ENTRIES * MAX_LINE;

/// Why a text is no state file. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not begin with the header of this version.
    NotAState,
    /// The last line, with the count, is missing: the file was cut off.
    Truncated,
    /// The last line counts other than there are.
    Miscounted {
        /// What it says.
        said: usize,
        /// How many there are.
        found: usize,
    },
    /// Something follows the last line.
    Trailing(usize),
    /// A line that can't be read.
    Line(usize),
    /// More than [`MAX_ENTRIES`] lines.
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::NotAState => write!(f, "it does not begin with '{HEADER}'"),
            Error::Truncated => f.write_str("it is cut off: the last line, with the count, is missing"),
            Error::Miscounted { said, found } => {
                write!(f, "its last line counts {said} peers and there are {found}")
            }
            Error::Trailing(line) => write!(f, "line {line} follows the end"),
            Error::Line(line) => write!(f, "line {line} can't be read"),
            Error::TooMany => write!(f, "it has more than {MAX_ENTRIES} peers"),
        }
    }
}

impl std::error::Error for Error {}

/// The text for these entries; of more than [`MAX_ENTRIES`] the first ones.
pub fn format(entries: &[Remembered]) -> String {
    use fmt::Write;
    let entries = &entries[..entries.len().min(MAX_ENTRIES)];
    let mut text = String::with_capacity(entries.len() * 120 + 40);
    // Writing to a String can't fail.
    let _ = writeln!(text, "{HEADER}");
    for entry in entries {
        let _ = write!(text, "{} {} ", entry.interface, entry.peer);
        let _ = match entry.endpoint {
            Some(endpoint) => write!(text, "{endpoint}"),
            None => write!(text, "-"),
        };
        let _ = write!(text, " {} ", entry.confirmed.seconds);
        match &entry.newest {
            Some(Timestamp(label)) => label.iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            }),
            None => text.push('-'),
        }
        for (wan, endpoint) in entry.good.iter().take(GOOD_MAX) {
            let _ = write!(text, " {wan}={endpoint}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "end: {}", entries.len());
    text
}

/// Reads what [`format()`] wrote. All or nothing: a file with one bad line was written by somebody else.
pub fn parse(text: &str) -> Result<Vec<Remembered>, Error> {
    let body = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n')).ok_or(Error::NotAState)?;
    let mut entries = Vec::new();
    // The header is line 1. A line counts only with its line break: without one it may have been cut.
    let mut lines = (2..).zip(body.split_inclusive('\n'));
    for (number, line) in &mut lines {
        let Some(line) = line.strip_suffix('\n') else { return Err(Error::Truncated) };
        if let Some(count) = line.strip_prefix("end: ") {
            let said = digits(count).ok_or(Error::Line(number))?;
            if said != entries.len() {
                return Err(Error::Miscounted { said, found: entries.len() });
            }
            return match lines.next() {
                Some((number, _)) => Err(Error::Trailing(number)),
                None => Ok(entries),
            };
        }
        if entries.len() == MAX_ENTRIES {
            return Err(Error::TooMany);
        }
        entries.push(parse_line(line).ok_or(Error::Line(number))?);
    }
    Err(Error::Truncated)
}

fn parse_line(line: &str) -> Option<Remembered> {
    let mut words = line.split(' ');
    let mut entry = Remembered {
        interface: words.next()?.parse().ok()?,
        peer: words.next()?.parse().ok()?,
        endpoint: unless_dash(words.next()?, |word| word.parse().ok())?,
        confirmed: WallTime { seconds: digits(words.next()?)?, nanos: 0 },
        newest: unless_dash(words.next()?, timestamp)?,
        good: Vec::new(),
    };
    for word in words {
        // A WAN's name may have the sign in it, an endpoint has none.
        let (wan, endpoint) = word.rsplit_once('=')?;
        let (wan, endpoint) = (wan.parse().ok()?, endpoint.parse().ok()?);
        if entry.good.len() == GOOD_MAX || entry.good.iter().any(|&(other, _)| other == wan) {
            return None;
        }
        entry.good.push((wan, endpoint));
    }
    Some(entry)
}

/// Nothing for `-`; otherwise something, or the line is wrong.
fn unless_dash<T>(word: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if word == "-" { Some(None) } else { read(word).map(Some) }
}

fn timestamp(word: &str) -> Option<Timestamp> {
    let (pairs, []) = word.as_bytes().as_chunks::<2>() else { return None };
    let mut label = [0; 12];
    if pairs.len() != label.len() {
        return None;
    }
    for (byte, pair) in label.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        *byte = high? << 4 | low?;
    }
    Some(Timestamp(label))
}

/// Joins two memories, such as those of RAM and flash: for each peer of an interface the endpoint confirmed last, the
/// newest initiation of both, so that what one of them saw can't be replayed, and the WANs of both. Of equal times the
/// first counts. Sorted by interface and key; of
/// more than [`MAX_ENTRIES`] those confirmed last.
pub fn merge(one: &[Remembered], other: &[Remembered]) -> Vec<Remembered> {
    let mut all = [one, other].concat();
    sort(&mut all, by_owner);
    all.dedup_by(|entry, known| {
        let same = owner(entry) == owner(known);
        if same {
            let newest = known.newest.max(entry.newest);
            let better = match (known.endpoint, entry.endpoint) {
                (None, Some(_)) => true,
                (Some(_), None) => false,
                _ => entry.confirmed > known.confirmed,
            };
            if better {
                std::mem::swap(known, entry);
            }
            known.newest = newest;
            for &(wan, endpoint) in &entry.good {
                if known.good.len() < GOOD_MAX && known.good.iter().all(|&(other, _)| other != wan) {
                    known.good.push((wan, endpoint));
                }
            }
        }
        same
    });
    if all.len() > MAX_ENTRIES {
        sort(&mut all, |one, other| other.confirmed.cmp(&one.confirmed));
        all.truncate(MAX_ENTRIES);
        sort(&mut all, by_owner);
    }
    all
}

/// One function for all orders. Equals stay as they were.
fn sort(entries: &mut [Remembered], order: fn(&Remembered, &Remembered) -> Ordering) {
    entries.sort_by(order);
}

fn by_owner(one: &Remembered, other: &Remembered) -> Ordering {
    owner(one).cmp(&owner(other))
}

/// Whose entry it is.
fn owner(entry: &Remembered) -> (Interface, PublicKey) {
    (entry.interface, entry.peer)
}

/// What a state file gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Empty when there is no file, or no good one.
    pub entries: Vec<Remembered>,
    /// What the owner should know; None when all is well, a missing file included.
    pub notice: Option<String>,
}

/// Reads a state file. One that can't be understood is set aside as NAME.corrupt and said so: memory is a help, and
/// its loss no reason not to start. One that can't be read stays where it is.
pub fn load(path: &Path) -> Loaded {
    let reason = match files::read_limited_file(path, MAX_BYTES) {
        Ok(bytes) => match std::str::from_utf8(&bytes).map_err(|_| Error::NotAState).and_then(parse) {
            Ok(entries) => return Loaded { entries, notice: None },
            Err(error) => error.to_string(),
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => return Loaded::default(),
            io::ErrorKind::FileTooLarge | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
                error.to_string()
            }
            _ => {
                let notice = format!("{}: can't be read: {error}; starting without it", path.display());
                return Loaded { entries: Vec::new(), notice: Some(notice) };
            }
        },
    };
    let aside = files::set_aside(path);
    let path = path.display();
    let notice = match aside {
        Ok(aside) => format!("{path}: is no state file: {reason}; set aside as {}", aside.display()),
        Err(error) => format!("{path}: is no state file: {reason}; could not be set aside: {error}"),
    };
    Loaded { entries: Vec::new(), notice: Some(notice) }
}
