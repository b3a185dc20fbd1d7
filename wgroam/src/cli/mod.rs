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

use self::words::{ANYWHERE, Read, Words};
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
  run [--config FILE] [--state FILE] [--foreground]
                              be the daemon; with --foreground it logs to stderr,
                              else to stderr on a terminal and to syslog elsewhere
  status [--json] [INTERFACE] where each peer is, since when, and why we believe it;
                              with INTERFACE, exit code 1 says that no peer is alive
  watch [--json]              a line for each event, until Ctrl-C
  poke [INTERFACE [PEER]]     make WireGuard send an authenticated packet now; PEER is
                              a public key or the name of a section
  reload                      make the daemon read the configuration again; a mistake
                              is said here, and the old one stays
  check [FILE]                read the configuration and say what is wrong with it

Commands that are programs of their own, wgroam-COMMAND beside this one (OpenWrt has
them in the package wgroam-tools):
  diagnose [INTERFACE]        find what keeps the tunnel from working
  setup                       set an IPv6 tunnel up, a command on each router

Options:
  --config FILE       default /etc/config/wgroam; with none there, every WireGuard
                      interface is watched. Peers with an endpoint_host in
                      /etc/config/network are gone to by that name
  --state FILE        the last good endpoints over reboots, default
                      /var/lib/wgroam/state
  --runtime-dir DIR   control socket, lock and state while running, default
                      /var/run/wgroam
  -h, --help          this text
  -V, --version       the version

Signals to the daemon: HUP reads the configuration again and looks at everything
anew, USR1 writes the status to the log, TERM stops it.

Exit codes: 0 ok; 1 the answer is no (peer down, configuration wrong); 2 usage;
3 no daemon answers.
";

/// Where the configuration is when nobody says otherwise.
const CONFIG: &str = "/etc/config/wgroam";
/// What outlives a reboot.
const STATE: &str = "/var/lib/wgroam/state";
/// What the running daemon has.
const RUNTIME_DIR: &str = "/var/run/wgroam";

/// A command of wgroam itself: its name, the options that it takes besides those for all, and how many words at most.
const COMMANDS: [(&str, &[&str], usize); 6] = [
    ("run", &["config", "state", "foreground"], 0),
    ("status", &["json"], 1),
    ("watch", &["json"], 0),
    ("poke", &[], 2),
    ("reload", &[], 0),
    ("check", &["config"], 1),
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
    /// A program beside this one.
    Program {
        name: String,
        arguments: Vec<OsString>,
    },
}

/// Runs one command; `args` begin with the program's name. Returns the exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> u8 {
    match parse(lexopt::Parser::from_iter(args)) {
        Ok(command) => carry_out(command),
        Err(error) => {
            eprintln!("wgroam: {error}; `wgroam --help` lists what there is");
            USAGE
        }
    }
}

fn carry_out(command: Command) -> u8 {
    match command {
        Command::Help => print(HELP),
        Command::Version => print(concat!("wgroam ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Run(options) => run::run(options),
        Command::Ask { runtime_dir, line } => ask::ask(&runtime_dir, &line),
        Command::Check(file) => {
            let path = file.as_deref().unwrap_or(Path::new(CONFIG));
            check::run(path, file.is_none(), start::print)
        }
        Command::Program { name, arguments } => program::become_it(&name, arguments),
    }
}

fn print(text: &str) -> u8 {
    match start::print(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => NO,
    }
}

fn parse(parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let is_ours = |word: &str| COMMANDS.iter().any(|(name, ..)| *name == word);
    let words = match Words::read(parser, is_ours)? {
        Read::Help => return Ok(Command::Help),
        Read::Version => return Ok(Command::Version),
        Read::Foreign { name, arguments } => return Ok(Command::Program { name, arguments }),
        Read::Words(words) => words,
    };
    let (command, operands) = words.words.split_first().ok_or("a command is missing")?;
    for (name, allowed, most) in COMMANDS {
        if name == command {
            words.only(command, &[ANYWHERE, allowed].concat(), most + 1)?;
        }
    }
    let config = || words.path("config");
    let runtime_dir = words.path("runtime-dir").unwrap_or(RUNTIME_DIR.into());
    Ok(match command.as_str() {
        "run" => Command::Run(run::Options {
            config: config(),
            runtime_dir,
            state: words.path("state").unwrap_or(STATE.into()),
            foreground: words.has("foreground"),
        }),
        "check" => Command::Check(operands.first().map(PathBuf::from).or_else(config)),
        command => {
            let mut line = String::from(command);
            for word in words.has("json").then_some("json").into_iter().chain(operands.iter().map(String::as_str)) {
                line.push(' ');
                line += word;
            }
            Command::Ask { runtime_dir, line }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Result<String, String> {
        match parse(lexopt::Parser::from_args(words.split(' '))) {
            Ok(Command::Ask { line, .. }) => Ok(line),
            Ok(_) => Ok(String::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn commands_become_request_lines() {
        assert_eq!(line("status"), Ok("status".into()));
        assert_eq!(line("status --json wg0"), Ok("status json wg0".into()));
        assert_eq!(line("--runtime-dir /x poke wg0 home"), Ok("poke wg0 home".into()));
        assert_eq!(line("reload"), Ok("reload".into()));
    }

    /// What `wgroam WORDS` hands to the program beside it.
    fn handed(words: &str) -> Result<String, String> {
        match parse(lexopt::Parser::from_args(words.split(' '))) {
            Ok(Command::Program { name, arguments }) => {
                let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
                Ok(format!("wgroam-{name} {}", arguments.join(" ")))
            }
            Ok(_) => Err("a command of our own".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_no_command_of_ours_is_a_program_with_all_that_was_said() {
        assert_eq!(handed("diagnose --json wg0"), Ok("wgroam-diagnose --json wg0".into()));
        assert_eq!(
            handed("--runtime-dir /x --json diagnose --config=/y"),
            Ok("wgroam-diagnose --runtime-dir /x --json --config=/y".into())
        );
        assert_eq!(handed("setup --help"), Ok("wgroam-setup --help".into()));
        assert_eq!(handed("setup -- --version"), Ok("wgroam-setup -- --version".into()));
        assert_eq!(handed("../evil"), Err("there is no command '../evil'".into()));
        assert_eq!(handed("a/b"), Err("there is no command 'a/b'".into()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(line("Stats"), Err("there is no command 'Stats'".into()));
        assert_eq!(line("status two words"), Err("'words' is one word too many for 'status'".into()));
        assert_eq!(line("watch wg0"), Err("'wg0' is one word too many for 'watch'".into()));
        assert_eq!(line("poke --json"), Err("'poke' takes no --json".into()));
        assert!(line("--frobnicate").is_err());
    }
}
