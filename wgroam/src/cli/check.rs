// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam check [FILE]`: is the configuration right, and what would the daemon do with it?

use std::io;
use std::path::Path;

use crate::config::{self, Config, Error, Globals, LogLevel, Peer};

/// Exit code: the configuration can be used.
const RIGHT: u8 = 0;
/// Exit code: it can't.
const WRONG: u8 = 1;

/// Checks a file and says all there is to say about it. 0: it can be used, maybe with warnings; 1: it can't, or `print`
/// takes nothing. Only the default file may be missing: any other somebody asked for.
pub fn run(path: &Path, may_be_missing: bool, print: impl FnOnce(&[u8]) -> io::Result<()>) -> u8 {
    let mut text = String::new();
    let code = match config::read(path, may_be_missing) {
        Ok(loaded) => {
            list(&mut text, "warning", &loaded.warnings);
            list(&mut text, "note", &loaded.notes);
            list(&mut text, "note", &loaded.advice);
            let is = if path.exists() { "is fine" } else { "is not there: the defaults apply" };
            text += &format!("{} {is}.\n", path.display());
            summary(&mut text, &loaded.config);
            RIGHT
        }
        Err(Error::Wrong(errors)) => {
            list(&mut text, "warning", &errors.warnings);
            list(&mut text, "error", &errors.mistakes);
            if errors.more {
                text += "There may be more; put these right first.\n";
            }
            WRONG
        }
        Err(error) => {
            text += &format!("error: {error}\n");
            WRONG
        }
    };
    if print(text.as_bytes()).is_ok() { code } else { WRONG }
}

fn list(text: &mut String, severity: &str, findings: &[config::Finding]) {
    for finding in findings {
        *text += &format!("{severity}: {finding}\n");
    }
}

fn summary(text: &mut String, config: &Config) {
    if !config.globals.enabled {
        *text += "wgroam is switched off (option enabled '0') and would end at once.\n";
        return;
    }
    if config.tunnels.is_empty() {
        *text += "Watched: every WireGuard interface, since there is no tunnel section.\n";
        config.peers.iter().for_each(|known| peer(text, known, true));
    }
    for tunnel in &config.tunnels {
        let state = if tunnel.enabled { "watched" } else { "left alone (option enabled '0')" };
        *text += &format!("{}: {state}\n", tunnel.interface);
        let peers = config.peers.iter().filter(|peer| peer.tunnel == tunnel.interface);
        peers.for_each(|known| peer(text, known, false));
    }
    globals(text, &config.globals);
}

fn peer(text: &mut String, peer: &Peer, with_tunnel: bool) {
    *text += &format!("  peer {}, {}", peer.name, peer.public_key);
    if with_tunnel {
        *text += &format!(", on {}", peer.tunnel);
    }
    if let Some(seconds) = peer.keepalive {
        *text += &format!(", keepalive {seconds} s after a poke");
    }
    for (number, candidate) in peer.endpoints.iter().enumerate() {
        *text +=
            &format!("{}{candidate}", if number == 0 { "\n    wgroam connects to it at " } else { ", " });
    }
    text.push('\n');
}

fn globals(text: &mut String, globals: &Globals) {
    let devices: Vec<_> = globals.wan.iter().map(|device| device.as_str()).collect();
    let wan = if devices.is_empty() { "whatever carries a default route" } else { &devices.join(", ") };
    let kept = if globals.persist { "kept on flash too" } else { "kept in memory only" };
    let level = match globals.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    *text += &format!("WAN: {wan}\nLast good endpoints: {kept}. Log level: {level}.\n");
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Exit code and output for a file with this text; the file's path is shown as FILE.
    fn check(name: &str, text: &str) -> (u8, String) {
        let path = std::env::temp_dir().join(format!("wgroam-check-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let code = run(&path, false, |text| out.write_all(text));
        std::fs::remove_file(&path).unwrap();
        (code, String::from_utf8(out).unwrap().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn a_right_file_is_summed_up() {
        let (code, out) = check(
            "right",
            "config wgroam 'globals'\n\tlist wan 'wan'\n\
             config tunnel 'wgr'\nconfig tunnel 'old'\n\toption enabled '0'\n\
             config peer 'home'\n\toption tunnel 'wgr'\n\toption keepalive '25'\n\
             \toption public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n\toption colour 'red'\n",
        );
        assert_eq!(
            out,
            "warning: FILE:10: peer 'home', option 'colour': is not known and has no effect; known here: \
             tunnel, public_key, endpoint, family, keepalive, probe, probe_interval, readd\n\
             FILE is fine.\n\
             wgr: watched\n  peer home, xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=, keepalive 25 s after a poke\n\
             old: left alone (option enabled '0')\n\
             WAN: wan\n\
             Last good endpoints: kept on flash too. Log level: info.\n"
        );
        assert_eq!(code, 0);
    }

    #[test]
    fn an_empty_file_watches_everything() {
        let (code, out) = check("empty", "");
        assert!(out.contains("every WireGuard interface"), "{out}");
        assert_eq!(code, 0);
    }

    #[test]
    fn a_wrong_file_is_told_with_all_its_mistakes_and_code_1() {
        let (code, out) =
            check("wrong", "config tunnel 'a'\n\toption enabled 'x'\n\toption unreachable 'y'\n");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert!(lines[0].starts_with("error: FILE:2: tunnel 'a', option 'enabled': 'x' is not known"));
        assert!(lines[1].starts_with("error: FILE:3: tunnel 'a', option 'unreachable'"));
        assert_eq!(code, 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong() {
        let mut out = Vec::new();
        assert_eq!(run(Path::new("/nowhere/wgroam"), false, |text| out.write_all(text)), 1);
        assert_eq!(out, b"error: /nowhere/wgroam: there is no such file\n");
    }

    #[test]
    fn what_comes_from_package_network_is_shown_with_its_line_and_what_goes_wrong_with_it() {
        let (code, out) = check(
            "network",
            "package wgroam\npackage network\nconfig interface 'wgr'\n\toption proto 'wireguard'\n\
             config wireguard_wgr\n\toption endpoint_host 'home.example.net'\n\
             \toption public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n",
        );
        let lines: Vec<_> = out.lines().collect();
        for (line, wanted) in [
            (
                0,
                "note: FILE:6: wireguard_wgr @wireguard_wgr[0], option 'endpoint_host': peer '@wireguard_wgr[0]' of wgr is",
            ),
            (
                1,
                "note: FILE:6: wireguard_wgr @wireguard_wgr[0], option 'endpoint_host': a name here is asked for only when",
            ),
            (2, "note: FILE:3: interface 'wgr': netifd adds a route to the endpoint that it found first"),
            (3, "FILE is fine."),
            (6, "    wgroam connects to it at home.example.net:51820"),
        ] {
            assert!(lines[line].starts_with(wanted), "{out}");
        }
        assert_eq!(code, 0);
    }
}
