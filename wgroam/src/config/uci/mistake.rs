// SPDX-License-Identifier: GPL-2.0-only
//! What can be wrong with a line of UCI, and how it is said.

use std::fmt;

/// What is wrong with a line. The text is not UCI, whatever its options mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The line begins with something else than `package`, `config`, `option`, `list` or `#`.
    UnknownCommand(String),
    /// Nothing follows the command where a word has to.
    NothingAfter(&'static str),
    /// More words than the command takes; the first of them.
    TooMany(String),
    /// A quote that no line ends. The line given is the one where it begins.
    Unterminated(char),
    /// A name (of what, which) with other characters than letters, digits and `_`.
    BadName(&'static str, String),
    /// A section's type with white space, control or non-ASCII characters.
    BadType(String),
    /// `option` or `list` before the first `config`.
    OutsideSection,
    /// The section's name was given to a section of this type before, on this line.
    OtherType {
        /// The section's name.
        name: String,
        /// Its first type.
        first: String,
        /// The line of that.
        line: u32,
    },
    /// A second `package` line with this name.
    PackageTwice(String),
    /// Bytes that no text has: NUL.
    Binary,
    /// Not UTF-8.
    NotUtf8,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Mistake::UnknownCommand(found) => write!(
                f,
                "{} begins no UCI line; allowed: config, option, list, package, or # for a comment",
                Quoted(found)
            ),
            Mistake::NothingAfter(command) => {
                write!(f, "'{command}' stands alone; ")?;
                f.write_str(match *command {
                    "config" => "write: config TYPE 'NAME'",
                    "package" => "write: package NAME",
                    "list" => "write: list NAME 'VALUE'",
                    _ => "write: option NAME 'VALUE'",
                })
            }
            Mistake::TooMany(found) => {
                write!(f, "{} is one word too many; put a value that has spaces in quotes", Quoted(found))
            }
            Mistake::Unterminated(quote) => {
                write!(f, "the quote {quote} that begins here is never closed; the file may be half written")
            }
            Mistake::BadName(what, found) => {
                write!(f, "{} can't be the name of {what}; allowed: letters, digits and _", Quoted(found))?;
                match *what {
                    "a package" => f.write_str(" and -"),
                    "a section" => write!(f, " (a tunnel may have option interface {})", Quoted(found)),
                    _ => Ok(()),
                }
            }
            Mistake::BadType(found) => {
                write!(f, "{} can't be a section's type; allowed: ASCII without spaces", Quoted(found))
            }
            Mistake::OutsideSection => {
                f.write_str("stands before the first section; put a line like config peer 'NAME' above it")
            }
            Mistake::OtherType { name, first, line } => {
                write!(
                    f,
                    "section '{name}' is of type '{first}' already (line {line}); give one another name"
                )
            }
            Mistake::PackageTwice(name) => {
                write!(f, "package '{name}' began before; put its sections in one place")
            }
            Mistake::Binary => f.write_str("has a NUL byte: this is no text file"),
            Mistake::NotUtf8 => {
                f.write_str("is not UTF-8; write comments and values in UTF-8 or plain ASCII")
            }
        }
    }
}

/// Somebody's text inside a message: in single quotes, without control characters, cut after 64 characters.
pub(crate) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const MOST: usize = 64;
        f.write_str("'")?;
        for (position, c) in self.0.chars().enumerate() {
            match c {
                _ if position == MOST => return f.write_str("…'"),
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("'")
    }
}
