// SPDX-License-Identifier: GPL-2.0-only
//! Commands to packages, sections and options.

use std::borrow::Cow;

use super::reader::{Copied, Reader, is_space};
use super::{Keep, Mistake, Package, Parsed, Section, Setting, Value};
use crate::lists;
use crate::sorted::SortedMap;

/// What stands in a mistake for a text that may be secret.
const HIDDEN: &str = "…";

/// Where an `option` line goes.
enum Current {
    /// No `config` yet in this package.
    Nowhere,
    /// After a `config` line with a mistake: its options are skipped, they would only repeat it.
    Broken,
    /// This section of the last package.
    Section(usize),
}

pub(super) struct Parser {
    parsed: Parsed,
    keep: fn(&str) -> Keep,
    /// How much is kept of the last package.
    kept: Keep,
    /// Do mistakes count? Not in a package that is somebody else's.
    strict: bool,
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
    pub fn new(name: &str, most: usize, keep: fn(&str) -> Keep) -> Self {
        Self {
            parsed: Parsed::default(),
            keep,
            kept: keep(name),
            strict: keep(name) == Keep::Everything,
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

    /// Reads a text, in which `substitute` stands for what is not UTF-8, if anything does.
    pub fn read(&mut self, text: &str, substitute: Option<u8>) {
        let mut reader = Reader::new(text, substitute);
        while reader.read_line() && self.parsed.mistakes.len() < self.most {
            let line = reader.line;
            reader.skip(is_space);
            let mut result = self.read_commands(&mut reader, line);
            reader.cut();
            if let Some(unreadable) = reader.unreadable.take()
                && (self.strict || unreadable.1 == Mistake::Binary)
            {
                result = Err(unreadable);
            }
            match result {
                Ok(()) => {}
                Err(mistake) if self.strict => {
                    // libuci would cut a line at a NUL and go on; such a file is broken, or no text at all.
                    let hopeless = matches!(mistake.1, Mistake::Binary | Mistake::NotUtf8);
                    self.parsed.mistakes.push(mistake);
                    if hopeless {
                        return;
                    }
                }
                Err(mistake) if self.parsed.elsewhere.len() < self.most => {
                    self.parsed.elsewhere.push(mistake);
                }
                Err(_) => {}
            }
        }
    }

    /// Somebody's text, as a mistake may show it.
    fn shown(&self, text: &str) -> String {
        match self.kept {
            Keep::Everything => text.to_owned(),
            Keep::Only(_) => HIDDEN.to_owned(),
        }
    }

    /// How far words may be copied.
    fn copied(&self) -> Copied {
        match self.kept {
            Keep::Everything => Copied::All,
            Keep::Only(_) => Copied::OneLine,
        }
    }

    /// Takes the semicolon that ends a command, if there is one. As in libuci an empty word `''` passes.
    fn end_of_command(&self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        if self.kept != Keep::Everything {
            reader.copied = Copied::Nothing;
        }
        let word = reader.word()?;
        if word.is_empty() { Ok(()) } else { Err((line, Mistake::TooMany(self.shown(&word)))) }
    }

    /// The commands of one line: mostly one, more after `;`.
    fn read_commands(&mut self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        while let Some(command) = reader.command() {
            reader.copied = self.copied();
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
                        known
                            .map_or_else(|| Mistake::UnknownCommand(self.shown(bare)), Mistake::NothingAfter),
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
        let result = self.begin_package(reader, line);
        if result.is_err() {
            // Nobody knows whose the next lines are: nothing of them is kept, and nothing passes as another's slip.
            (self.kept, self.strict) = (Keep::Only(&[]), true);
        }
        result
    }

    fn begin_package(&mut self, reader: &mut Reader, line: u32) -> Result<(), (u32, Mistake)> {
        let name = required(reader, line, "package")?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return Err((line, Mistake::BadName("a package", name.into_owned())));
        }
        self.end_of_command(reader, line)?;
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
        self.kept = (self.keep)(&self.name);
        self.strict = self.kept == Keep::Everything;
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
            return Err((line, Mistake::BadType(self.shown(&kind))));
        }
        let name = reader.word()?;
        if !is_name(&name) {
            return Err((line, Mistake::BadName("a section", self.shown(&name))));
        }
        self.end_of_command(reader, line)?;
        if !self.started {
            self.start_package();
        }
        let Some(package) = self.parsed.packages.last_mut() else { return Ok(()) };
        if let Some(&known) = self.by_name.get(name.as_ref()) {
            let first = &package.sections[known];
            if first.kind != kind {
                let (first, line_of_first) = (first.kind.clone(), first.line);
                let mistake = Mistake::OtherType { name: self.shown(&name), first, line: line_of_first };
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
            return Err((line, Mistake::BadName("an option", self.shown(&name))));
        }
        let wanted = match self.kept {
            Keep::Everything => true,
            Keep::Only(options) => options.contains(&name.as_ref()),
        };
        if !wanted {
            reader.copied = Copied::Nothing;
        }
        let value = reader.word()?;
        self.end_of_command(reader, line)?;
        let Current::Section(number) = self.current else { return Ok(()) };
        if !wanted {
            return Ok(());
        }
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
        for (section, order) in package.sections.iter_mut().zip(&mut self.order) {
            lists::sort(order.len(), &mut |first, second| {
                let wrong = order[second] < order[first];
                if wrong {
                    order.swap(first, second);
                    section.options.swap(first, second);
                }
                wrong
            });
        }
    }

    pub fn finish(mut self) -> Parsed {
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
