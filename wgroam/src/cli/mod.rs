// SPDX-License-Identifier: GPL-2.0-only
//! The command line: one file a subcommand. Exit codes: 0 ok, 1 the answer is no, 2 usage, 3 no daemon.

mod ask;
mod check;
mod diagnose;
mod run;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::diagnose::gather::Places;
use crate::linux::start;
use crate::model::{Interface, NotAnInterface};

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
  diagnose [--json] [INTERFACE] [--config FILE] [--state FILE]
                              find what keeps the tunnel from working: a tick or a
                              cross for each thing it needs, the first cross is
                              where to begin. Exit code 1 with a cross
  check [FILE]                read the configuration and say what is wrong with it

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

enum Command {
    Help,
    Version,
    Run(run::Options),
    Ask {
        runtime_dir: PathBuf,
        line: String,
    },
    Diagnose {
        /// None: the default file, which may be missing.
        config: Option<PathBuf>,
        state: PathBuf,
        runtime_dir: PathBuf,
        /// None: all.
        interface: Option<Interface>,
        json: bool,
    },
    /// None: the default file, which may be missing.
    Check(Option<PathBuf>),
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
        Command::Diagnose { config, state, runtime_dir, interface, json } => {
            let places = Places {
                config: config.as_deref().unwrap_or(Path::new(CONFIG)),
                may_be_missing: config.is_none(),
                state: &state,
                runtime_dir: &runtime_dir,
            };
            diagnose::run(&places, interface, json)
        }
        Command::Check(file) => {
            let path = file.as_deref().unwrap_or(Path::new(CONFIG));
            check::run(path, file.is_none(), start::print)
        }
    }
}

fn print(text: &str) -> u8 {
    match start::print(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => NO,
    }
}

fn parse(mut args: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut runtime_dir = PathBuf::from("/var/run/wgroam");
    let mut config = None;
    let mut state = PathBuf::from("/var/lib/wgroam/state");
    let mut foreground = false;
    let mut json = false;
    let mut words = Vec::new();
    let mut given = Vec::new();

    while let Some(arg) = args.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("runtime-dir") => runtime_dir = args.value()?.into(),
            Long("config") => {
                config = Some(PathBuf::from(args.value()?));
                given.push("--config");
            }
            Long("state") => {
                state = args.value()?.into();
                given.push("--state");
            }
            Long("foreground") => {
                foreground = true;
                given.push("--foreground");
            }
            Long("json") => {
                json = true;
                given.push("--json");
            }
            Value(word) => words.push(word.string()?),
            _ => return Err(arg.unexpected()),
        }
    }

    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (command, operands) = words.split_first().ok_or("a command is missing")?;
    let (allowed, most): (&[&str], usize) = match *command {
        "run" => (&["--config", "--state", "--foreground"], 0),
        "status" => (&["--json"], 1),
        "watch" => (&["--json"], 0),
        "poke" => (&[], 2),
        "reload" => (&[], 0),
        "diagnose" => (&["--json", "--config", "--state"], 1),
        "check" => (&["--config"], 1),
        other => return Err(format!("there is no command '{other}'").into()),
    };
    if let Some(option) = given.iter().find(|option| !allowed.contains(option)) {
        return Err(format!("'{command}' takes no {option}").into());
    }
    if let Some(operand) = operands.get(most) {
        return Err(format!("'{operand}' is one word too many for '{command}'").into());
    }
    if let Some(operand) = operands.iter().find(|operand| operand.contains(char::is_whitespace)) {
        return Err(format!("'{operand}' has white space in it").into());
    }
    Ok(match *command {
        "run" => Command::Run(run::Options { config, runtime_dir, state, foreground }),
        "diagnose" => {
            let interface = operands.first().map(|name| name.parse());
            let interface = interface.transpose().map_err(|error: NotAnInterface| error.to_string())?;
            Command::Diagnose { config, state, runtime_dir, interface, json }
        }
        "check" => Command::Check(operands.first().map(PathBuf::from).or(config)),
        command => {
            let kind = if json { &["json"][..] } else { &[] };
            Command::Ask { runtime_dir, line: [&[command], kind, operands].concat().join(" ") }
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

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(line("stats"), Err("there is no command 'stats'".into()));
        assert_eq!(line("watch wg0"), Err("'wg0' is one word too many for 'watch'".into()));
        assert_eq!(line("poke --json"), Err("'poke' takes no --json".into()));
        assert_eq!(
            line("diagnose a/b"),
            Err("an interface's name has 1 to 15 characters, without spaces, slashes and colons".into())
        );
        assert!(line("--frobnicate").is_err());
    }
}
