// SPDX-License-Identifier: GPL-2.0-only
//! The words of a command line, taken apart: the same options mean the same for each of our programs. Written by hand: with
//! lexopt, or what it needs of std, it was 5 KB more on MIPS.

use std::ffi::OsString;
use std::path::PathBuf;

/// The options that there are, and whether a value follows.
const OPTIONS: [(&str, bool); 6] = [
    ("--runtime-dir", true),
    ("--config", true),
    ("--state", true),
    ("--foreground", false),
    ("--end-with-parent", false),
    ("--json", false),
];
/// Those that every command takes.
pub const ANYWHERE: &str = "--runtime-dir";

/// What was given.
#[derive(Default)]
pub struct Words {
    /// With the values that they take.
    options: Vec<(&'static str, OsString)>,
    /// The others, in their order.
    pub words: Vec<String>,
    /// The first of them is not ours, and is the argument of this number: what follows was not read.
    pub foreign: Option<usize>,
}

/// What a command line turns out to be.
pub enum Read {
    Help,
    Version,
    Words(Words),
}

impl Words {
    /// Takes the arguments apart, up to a first word that is not ours. All are UTF-8 but for values that stand alone.
    pub fn read(arguments: &[OsString], is_ours: impl Fn(&str) -> bool) -> Result<Read, String> {
        let mut read = Words::default();
        let (mut next, mut only_words) = (0, false);
        while let Some(argument) = arguments.get(next) {
            next += 1;
            let Some(argument) = argument.to_str() else {
                return Err(format!("'{}' is no UTF-8", argument.display()));
            };
            if only_words || !argument.starts_with('-') {
                if argument.contains(char::is_whitespace) {
                    return Err(format!("'{argument}' has white space in it"));
                }
                if read.words.is_empty() && !is_ours(argument) {
                    if only_words {
                        return Err(format!("'--' goes behind '{argument}'"));
                    }
                    read.foreign = Some(next - 1);
                    break;
                }
                read.words.push(argument.into());
                continue;
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            match argument {
                "--" => only_words = true,
                "-h" | "--help" => return Ok(Read::Help),
                "-V" | "--version" => return Ok(Read::Version),
                _ => {
                    let Some((name, has_value)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
                        return Err(format!("there is no option '{argument}'"));
                    };
                    let value = match (has_value, value) {
                        (true, Some(value)) => value.into(),
                        (true, None) => {
                            next += 1;
                            arguments
                                .get(next - 1)
                                .cloned()
                                .ok_or_else(|| format!("'{name}' wants a value"))?
                        }
                        (false, None) => OsString::new(),
                        (false, Some(_)) => return Err(format!("'{name}' takes no value")),
                    };
                    read.options.push((name, value));
                }
            }
        }
        Ok(Read::Words(read))
    }

    /// Refuses options and words that `who` has no use for.
    pub fn only(&self, who: &str, options: &[&str], words: usize) -> Result<(), String> {
        for (name, _) in &self.options {
            if *name != ANYWHERE && !options.contains(name) {
                return Err(format!("'{who}' takes no {name}"));
            }
        }
        match self.words.get(words) {
            Some(word) => Err(format!("'{word}' is one word too many for '{who}'")),
            None => Ok(()),
        }
    }

    /// Whether the option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    /// The value of an option; the last one counts.
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        let (_, value) = self.options.iter().rfind(|(name, _)| *name == option)?;
        Some(PathBuf::from(value))
    }
}
