// SPDX-License-Identifier: GPL-2.0-only
//! Our reader of UCI text beside the real one: the same files accepted and refused, the same content, the same line
//! blamed. The real one is `uci` of WGROAM_UCI, or else what ci/uci/build makes (cargo and a C compiler).

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod generator;
mod network;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use generator::{Dice, Generator};
use wgroam::config::uci::{self, Keep, Mistake, Package, Parsed, Value};

const MOST: usize = 20;

/// The path of the real `uci`.
fn real_uci() -> PathBuf {
    if let Some(path) = std::env::var_os("WGROAM_UCI") {
        return path.into();
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/uci/build");
    let output = Command::new(&build).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} failed; set WGROAM_UCI to use a uci of your own", build.display());
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// Folders for one test, gone with it.
struct Scratch {
    uci: PathBuf,
    root: PathBuf,
}

struct Answer {
    accepted: bool,
    output: String,
    complaint: String,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("wgroam-uci-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("save")).unwrap();
        Self { uci: real_uci(), root }
    }

    fn run(&self, arguments: &[&str], input: Option<&Path>) -> Answer {
        let input = input.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into());
        let output = Command::new(&self.uci)
            .arg("-c")
            .arg(self.root.join("etc"))
            .arg("-t")
            .arg(self.root.join("save"))
            .args(arguments)
            .stdin(input)
            .output()
            .unwrap();
        Answer {
            // `uci import` ends with 0 whatever happened, so what it complains about counts too.
            accepted: output.status.success() && output.stderr.is_empty(),
            output: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What `uci` makes of a file of /etc/config.
    fn load(&self, command: &str, text: &str) -> Answer {
        fs::write(self.root.join("etc/test"), text).unwrap();
        self.run(&["-N", command, "test"], None)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn escape(value: &str) -> String {
    value.replace('\'', r"'\''")
}

/// A package as `uci -N export` prints it.
fn export(package: &Package) -> String {
    let mut out = format!("package {}\n", package.name);
    for section in &package.sections {
        write!(out, "\nconfig {}", escape(&section.kind)).unwrap();
        if let Some(name) = &section.name {
            write!(out, " '{name}'").unwrap();
        }
        out.push('\n');
        for setting in &section.options {
            match &setting.value {
                Value::One(value) => writeln!(out, "\toption {} '{}'", setting.name, escape(value)).unwrap(),
                Value::List(entries) => {
                    for (value, _) in entries {
                        writeln!(out, "\tlist {} '{}'", setting.name, escape(value)).unwrap();
                    }
                }
            }
        }
    }
    out.push('\n');
    out
}

/// A package as `uci show` prints it.
fn show(package: &Package) -> String {
    let mut out = String::new();
    for section in &package.sections {
        let name = match &section.name {
            Some(name) => name.clone(),
            None => format!("@{}[{}]", section.kind, section.index),
        };
        let prefix = format!("{}.{name}", package.name);
        writeln!(out, "{prefix}={}", section.kind).unwrap();
        for setting in &section.options {
            let values: Vec<_> = match &setting.value {
                Value::One(value) => vec![value.as_str()],
                Value::List(entries) => entries.iter().map(|(value, _)| value.as_str()).collect(),
            };
            let values: Vec<_> = values.iter().map(|value| format!("'{}'", escape(value))).collect();
            writeln!(out, "{prefix}.{}={}", setting.name, values.join(" ")).unwrap();
        }
    }
    out
}

fn ours(text: &str) -> Parsed {
    uci::parse(text.as_bytes(), "test", MOST, |_| Keep::Everything)
}

/// The package that a file of /etc/config is; a file without any section is an empty one.
fn the_package(parsed: &Parsed) -> Package {
    let empty = Package { name: "test".to_owned(), sections: Vec::new() };
    parsed.packages.first().cloned().unwrap_or(empty)
}

/// The line that libuci blames: `... at line 3, byte 7`.
fn blamed(complaint: &str) -> Option<u32> {
    complaint.split("at line ").nth(1)?.split(',').next()?.parse().ok()
}

/// Compares the two on one file; what differs, or whether it was accepted.
fn compare(scratch: &Scratch, text: &str, shown_too: bool) -> Result<bool, String> {
    let parsed = ours(text);
    let real = scratch.load("export", text);
    if real.accepted != parsed.mistakes.is_empty() {
        return Err(format!("uci: {}{}\nours: {:?}", real.output, real.complaint, parsed.mistakes));
    }
    if let Some((line, mistake)) = parsed.mistakes.first() {
        let theirs = blamed(&real.complaint).ok_or_else(|| real.complaint.clone())?;
        // libuci blames the last line it read, we the one where the command or the quote began; and it counts line
        // breaks, so that it gives a last line without one the number of the line before.
        let lines = text.split_inclusive('\n').count() as u32;
        let theirs = if !text.ends_with('\n') && theirs + 1 == lines { theirs + 1 } else { theirs };
        let over_lines = matches!(mistake, Mistake::Unterminated(_)) || text.contains(['\\', '\'', '"']);
        if if over_lines { *line > theirs } else { *line != theirs } {
            return Err(format!("uci: {}\nours: line {line}: {mistake}", real.complaint));
        }
        return Ok(false);
    }
    let package = the_package(&parsed);
    if real.output != export(&package) {
        return Err(format!("uci:\n{}\nours:\n{}", real.output, export(&package)));
    }
    if !shown_too {
        return Ok(true);
    }
    let shown = scratch.load("show", text);
    if shown.output != show(&package) {
        return Err(format!("uci:\n{}\nours:\n{}", shown.output, show(&package)));
    }
    Ok(true)
}

#[test]
fn a_thousand_generated_files_read_as_uci_reads_them() {
    let scratch = Scratch::new("files");
    let (mut accepted, mut refused, mut differences) = (0, 0, Vec::new());
    for wild in [2, 8, 64, 100_000] {
        let mut generator = Generator { dice: Dice(0x9E37_79B9_7F4A_7C15 ^ wild as u64), wild };
        for number in 0..250 {
            let text = generator.text();
            match compare(&scratch, &text, number % 4 == 0) {
                Ok(true) => accepted += 1,
                Ok(false) => refused += 1,
                Err(difference) => differences.push(format!("{text:?}\n{text}\n{difference}")),
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of 1000 differ, such as\n{}",
        differences.len(),
        differences.iter().min_by_key(|difference| difference.len()).unwrap()
    );
    eprintln!("{accepted} files accepted, {refused} refused, no difference");
    // The comparison is worth something only when both happen often.
    assert!(accepted > 200 && refused > 200, "{accepted} accepted, {refused} refused");
}

#[test]
fn several_packages_in_one_text_read_as_uci_import_reads_them() {
    let scratch = Scratch::new("import");
    let mut generator = Generator { dice: Dice(7), wild: 500 };
    let input = scratch.root.join("input");
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..150 {
        let mut text = "package first\n".to_owned();
        for name in ["network", "'w'groam", "a-b_1"] {
            let odd = generator.dice.pick(&["wire.less", "first", "''", "a b"]);
            let name = if generator.dice.one_in(12) { odd } else { name };
            let word = generator.dice.pick(&["package", "package", "p"]);
            text += &format!("{}\n{word} {name}\n\n{}", generator.text(), generator.text());
            text.push('\n');
        }
        fs::write(&input, &text).unwrap();
        let etc = scratch.root.join("etc");
        fs::remove_dir_all(&etc).unwrap();
        fs::create_dir(&etc).unwrap();
        let imported = scratch.run(&["import"], Some(&input));
        let parsed = ours(&text);
        assert_eq!(
            imported.accepted,
            parsed.mistakes.is_empty(),
            "{text}\nuci: {}\nours: {:?}",
            imported.complaint,
            parsed.mistakes
        );
        if !imported.accepted {
            refused += 1;
            continue;
        }
        accepted += 1;
        let mut packages = parsed.packages;
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let exported: String = packages.iter().map(export).collect();
        assert_eq!(scratch.run(&["-N", "export"], None).output, exported, "{text}");
    }
    eprintln!("{accepted} texts accepted, {refused} refused, no difference");
    assert!(accepted > 20 && refused > 20, "{accepted} accepted, {refused} refused");
}

#[test]
fn where_the_two_differ_on_purpose_they_still_do() {
    let scratch = Scratch::new("differ");
    // Each: what it is, the text, does uci take it, do we. docs/configuration.md lists the same.
    let third = "config a x\n\toption o 1\nconfig a x\n\toption o 2\nconfig a x\n\toption p 3\n";
    let other_package = "config a x\npackage other\nconfig a y\n";
    for (class, text, uci_takes_it, we_take_it) in [
        ("a section named three times", third, false, true),
        ("a package line in a file", other_package, true, true),
    ] {
        assert_eq!(scratch.load("export", text).accepted, uci_takes_it, "{class}");
        assert_eq!(ours(text).mistakes.is_empty(), we_take_it, "{class}");
    }
    assert_eq!(ours(third).packages[0].sections[0].options.len(), 2);
    assert_eq!(ours(other_package).packages.len(), 2);
    assert!(scratch.load("export", other_package).output.contains("config a 'y'"));

    for bytes in
        [&b"config a x\n\toption o 'caf\xe9'\n"[..], b"config a x\n\toption o 'a\0b'\n\toption p 1\n'\n"]
    {
        fs::write(scratch.root.join("etc/test"), bytes).unwrap();
        assert!(!uci::parse(bytes, "test", MOST, |_| Keep::Everything).mistakes.is_empty());
    }
    fs::write(scratch.root.join("etc/test"), b"config a x\n\toption o 'caf\xe9'\n").unwrap();
    let answer = Command::new(&scratch.uci)
        .arg("-c")
        .arg(scratch.root.join("etc"))
        .args(["get", "test.x.o"])
        .output()
        .unwrap();
    assert_eq!(answer.stdout, b"caf\xe9\n", "uci does not care about UTF-8");
}

#[test]
fn our_own_export_reads_back_as_the_same() {
    let mut generator = Generator { dice: Dice(99), wild: 100_000 };
    for _ in 0..500 {
        let text = generator.text();
        let parsed = ours(&text);
        if !parsed.mistakes.is_empty() {
            continue;
        }
        let package = the_package(&parsed);
        let again = export(&package);
        assert_eq!(export(&the_package(&ours(&again))), again, "{text}");
    }
}
