// SPDX-License-Identifier: GPL-2.0-only
//! Lines and words: quotes, backslashes, comments and semicolons.

use std::borrow::Cow;

use zeroize::Zeroize;

use super::Mistake;

/// How far words are copied out of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// As they are.
    All,
    /// Those that stand on one line. A quote that was forgotten makes one word of the next values, whatever they are.
    OneLine,
    /// Not at all.
    Nothing,
}

/// A word that is not copied.
const SOMETHING: &str = "…";

/// isspace() of the C locale; u8::is_ascii_whitespace() leaves out the vertical tab.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A position in the text. libuci reads line by line and sees no further, except where a quote or a backslash goes
/// over the end of the line: `end` is how far it has read.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// Where the next byte is.
    pub(super) at: usize,
    end: usize,
    /// The number of the line that was read last, from 1.
    pub(super) line: u32,
    /// The first line that is no text, until somebody takes it.
    pub(super) unreadable: Option<(u32, Mistake)>,
    /// What [`Reader::word`] may copy.
    pub(super) copied: Copied,
    substitute: Option<u8>,
}

impl<'a> Reader<'a> {
    /// `substitute` stands in the text for each byte that was no UTF-8, if there were any.
    pub(super) fn new(text: &'a str, substitute: Option<u8>) -> Self {
        Self { text, at: 0, end: 0, line: 0, unreadable: None, copied: Copied::All, substitute }
    }

    /// Reads one more line. False at the end of the text.
    pub(super) fn read_line(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.end..];
        if rest.is_empty() {
            return false;
        }
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.end += length;
        self.line += 1;
        let substitute = self.substitute;
        let odd = rest[..length].iter().find(|&&byte| byte == 0 || Some(byte) == substitute);
        if let (Some(&odd), None) = (odd, &self.unreadable) {
            let what = if odd == 0 { Mistake::Binary } else { Mistake::NotUtf8 };
            self.unreadable = Some((self.line, what));
        }
        true
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes()[..self.end].get(self.at).copied()
    }

    pub(super) fn skip(&mut self, unwanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&unwanted) {
            self.at += 1;
        }
    }

    /// Forgets the rest of the line.
    pub(super) fn cut(&mut self) {
        self.at = self.end;
    }

    /// The word that says what the line is: everything up to a blank. None at the end of the line or at a comment.
    pub(super) fn command(&mut self) -> Option<&'a str> {
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
    pub(super) fn word(&mut self) -> Result<Cow<'a, str>, (u32, Mistake)> {
        self.skip(is_space);
        if self.peek() == Some(b';') {
            self.at += 1;
            return Ok(Cow::Borrowed(""));
        }
        let mut word =
            Pieces { text: self.text, whole: None, from: self.at, copied: self.copied, hidden: false };
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
                None if self.read_line() => word.next_line(),
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
            word.next_line();
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
    copied: Copied,
    /// There is something in it that was not copied.
    hidden: bool,
}

impl<'a> Pieces<'a> {
    fn push(&mut self, to: usize) {
        let whole = self.whole.get_or_insert_default();
        if self.copied == Copied::Nothing {
            self.hidden |= self.from < to;
        } else {
            whole.push_str(&self.text[self.from..to]);
        }
        self.from = to;
    }

    /// The word goes on in the next line.
    fn next_line(&mut self) {
        if self.copied == Copied::OneLine {
            self.copied = Copied::Nothing;
            if let Some(whole) = &mut self.whole {
                self.hidden |= !whole.is_empty();
                whole.zeroize();
            }
        }
    }

    /// Leaves out the (ASCII) byte at `at`.
    fn drop_byte(&mut self, at: &mut usize) {
        self.push(*at);
        *at += 1;
        self.from = *at;
    }

    fn take(&mut self, to: usize) -> Cow<'a, str> {
        if self.copied == Copied::Nothing {
            self.hidden |= self.from < to;
            return Cow::Borrowed(if self.hidden { SOMETHING } else { "" });
        }
        match self.whole.take() {
            None => Cow::Borrowed(&self.text[self.from..to]),
            Some(mut whole) => {
                whole.push_str(&self.text[self.from..to]);
                Cow::Owned(whole)
            }
        }
    }
}
