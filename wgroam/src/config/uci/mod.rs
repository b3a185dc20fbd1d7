// SPDX-License-Identifier: GPL-2.0-only
//! UCI text to sections and options, by the rules of libuci (file.c, list.c) in its strict mode, which is what the
//! `uci` command and OpenWrt's services use. Nothing here knows what an option means. Where this reader is stricter or
//! kinder than libuci stands in docs/configuration.md; tests/config_uci/ compares the two.

mod mistake;
mod parser;
mod reader;

pub use mistake::Mistake;
pub(crate) use mistake::Quoted;

use zeroize::Zeroizing;

use parser::Parser;

/// What stands under one `package` line, or in one file of /etc/config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Letters, digits, `_` and `-`.
    pub name: String,
    /// In the order in which they first appear.
    pub sections: Vec<Section>,
}

/// A section, merged from all that carry its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The word after `config`.
    pub kind: String,
    /// Letters, digits and `_`; None for an anonymous section.
    pub name: Option<String>,
    /// Its place among the sections of its kind, from 0, as in `@peer[0]`.
    pub index: usize,
    /// Where it begins, from 1.
    pub line: u32,
    /// In the order of `uci export`: an option that is set again moves to the end.
    pub options: Vec<Setting>,
}

impl Section {
    /// The option of this name.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.options.iter().find(|setting| setting.name == name)
    }
}

/// An `option`, or all the `list` lines of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Letters, digits and `_`.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// The line that set it, or the first of a list; from 1.
    pub line: u32,
}

/// What a [`Setting`] holds. Values may contain line breaks and control characters, but no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// From `option`; never empty.
    One(String),
    /// From `list`; each entry with its line, and possibly empty.
    List(Vec<(String, u32)>),
}

/// How much of a package is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it, and what is wrong with it is told in its own words.
    Everything,
    /// These options, as far as their values stand on one line. Nothing else is copied out of the text, nor shown in a
    /// mistake: there are keys in it.
    Only(&'static [&'static str]),
}

/// What a text holds, and what is wrong with it, each with its line. libuci refuses a text with any mistake; what
/// could be read all the same is given back so that one look finds all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// In the order of the text.
    pub packages: Vec<Package>,
    /// Those in packages of which everything is kept, and about packages. In the order of the lines.
    pub mistakes: Vec<(u32, Mistake)>,
    /// Those in the other packages.
    pub elsewhere: Vec<(u32, Mistake)>,
}

/// Reads one text. `name` is the package of what stands before the first `package` line (of the whole text, when
/// there is none). As with `uci import`, each `package` line begins the next package. `keep` says for each package
/// how much of it is kept. At most `most` mistakes of each kind are collected.
pub fn parse(text: &[u8], name: &str, most: usize, keep: fn(&str) -> Keep) -> Parsed {
    let mut parser = Parser::new(name, most, keep);
    match std::str::from_utf8(text) {
        Ok(text) => parser.read(text, None),
        Err(_) => {
            let text = substituted(text);
            parser.read(std::str::from_utf8(&text).unwrap_or_default(), Some(SUBSTITUTE));
        }
    }
    parser.finish()
}

/// Stands where a byte is no UTF-8: the ASCII character made for it.
const SUBSTITUTE: u8 = 0x1a;

/// A copy with [`SUBSTITUTE`] for each byte that is no UTF-8. Wiped after use, as the text itself will be.
fn substituted(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(text.to_vec());
    let mut at = 0;
    while let Err(error) = std::str::from_utf8(&copy[at..]) {
        at += error.valid_up_to();
        copy[at] = SUBSTITUTE;
    }
    copy
}
