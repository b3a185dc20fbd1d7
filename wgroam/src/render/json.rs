// SPDX-License-Identifier: GPL-2.0-only
//! Writes JSON (RFC 8259), one object a line. Writing only, so it is small: serde_json with its derives would add
//! tens of kilobytes on mips for the two shapes that we print.

use std::fmt::{Display, Write};

/// An object or array under construction. Commas are its business; closing happens on [`Json::close`].
pub struct Json {
    text: String,
    comma: bool,
}

impl Json {
    /// Begins an object.
    pub fn object() -> Self {
        Self { text: String::from("{"), comma: false }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        self.quoted(name);
        self.text.push(':');
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.comma, true) {
            self.text.push(',');
        }
    }

    fn quoted(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                // Writing to a String cannot fail.
                c if (c as u32) < 0x20 || c == '\x7f' => drop(write!(self.text, "\\u{:04x}", c as u32)),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// `"name":"value"`
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    /// `"name":"value"`, or null.
    pub fn maybe_string(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.null(name),
        }
    }

    /// `"name":"value"` of something that has a text.
    pub fn shown(&mut self, name: &str, value: &dyn Display) {
        self.string(name, &format!("{value}"));
    }

    /// `"name":"value"` of something that has a text, or null.
    pub fn maybe_shown<T: Display>(&mut self, name: &str, value: Option<T>) {
        match value {
            Some(value) => self.shown(name, &value),
            None => self.null(name),
        }
    }

    /// `"name":null`
    pub fn null(&mut self, name: &str) {
        self.name(name);
        self.text.push_str("null");
    }

    /// `"name":value`
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    /// `"name":value` in seconds with milliseconds, or null.
    pub fn seconds(&mut self, name: &str, value: Option<std::time::Duration>) {
        let Some(value) = value else { return self.null(name) };
        self.name(name);
        let _ = write!(self.text, "{}.{:03}", value.as_secs(), value.subsec_millis());
    }

    /// `"name":true` or `"name":false`
    pub fn bool(&mut self, name: &str, value: bool) {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
    }

    /// `"name":[{…},{…}]`: `fill` writes the members of one object for each item.
    pub fn objects<T>(&mut self, name: &str, items: &[T], fill: impl Fn(&mut Json, &T)) {
        self.name(name);
        self.list(items.len(), &|json, at| fill(json, &items[at]));
    }

    /// One function for items of all types.
    #[inline(never)]
    fn list(&mut self, length: usize, fill: &dyn Fn(&mut Json, usize)) {
        self.open('[');
        for at in 0..length {
            self.separate();
            self.open('{');
            fill(self, at);
            self.shut('}');
        }
        self.shut(']');
    }

    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.comma = false;
    }

    fn shut(&mut self, bracket: char) {
        self.text.push(bracket);
        self.comma = true;
    }

    /// The finished line, with its newline.
    pub fn close(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nested_objects_keep_their_commas() {
        let mut json = Json::object();
        json.number("n", 1);
        json.objects("list", &[1u64, 2], |json, n| {
            json.number("a", *n);
            json.bool("b", *n == 1);
        });
        json.objects("none", &[0u64; 0], |_, _| ());
        json.seconds("s", Some(Duration::from_millis(1_042)));
        json.maybe_string("x", None);
        assert_eq!(
            json.close(),
            "{\"n\":1,\"list\":[{\"a\":1,\"b\":true},{\"a\":2,\"b\":false}],\"none\":[],\"s\":1.042,\"x\":null}\n"
        );
    }

    #[test]
    fn no_text_breaks_out_of_its_quotes() {
        let mut json = Json::object();
        json.string("k", "a\"b\\c\nd\u{1}e\u{7f}ü");
        assert_eq!(json.close(), "{\"k\":\"a\\\"b\\\\c\\nd\\u0001e\\u007fü\"}\n");
    }
}
