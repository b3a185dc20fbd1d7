// SPDX-License-Identifier: GPL-2.0-only
//! UCI text to sections and options, by the rules of libuci (file.c, list.c) in its strict mode, which is what the
//! `uci` command and OpenWrt's services use. Nothing here knows what an option means. Where this reader is stricter or
//! kinder than libuci stands in docs/configuration.md; tests/config_uci.rs compares the two.

mod mistake;
mod reader;

pub use mistake::Mistake;
pub(crate) use mistake::Quoted;

use std::borrow::Cow;

use crate::sorted::SortedMap;
use reader::{Reader, is_space};

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

/// What a text holds, and what is wrong with it, each with its line. libuci refuses a text with any mistake; what
/// could be read all the same is given back so that one look finds all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// In the order of the text.
    pub packages: Vec<Package>,
    /// In the order of the lines.
    pub mistakes: Vec<(u32, Mistake)>,
}

/// Reads one text. `name` is the package of what stands before the first `package` line (of the whole text, when
/// there is none). As with `uci import`, each `package` line begins the next package. At most `most` mistakes are
/// collected.
pub fn parse(text: &[u8], name: &str, most: usize) -> Parsed {
    let mut parser = Parser::new(name, most);
    match readable(text) {
        Ok(text) => parser.read(text),
        Err((line, mistake)) => parser.parsed.mistakes.push((line, mistake)),
    }
    parser.finish()
}

/// NUL bytes and bad UTF-8 are refused as a whole: libuci would cut a line at a NUL and go on.
fn readable(text: &[u8]) -> Result<&str, (u32, Mistake)> {
    let line = |offset: usize| 1 + text[..offset].iter().filter(|&&byte| byte == b'\n').count() as u32;
    if let Some(offset) = text.iter().position(|&byte| byte == 0) {
        return Err((line(offset), Mistake::Binary));
    }
    std::str::from_utf8(text).map_err(|error| (line(error.valid_up_to()), Mistake::NotUtf8))
}

/// Where an `option` line goes.
enum Current {
    /// No `config` yet in this package.
    Nowhere,
    /// After a `config` line with a mistake: its options are skipped, they would only repeat it.
    Broken,
    /// This section of the last package.
    Section(usize),
}

struct Parser {
    parsed: Parsed,
    /// The package of the sections that follow; it comes into being with the first of them, or by a `package` line.
    name: String,
    started: bool,
    current: Current,
    most: usize,
    /// Names of packages, with their numbers.
    packages: SortedMap<String, usize>,
    /// Section names of the last package; quick, so that a hostile file can't make reading quadratic.
    by_name: SortedMap<String, usize>,
    /// How many sections of each kind the last package has.
    kinds: SortedMap<String, usize>,
    /// For each section of the last package: where in it an option stands.
    settings: Vec<SortedMap<String, usize>>,
    /// For each section and option of the last package: its place, given anew when it is set again.
    order: Vec<Vec<usize>>,
    next_place: usize,
}

impl Parser {
    fn new(name: &str, most: usize) -> Self {
        Self {
            parsed: Parsed::default(),
            name: name.to_owned(),
            started: false,
            current: Current::Nowhere,
            most,
            packages: SortedMap::new(),
            by_name: SortedMap::new(),
            kinds: SortedMap::new(),
            settings: Vec::new(),
            order: Vec::new(),
            next_place: 0,
        }
    }

    fn read(&mut self, text: &str) {
        let mut reader = Reader::new(text);
        while reader.read_line() && self.parsed.mistakes.len() < self.most {
            let line = reader.line;
            reader.skip(is_space);
            if let Err(mistake) = self.read_commands(&mut reader, line) {
                self.parsed.mistakes.push(mistake);
            }
            reader.cut();
        }
    }

    /// The commands of one line: mostly one, more after `;`.
    fn read_commands(&mut self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        while let Some(command) = reader.command() {
            let command = match command {
                "p" | "package" => "package",
                "c" | "config" => "config",
                "o" | "option" => "option",
                "l" | "list" => "list",
                other => {
                    // libuci wants a blank after the word, and takes a line break for a part of it.
                    let bare = other.trim_end();
                    let known =
                        ["package", "config", "option", "list"].into_iter().find(|known| *known == bare);
                    if known == Some("config") {
                        self.current = Current::Broken;
                    }
                    return Err((
                        line,
                        known.map_or_else(|| Mistake::UnknownCommand(bare.to_owned()), Mistake::NothingAfter),
                    ));
                }
            };
            if reader.peek().is_none() {
                return Err((line, Mistake::NothingAfter(command)));
            }
            reader.at += 1;
            match command {
                "package" => self.read_package(reader, line)?,
                "config" => {
                    self.current = Current::Broken;
                    self.read_section(reader, line)?;
                }
                "list" => self.read_setting(reader, line, true)?,
                _ => self.read_setting(reader, line, false)?,
            }
        }
        Ok(())
    }

