// SPDX-License-Identifier: GPL-2.0-only
//! Lines and words: quotes, backslashes, comments and semicolons.

use std::borrow::Cow;

use super::Mistake;

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
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, end: 0, line: 0 }
    }

    /// Reads one more line. False at the end of the text.
    pub(super) fn read_line(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.end..];
        if rest.is_empty() {
            return false;
        }
        self.end += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.line += 1;
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
