// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam diagnose [INTERFACE]`: what keeps a tunnel from working, and what to do first. A program of its own,
//! `wgroam-diagnose` (docs/design/size.md).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::words::{Read, Words};
use super::{CONFIG, NO, RUNTIME_DIR, STATE, USAGE, print};
use crate::diagnose::Facts;
use crate::diagnose::gather::{Places, gather};
use crate::diagnose::judge::judge;
use crate::linux::{process, start};
use crate::model::{Interface, NotAnInterface};
use crate::render::{diagnosis_json, diagnosis_text, is_sound};

const HELP: &str = "\
wgroam diagnose finds what keeps a WireGuard tunnel from working: a tick or a cross
for each thing that it needs. The first cross is where to begin.

Usage: wgroam diagnose [--json] [INTERFACE]

  INTERFACE           this tunnel alone; else all of them
  --json              one line of JSON, with every tunnel
  --config FILE       wgroam's, default /etc/config/wgroam
  --state FILE        wgroam's, default /var/lib/wgroam/state
  --runtime-dir DIR   wgroam's, default /var/run/wgroam
  -h, --help          this text
  -V, --version       the version

Exit codes: 0 ok; 1 there is a cross, or no WireGuard interface; 2 usage.
";

struct Options {
    /// None: the default file, which may be missing.
    config: Option<PathBuf>,
    state: PathBuf,
    runtime_dir: PathBuf,
    /// None: all.
    interface: Option<Interface>,
    json: bool,
}

/// Looks and says what it found; `arguments` begin with the program's name. Returns the exit code: 0 without a cross.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let options = match parse(&arguments.skip(1).collect::<Vec<_>>()) {
        Ok(Ok(options)) => options,
        Ok(Err(text)) => return print(text),
        Err(error) => {
            eprintln!("wgroam-diagnose: {error}; `wgroam-diagnose --help` lists what there is");
            return USAGE;
        }
    };
    let places = Places {
        config: options.config.as_deref().unwrap_or(Path::new(CONFIG)),
        may_be_missing: options.config.is_none(),
        state: &options.state,
        runtime_dir: &options.runtime_dir,
    };
    run(&places, options.interface, options.json)
}

/// Or a text, if that is all that is wanted.
fn parse(arguments: &[OsString]) -> Result<Result<Options, &'static str>, String> {
    let words = match Words::read(arguments, |_| true)? {
        Read::Help => return Ok(Err(HELP)),
        Read::Version => return Ok(Err(concat!("wgroam-diagnose ", env!("CARGO_PKG_VERSION"), "\n"))),
        Read::Words(words) => words,
    };
    words.only("diagnose", &["--json", "--config", "--state"], 1)?;
    let interface = words.words.first().map(|name| name.parse());
    Ok(Ok(Options {
        config: words.path("--config"),
        state: words.path("--state").unwrap_or(STATE.into()),
        runtime_dir: words.path("--runtime-dir").unwrap_or(RUNTIME_DIR.into()),
        interface: interface.transpose().map_err(|error: NotAnInterface| error.to_string())?,
        json: words.has("--json"),
    }))
}

fn run(places: &Places, interface: Option<Interface>, json: bool) -> u8 {
    // Private keys pass by. Where it fails, whoever could look at our memory may read them anyhow.
    let _ = process::not_dumpable();
    let facts: &[Facts] = gather(places, interface).leak();
    let found: Vec<_> = facts.iter().map(|facts| (facts.interface, judge(facts))).collect();
    let found = found.leak();
    let text = if json { diagnosis_json(found) } else { diagnosis_text(found) };
    match start::print(text.as_bytes()) {
        Ok(()) if is_sound(found) => 0,
        _ => NO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(words: &str) -> String {
        let arguments: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        parse(&arguments).err().unwrap_or_default()
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(
            wrong("a/b"),
            "an interface's name has 1 to 15 characters, without spaces, slashes and colons"
        );
        assert_eq!(wrong("--foreground"), "'diagnose' takes no --foreground");
        assert_eq!(wrong("wg0 wg1"), "'wg1' is one word too many for 'diagnose'");
        assert_eq!(wrong("--runtime-dir /x --json --config=/y wg0"), "");
    }
}