    fn read_package(&mut self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        let name = required(reader, line, "package")?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return Err((line, Mistake::BadName("a package", name.into_owned())));
        }
        end_of_command(reader, line)?;
        if self.packages.contains_key(name.as_ref()) {
            self.current = Current::Broken;
            return Err((line, Mistake::PackageTwice(name.into_owned())));
        }
        self.name = name.into_owned();
        self.start_package();
        Ok(())
    }

    fn start_package(&mut self) {
        self.sort_options();
        self.packages.insert(self.name.clone(), self.parsed.packages.len());
        self.parsed.packages.push(Package { name: self.name.clone(), sections: Vec::new() });
        self.started = true;
        self.current = Current::Nowhere;
        self.by_name.clear();
        self.kinds.clear();
        self.settings.clear();
        self.order.clear();
    }

    fn read_section(&mut self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        let kind = required(reader, line, "config")?;
        if !kind.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err((line, Mistake::BadType(kind.into_owned())));
        }
        let name = reader.word()?;
        if !is_name(&name) {
            return Err((line, Mistake::BadName("a section", name.into_owned())));
        }
        end_of_command(reader, line)?;
        if !self.started {
            self.start_package();
        }
        let Some(package) = self.parsed.packages.last_mut() else { return Ok(()) };
        if let Some(&known) = self.by_name.get(name.as_ref()) {
            let first = &package.sections[known];
            if first.kind != kind {
                let (first, line_of_first) = (first.kind.clone(), first.line);
                let mistake = Mistake::OtherType { name: name.into_owned(), first, line: line_of_first };
                return Err((line, mistake));
            }
            self.current = Current::Section(known);
            return Ok(());
        }
        let number = package.sections.len();
        let name = if name.is_empty() { None } else { Some(name.into_owned()) };
        if let Some(name) = &name {
            self.by_name.insert(name.clone(), number);
        }
        let index = match self.kinds.get_mut(kind.as_ref()) {
            Some(count) => std::mem::replace(count, *count + 1),
            None => {
                self.kinds.insert(kind.clone().into_owned(), 1);
                0
            }
        };
        let options = Vec::new();
        package.sections.push(Section { kind: kind.into_owned(), name, index, line, options });
        self.settings.push(SortedMap::new());
        self.order.push(Vec::new());
        self.current = Current::Section(number);
        Ok(())
    }

    fn read_setting(&mut self, reader: &mut Reader, line: u32, list: bool) -> Result<(), (u32, Mistake)> {
        if matches!(self.current, Current::Nowhere) {
            return Err((line, Mistake::OutsideSection));
        }
        let name = required(reader, line, if list { "list" } else { "option" })?;
        if !is_name(&name) {
            return Err((line, Mistake::BadName("an option", name.into_owned())));
        }
        let value = reader.word()?;
        end_of_command(reader, line)?;
        let Current::Section(number) = self.current else { return Ok(()) };
        // An empty option is as good as none, and leaves an earlier one alone.
        if value.is_empty() && !list {
            return Ok(());
        }
        let Some(package) = self.parsed.packages.last_mut() else { return Ok(()) };
        let options = &mut package.sections[number].options;
        let place = self.next_place;
        self.next_place += 1;
        let value = value.into_owned();
        let Some(&known) = self.settings[number].get(name.as_ref()) else {
            self.settings[number].insert(name.as_ref().to_owned(), options.len());
            let value = if list { Value::List(vec![(value, line)]) } else { Value::One(value) };
            options.push(Setting { name: name.into_owned(), value, line });
            self.order[number].push(place);
            return Ok(());
        };
        let setting = &mut options[known];
        match &mut setting.value {
            Value::List(entries) if list => {
                entries.push((value, line));
                return Ok(());
            }
            // libuci makes a list of what was an option of the same name.
            Value::One(first) if list => {
                setting.value = Value::List(vec![(std::mem::take(first), setting.line), (value, line)]);
            }
            Value::One(same) if *same == value => return Ok(()),
            _ => {
                setting.value = Value::One(value);
                setting.line = line;
            }
        }
        self.order[number][known] = place;
        Ok(())
    }

    /// Puts the options of the last package in the order of their places.
    fn sort_options(&mut self) {
        let Some(package) = self.parsed.packages.last_mut() else { return };
        for (section, order) in package.sections.iter_mut().zip(&self.order) {
            if order.is_sorted() {
                continue;
            }
            let mut options: Vec<_> = order.iter().zip(section.options.drain(..)).collect();
            options.sort_unstable_by_key(|(place, _)| **place);
            section.options = options.into_iter().map(|(_, setting)| setting).collect();
        }
    }

    fn finish(mut self) -> Parsed {
        self.sort_options();
        self.parsed
    }
}

/// Names must do as shell variables.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn required<'a>(
    reader: &mut Reader<'a>,
    line: u32,
    command: &'static str,
) -> Result<Cow<'a, str>, (u32, Mistake)> {
    let word = reader.word()?;
    if word.is_empty() { Err((line, Mistake::NothingAfter(command))) } else { Ok(word) }
}

/// Takes the semicolon that ends a command, if there is one. As in libuci an empty word `''` passes.
fn end_of_command(reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
    let word = reader.word()?;
    if word.is_empty() { Ok(()) } else { Err((line, Mistake::TooMany(word.into_owned()))) }
}
