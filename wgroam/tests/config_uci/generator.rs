// SPDX-License-Identifier: GPL-2.0-only
//! Texts at random, the same in every run.

/// xorshift64*: the same files in every run, on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.roll(count) == 0
    }
}

/// Texts that look like configuration, with everything odd that the syntax knows. `wild`: one line in so many is odd.
pub struct Generator {
    pub dice: Dice,
    pub wild: usize,
}

impl Generator {
    fn piece(&mut self) -> String {
        const PLAIN: &[&str] =
            &["a", "wg0", "10.0.0.1", "x_y", "home.example.net:51820", "ü€", "-", "=", "a&b|c", "$(x)"];
        const INNER: &[&str] =
            &["a", " ", "\t", "#", ";", "b c", "\n", "\r\n", "é", "  ", "\u{b}", "option x y"];
        let mut inner = String::new();
        for _ in 0..self.dice.roll(4) {
            inner += self.dice.pick(INNER);
        }
        match self.dice.roll(8) {
            0..=2 => self.dice.pick(PLAIN).to_owned(),
            3 => format!("'{inner}{}'", self.dice.pick(&["", "\\", "\"", "\\n", "\\\n"])),
            4 => format!(
                "\"{inner}{}\"",
                self.dice.pick(&["", "\\\"", "'", "\\n", "\\\\", "\\\n", "\\\r\n", "\\ "])
            ),
            5 => format!(
                "\\{}",
                self.dice.pick(&["'", "\"", "#", ";", " ", "\\", "a", "\n", "\r\n", "\n ", "é"])
            ),
            6 => self.dice.pick(&["''", "\"\"", "'a'", "'b c'", "\"d e\""]).to_owned(),
            _ if self.dice.one_in(self.wild) => {
                self.dice.pick(&["'", "\"", ";", "#", "a;b", "a#b", "\\"]).to_owned()
            }
            _ => "plain".to_owned(),
        }
    }

    fn value(&mut self) -> String {
        let pieces = 1 + if self.dice.one_in(3) { self.dice.roll(4) } else { 0 };
        (0..pieces).map(|_| self.piece()).collect()
    }

    fn name(&mut self) -> String {
        if self.dice.one_in(4 * self.wild) {
            return self.dice.pick(&["a-b", "a.b", "é", "''", "a b", "'a b'", "", "a'b", "@x[0]"]).to_owned();
        }
        let name = self.dice.pick(&["a", "b", "c", "Name_1", "_", "x9", "wan", "peer", "dns"]);
        match self.dice.roll(6) {
            0 => format!("'{name}'"),
            1 => format!("\"{name}\""),
            2 => format!("'{name}'\"\""),
            _ => name.to_owned(),
        }
    }

    fn kind(&mut self) -> String {
        if self.dice.one_in(4 * self.wild) {
            return self.dice.pick(&["''", "'a b'", "é", "", "\\"]).to_owned();
        }
        self.dice
            .pick(&["peer", "tunnel", "'wgroam'", "wifi-iface", "a.b!", "\"host\"", "peer", "t'u'n"])
            .to_owned()
    }

    fn gap(&mut self) -> &'static str {
        match self.dice.roll(10) {
            0 => "\t",
            1 => "  ",
            2 => " \t ",
            3 if self.dice.one_in(3) => " \u{b}",
            3 if self.dice.one_in(3) => " \u{c}\r",
            _ => " ",
        }
    }

    fn command(&mut self) -> String {
        let (word, gap, second) = (self.dice.roll(12), self.gap(), self.gap());
        match word {
            0 | 1 => {
                let named = if self.dice.one_in(4) { String::new() } else { self.section_name() };
                let word = if self.dice.one_in(8) { "c" } else { "config" };
                format!("{word}{gap}{}{second}{named}", self.kind())
            }
            2..=7 => {
                let word = if self.dice.one_in(8) { "o" } else { "option" };
                format!("{word}{gap}{}{second}{}", self.name(), self.value())
            }
            8..=10 => {
                let word = if self.dice.one_in(8) { "l" } else { "list" };
                format!("{word}{gap}{}{second}{}", self.name(), self.value())
            }
            _ if self.dice.one_in(self.wild) => self
                .dice
                .pick(&[
                    "config",
                    "option",
                    "list",
                    "option a",
                    "list a",
                    "config ",
                    "option ",
                    "nonsense",
                    "Config x y",
                    "option a b c",
                    "option a b ''",
                    "config a b c",
                    "c",
                    "o",
                    "option'a' b",
                    "\\",
                    "'config' x",
                    ";",
                    "option a b '' c",
                    "option a b '' config x y",
                ])
                .to_owned(),
            _ => format!("#{}", self.value().replace('\n', " ")),
        }
    }

    /// A name that few sections share: what happens when many do has a test of its own.
    fn section_name(&mut self) -> String {
        if self.dice.one_in(2) { self.name() } else { format!("s{}", self.dice.roll(1000)) }
    }

    pub fn text(&mut self) -> String {
        let mut text = String::new();
        if !self.dice.one_in(self.wild) {
            text += "config first 'first'\n";
        }
        for _ in 0..self.dice.roll(12) {
            text += self.dice.pick(&["", "", "\t", "  ", " \t", "\u{c}", "\r"]);
            text += &self.command();
            if self.dice.one_in(5) {
                text += self.dice.pick(&[";", " ;", " ; ", "; "]);
                text += &self.command();
            }
            if self.dice.one_in(5) {
                text += self.dice.pick(&[" # remark", "# it's", " #", "\t", "  ", " \\", " ''"]);
            }
            text += self.dice.pick(&["\n", "\n", "\n", "\n", "\n\n", "\r\n", "\n \n", "\n# remark\n"]);
        }
        if self.dice.one_in(6) {
            text.pop();
        }
        text
    }
}
