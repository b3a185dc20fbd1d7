// SPDX-License-Identifier: GPL-2.0-only
//! Request lines on the control socket, and their answers. The first line of an answer is the exit code with a
//! message where there is one; the rest is for stdout.

use crate::config::Config;
use crate::engine::Status;
use crate::model::{Interface, PublicKey};

/// What somebody asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `status [json] [INTERFACE]`
    Status {
        /// For programs.
        json: bool,
        /// Of this interface only.
        interface: Option<Interface>,
    },
    /// `watch [json]`
    Watch {
        /// For programs.
        json: bool,
    },
    /// `poke [INTERFACE [PEER]]`
    Poke {
        /// On this interface only.
        interface: Option<Interface>,
        /// This peer only.
        peer: Option<PublicKey>,
    },
    /// `reload`: what SIGHUP does.
    Reload,
}

impl Request {
    /// Reads a line. `config` gives peers their names. The error is for the person who asked.
    pub fn parse(line: &str, config: &Config) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace().peekable();
        let command = words.next().unwrap_or_default();
        let json = matches!(command, "status" | "watch") && words.next_if_eq(&"json").is_some();
        let mut interface = None;
        if matches!(command, "status" | "poke") {
            interface =
                words.next().map(|word| word.parse().map_err(|e| format!("'{word}': {e}"))).transpose()?;
        }
        let mut peer = None;
        if let ("poke", Some(interface), Some(word)) = (command, interface, words.peek()) {
            peer = Some(find_peer(word, interface, config)?);
            words.next();
        }
        if let Some(word) = words.next() {
            return Err(format!("'{word}' is one word too many for '{command}'"));
        }
        match command {
            "status" => Ok(Request::Status { json, interface }),
            "watch" => Ok(Request::Watch { json }),
            "poke" => Ok(Request::Poke { interface, peer }),
            "reload" => Ok(Request::Reload),
            other => Err(format!("there is no request '{other}'; there are status, watch, poke and reload")),
        }
    }
}

fn find_peer(word: &str, interface: Interface, config: &Config) -> Result<PublicKey, String> {
    let named = config.peers.iter().find(|peer| peer.name == word && peer.tunnel == interface);
    match (named, word.parse()) {
        (Some(peer), _) => Ok(peer.public_key),
        (None, Ok(key)) => Ok(key),
        (None, Err(_)) => {
            Err(format!("'{word}' is neither a public key nor the name of a peer section for {interface}"))
        }
    }
}

/// The peers that a poke means, as (found, all that could be poked): without an endpoint there is nowhere to send to.
pub fn count_pokable(
    status: &Status,
    interface: Option<Interface>,
    peer: Option<PublicKey>,
) -> (usize, usize) {
    let (mut found, mut pokable) = (0, 0);
    for device in &status.devices {
        if !device.present || interface.is_some_and(|name| name != device.interface) {
            continue;
        }
        for known in device.peers.iter().filter(|known| peer.is_none_or(|key| key == known.public_key)) {
            found += 1;
            pokable += usize::from(known.endpoint.is_some());
        }
    }
    (found, pokable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(line, &Config::default())
    }

    #[test]
    fn every_request_is_understood() {
        let wg0 = Some("wg0".parse().unwrap());
        let key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        assert_eq!(parse("status"), Ok(Request::Status { json: false, interface: None }));
        assert_eq!(parse("status json wg0"), Ok(Request::Status { json: true, interface: wg0 }));
        assert_eq!(parse("watch json"), Ok(Request::Watch { json: true }));
        assert_eq!(parse("poke"), Ok(Request::Poke { interface: None, peer: None }));
        assert_eq!(
            parse(&format!("poke wg0 {key}")),
            Ok(Request::Poke { interface: wg0, peer: Some(key.parse().unwrap()) })
        );
        assert_eq!(parse("reload"), Ok(Request::Reload));
    }

    #[test]
    fn nonsense_names_the_word() {
        for (line, word) in [
            ("", "''"),
            ("fly", "'fly'"),
            ("status a/b", "'a/b'"),
            ("poke wg0 home", "'home'"),
            ("watch json 1", "'1'"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
