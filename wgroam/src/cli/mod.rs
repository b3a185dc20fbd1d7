// SPDX-License-Identifier: GPL-2.0-only
//! The command line: one file a subcommand. Exit codes: 0 ok, 1 the answer is no, 2 usage, 3 no daemon.

mod ask;
mod check;
pub mod diagnose;
mod program;
mod run;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use self::words::{Read, Words};
use crate::linux::start;

/// The answer is no: a peer is down, the configuration is wrong, something failed.
const NO: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;
/// Nobody answers on the control socket.
const NO_DAEMON: u8 = 3;

const HELP: &str = "\
wgroam keeps WireGuard tunnels connected whatever moves, and follows a peer only
on cryptographic proof.

Usage: wgroam [--runtime-dir DIR] COMMAND

Commands:
  run [--config FILE] [--state FILE] [--foreground] [--end-with-parent]
                              run the daemon. With --foreground it logs to stderr,
                              else to stderr on a terminal and to syslog elsewhere
  status [--json] [INTERFACE] where each peer is, since when, and why wgroam believes
                              it; with INTERFACE, exit code 1 if no peer is alive
  watch [--json]              a line for each event, until Ctrl-C
  poke [INTERFACE [PEER]]     make WireGuard send an authenticated packet now; PEER is
                              a public key or the name of a section
  reload                      make the daemon read the configuration again; on a
                              mistake it says so here and keeps the old one
  check [FILE]                read the configuration and say what is wrong with it

Commands that are programs of their own, wgroam-COMMAND beside this one (OpenWrt has
them in the package wgroam-tools):
  diagnose [INTERFACE]        find what keeps the tunnel from working
  setup                       on OpenWrt: set up an IPv6 tunnel, a command on each router

Options:
  --config FILE       default /etc/config/wgroam. Without that file wgroam watches
                      every WireGuard interface. It connects to peers with an
                      endpoint_host in /etc/config/network by that name
  --state FILE        where the last good endpoints survive a reboot, default
                      /var/lib/wgroam/state
  --runtime-dir DIR   control socket, lock and state while running, default
                      /var/run/wgroam
  -h, --help          this text
  -V, --version       the version

Signals to the daemon: HUP: read the configuration and poll everything again;
USR1: write the status to the log; TERM: stop.

Exit codes: 0 ok; 1 the answer is no (peer down, configuration wrong); 2 usage;
3 no daemon answers.
";

/// Where the configuration is when nobody says otherwise.
const CONFIG: &str = "/etc/config/wgroam";
/// What outlives a reboot.
const STATE: &str = "/var/lib/wgroam/state";
/// What the running daemon has.
const RUNTIME_DIR: &str = "/var/run/wgroam";

/// The commands of wgroam itself: name, options besides the one that all take, and how many words may follow.
const COMMANDS: [(&str, &[&str], usize); 6] = [
    ("run", &["--config", "--state", "--foreground", "--end-with-parent"], 0),
    ("status", &["--json"], 1),
    ("watch", &["--json"], 0),
    ("poke", &[], 2),
    ("reload", &[], 0),
    ("check", &["--config"], 1),
];

enum Command {
    Help,
    Version,
    Run(run::Options),
    Ask {
        runtime_dir: PathBuf,
        line: String,
    },
    /// None: the default file, which may be missing.
    Check(Option<PathBuf>),
    /// A program beside this one, named by the argument of this number.
    Program(usize),
}

/// Runs one command; `arguments` begin with the program's name. Returns the exit code.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.skip(1).collect();
    match parse(&arguments) {
        Ok(command) => carry_out(command, arguments),
        Err(error) => {
            eprintln!("wgroam: {error}; `wgroam --help` lists what there is");
            USAGE
        }
    }
}

fn carry_out(command: Command, arguments: Vec<OsString>) -> u8 {
    match command {
        Command::Help => print(HELP),
        Command::Version => print(concat!("wgroam ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Run(options) => run::run(options),
        Command::Ask { runtime_dir, line } => ask::ask(&runtime_dir, &line),
        Command::Check(file) => {
            let path = file.as_deref().unwrap_or(Path::new(CONFIG));
            check::run(path, file.is_none(), start::print)
        }
        Command::Program(number) => program::become_it(arguments, number),
    }
}

fn print(text: &str) -> u8 {
    match start::print(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => NO,
    }
}

fn parse(arguments: &[OsString]) -> Result<Command, String> {
    let is_ours = |word: &str| COMMANDS.iter().any(|(name, ..)| *name == word);
    let words = match Words::read(arguments, is_ours)? {
        Read::Help => return Ok(Command::Help),
        Read::Version => return Ok(Command::Version),
        Read::Words(words) => words,
    };
    if let Some(number) = words.foreign {
        return Ok(Command::Program(number));
    }
    let (command, operands) = words.words.split_first().ok_or("a command is missing")?;
    for (name, options, most) in COMMANDS {
        if name == command {
            words.only(command, options, most + 1)?;
        }
    }
    let runtime_dir = words.path("--runtime-dir").unwrap_or(RUNTIME_DIR.into());
    Ok(match command.as_str() {
        "run" => Command::Run(run::Options {
            config: words.path("--config"),
            runtime_dir,
            state: words.path("--state").unwrap_or(STATE.into()),
            foreground: words.has("--foreground"),
            end_with_parent: words.has("--end-with-parent"),
        }),
        "check" => Command::Check(operands.first().map(PathBuf::from).or_else(|| words.path("--config"))),
        command => {
            let kind = if words.has("--json") { " json" } else { "" };
            let mut line = format!("{command}{kind}");
            for operand in operands {
                line.push(' ');
                line += operand;
            }
            Command::Ask { runtime_dir, line }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Command, String> {
        let arguments: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        parse(&arguments)
    }

    fn line(words: &str) -> Result<String, String> {
        match parsed(words)? {
            Command::Ask { line, .. } => Ok(line),
            _ => Ok(String::new()),
        }
    }

    #[test]
    fn commands_become_request_lines() {
        assert_eq!(line("status"), Ok("status".into()));
        assert_eq!(line("status --json wg0"), Ok("status json wg0".into()));
        assert_eq!(line("--runtime-dir /x poke wg0 home"), Ok("poke wg0 home".into()));
        assert_eq!(line("reload"), Ok("reload".into()));
    }

    #[test]
    fn a_first_word_that_is_not_ours_is_a_program_beside() {
        for (words, number) in [("diagnose wg0", 0), ("--runtime-dir poke --json diagnose --help", 3)] {
            assert!(matches!(parsed(words), Ok(Command::Program(found)) if found == number), "{words}");
        }
        assert!(matches!(parsed("--runtime-dir=/x status diagnose"), Ok(Command::Ask { .. })));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(line("status two words"), Err("'words' is one word too many for 'status'".into()));
        assert_eq!(line("watch wg0"), Err("'wg0' is one word too many for 'watch'".into()));
        assert_eq!(line("poke --json"), Err("'poke' takes no --json".into()));
        assert_eq!(line("--frobnicate=1"), Err("there is no option '--frobnicate=1'".into()));
        assert_eq!(line("run --config"), Err("'--config' wants a value".into()));
        assert_eq!(line("status --json=yes"), Err("'--json' takes no value".into()));
        assert_eq!(line("poke a\tb"), Err("'a\tb' has white space in it".into()));
        assert_eq!(line("--json"), Err("a command is missing".into()));
        assert_eq!(line("-- setup"), Err("'--' goes behind 'setup'".into()));
    }
}
