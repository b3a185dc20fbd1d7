// SPDX-License-Identifier: GPL-2.0-only
//! UCI text to sections and options, by the rules of libuci (file.c, list.c) in its strict mode, which is what the
//! `uci` command and OpenWrt's services use. Nothing here knows what an option means. Where this reader is stricter or
//! kinder than libuci stands in docs/configuration.md; tests/config_uci.rs compares the two.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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

/// isspace() of the C locale; u8::is_ascii_whitespace() leaves out the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A position in the text. libuci reads line by line and sees no further, except where a quote or a backslash goes
/// over the end of the line: `end` is how far it has read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    end: usize,
    /// The number of the line that was read last, from 1.
    line: u32,
}

impl<'a> Reader<'a> {
    /// Reads one more line. False at the end of the text.
    fn read_line(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.end..];
        if rest.is_empty() {
            return false;
        }
        self.end += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.line += 1;
        true
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes()[..self.end].get(self.at).copied()
    }

    fn skip(&mut self, unwanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&unwanted) {
            self.at += 1;
        }
    }

    /// Forgets the rest of the line.
    fn cut(&mut self) {
        self.at = self.end;
    }

    /// The word that says what the line is: everything up to a blank. None at the end of the line or at a comment.
    fn command(&mut self) -> Option<&'a str> {
        self.skip(|byte| byte == b' ' || byte == b'\t');
        let start = self.at;
        if matches!(self.peek(), None | Some(b'#')) {
            return None;
        }
        self.skip(|byte| byte != b' ' && byte != b'\t');
        Some(&self.text[start..self.at])
    }

    /// The next argument, empty when there is none. `;` counts as an empty one, which is how libuci separates
    /// commands on one line.
    fn word(&mut self) -> Result<Cow<'a, str>, (u32, Mistake)> {
        self.skip(is_space);
        if self.peek() == Some(b';') {
            self.at += 1;
            return Ok(Cow::Borrowed(""));
        }
        let mut word = Pieces { text: self.text, whole: None, from: self.at };
        loop {
            match self.peek() {
                Some(quote @ (b'\'' | b'"')) => self.quoted(&mut word, quote)?,
                Some(b'#') => {
                    let found = word.take(self.at);
                    self.cut();
                    return Ok(found);
                }
                // The semicolon is where libuci ends a plain word with a NUL byte: it then takes that for the end
                // of the line. After a word with quotes or backslashes it does not.
                Some(b';') => {
                    let plain = word.whole.is_none();
                    let found = word.take(self.at);
                    if plain {
                        self.cut();
                    }
                    return Ok(found);
                }
                Some(b'\\') => self.backslash(&mut word),
                Some(_) => self.at += 1,
                None => return Ok(word.take(self.at)),
            }
            if self.peek().is_none_or(is_space) {
                let found = word.take(self.at);
                self.at = (self.at + 1).min(self.end);
                return Ok(found);
            }
        }
    }

    /// A quoted piece, over as many lines as it takes.
    fn quoted(&mut self, word: &mut Pieces<'a>, quote: u8) -> Result<(), (u32, Mistake)> {
        let line = self.line;
        word.drop_byte(&mut self.at);
        loop {
            match self.peek() {
                Some(byte) if byte == quote => {
                    word.drop_byte(&mut self.at);
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => self.backslash(word),
                Some(_) => self.at += 1,
                None if self.read_line() => (),
                None => return Err((line, Mistake::Unterminated(char::from(quote)))),
            }
        }
    }

    /// Drops a backslash and keeps what follows it; before the end of the line, both go and the next line follows.
    fn backslash(&mut self, word: &mut Pieces<'a>) {
        word.drop_byte(&mut self.at);
        let rest = &self.text.as_bytes()[self.at..self.end];
        if matches!(rest, [] | [b'\n'] | [b'\r', b'\n']) {
            self.at = self.end;
            word.from = self.end;
            self.read_line();
        } else {
            self.at += 1;
        }
    }
}

/// A word under construction: a stretch of the text, or a copy once something had to be left out.
struct Pieces<'a> {
    text: &'a str,
    whole: Option<String>,
    from: usize,
}

impl<'a> Pieces<'a> {
    fn push(&mut self, to: usize) {
        self.whole.get_or_insert_default().push_str(&self.text[self.from..to]);
        self.from = to;
    }

    /// Leaves out the (ASCII) byte at `at`.
    fn drop_byte(&mut self, at: &mut usize) {
        self.push(*at);
        *at += 1;
        self.from = *at;
    }

    fn take(&mut self, to: usize) -> Cow<'a, str> {
        match self.whole.take() {
            None => Cow::Borrowed(&self.text[self.from..to]),
            Some(mut whole) => {
                whole.push_str(&self.text[self.from..to]);
                Cow::Owned(whole)
            }
        }
    }
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
    packages: BTreeSet<String>,
    /// Section names of the last package; quick, so that a hostile file can't make reading quadratic.
    by_name: BTreeMap<String, usize>,
    /// How many sections of each kind the last package has.
    kinds: BTreeMap<String, usize>,
    /// Options of the last package, by section.
    settings: BTreeMap<(usize, String), usize>,
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
            packages: BTreeSet::new(),
            by_name: BTreeMap::new(),
            kinds: BTreeMap::new(),
            settings: BTreeMap::new(),
            order: Vec::new(),
            next_place: 0,
        }
    }

    fn read(&mut self, text: &str) {
        let mut reader = Reader { text, at: 0, end: 0, line: 0 };
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
        if self.packages.contains(name.as_ref()) {
            self.current = Current::Broken;
            return Err((line, Mistake::PackageTwice(name.into_owned())));
        }
        self.name = name.into_owned();
        self.start_package();
        Ok(())
    }

    fn start_package(&mut self) {
        self.sort_options();
        self.parsed.packages.push(Package { name: self.name.clone(), sections: Vec::new() });
        self.packages.insert(self.name.clone());
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
        let Some(&known) = self.settings.get(&(number, name.as_ref().to_owned())) else {
            self.settings.insert((number, name.as_ref().to_owned()), options.len());
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
