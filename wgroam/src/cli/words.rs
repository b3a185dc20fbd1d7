// SPDX-License-Identifier: GPL-2.0-only
//! The words of a command line, taken apart: the same options mean the same for each of our programs.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

/// The options that there are, and whether a value follows.
const OPTIONS: [(&str, bool); 5] =
    [("runtime-dir", true), ("config", true), ("state", true), ("foreground", false), ("json", false)];
/// Those that every command takes.
pub const ANYWHERE: &[&str] = &["runtime-dir"];

/// What was given.
pub struct Words {
    /// With the values that they take.
    options: Vec<(&'static str, Option<OsString>)>,
    /// The others, in their order.
    pub words: Vec<String>,
}

/// What a command line turns out to be.
pub enum Read {
    Help,
    Version,
    /// It begins with a word that is not ours: what was said before and after it.
    Foreign {
        name: String,
        arguments: Vec<OsString>,
    },
    Words(Words),
}

impl Words {
    /// Takes all apart, up to a first word that is not ours.
    pub fn read(mut parser: lexopt::Parser, is_ours: impl Fn(&str) -> bool) -> Result<Read, lexopt::Error> {
        let mut read = Words { options: Vec::new(), words: Vec::new() };
        while let Some(arg) = parser.next()? {
            if let Some((name, has_value)) = OPTIONS.iter().find(|(name, _)| arg == Long(name)) {
                let value = if *has_value { Some(parser.value()?) } else { None };
                read.options.push((name, value));
                continue;
            }
            match arg {
                Short('h') | Long("help") => return Ok(Read::Help),
                Short('V') | Long("version") => return Ok(Read::Version),
                Value(word) => {
                    let word = word.string()?;
                    if read.words.is_empty() && !is_ours(&word) {
                        return read.foreign(word, parser.raw_args()?);
                    }
                    if word.contains(char::is_whitespace) {
                        return Err(format!("'{word}' has white space in it").into());
                    }
                    read.words.push(word);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(Read::Words(read))
    }

    fn foreign(self, name: String, rest: impl Iterator<Item = OsString>) -> Result<Read, lexopt::Error> {
        // No path, and no option either.
        if !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(format!("there is no command '{name}'").into());
        }
        let mut arguments = Vec::new();
        for (name, value) in self.options {
            arguments.push(format!("--{name}").into());
            arguments.extend(value);
        }
        arguments.extend(rest);
        Ok(Read::Foreign { name, arguments })
    }

    /// Refuses options and words that `who` has no use for.
    pub fn only(&self, who: &str, options: &[&str], words: usize) -> Result<(), lexopt::Error> {
        if let Some((name, _)) = self.options.iter().find(|(name, _)| !options.contains(name)) {
            return Err(format!("'{who}' takes no --{name}").into());
        }
        match self.words.get(words) {
            Some(word) => Err(format!("'{word}' is one word too many for '{who}'").into()),
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
        value.as_ref().map(PathBuf::from)
    }
}
