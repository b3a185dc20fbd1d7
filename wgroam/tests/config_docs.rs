// SPDX-License-Identifier: GPL-2.0-only
//! docs/configuration.md says what is true: its example works, its tables name the options there are.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use wgroam::config::{self, Config, What};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    std::fs::read_to_string(path).unwrap()
}

/// What stands in the document's code blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let document = document();
    let begin = format!("```{language}\n");
    document.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The first cells of the rows under a heading that begins like this, with the other cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let document = document();
    let start = document.find(&format!("## `config {heading}")).unwrap();
    let section = document[start + 3..].split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

const SECTIONS: [(&str, &str); 3] = [
    ("wgroam 'globals'", "config wgroam 'globals'\n"),
    ("tunnel", "config tunnel 'wgr'\n"),
    (
        "peer",
        "config peer 'home'\n\toption tunnel 'wgr'\n\
         \toption public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n",
    ),
];

#[test]
fn the_examples_are_read_without_a_warning() {
    let examples: [String; 2] = blocks("uci").try_into().unwrap();
    let [home, travelling] = examples.map(|example| {
        let loaded = config::parse(example.as_bytes(), "example").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, []);
        let Config { tunnels, peers, .. } = loaded.config;
        assert_eq!((tunnels.len(), peers.len()), (1, 1));
        peers[0].clone()
    });
    assert_eq!((home.name.as_str(), home.keepalive, home.endpoints.len()), ("camper", Some(25), 0));
    assert_eq!((travelling.name.as_str(), travelling.endpoints.len()), ("home", 2));
}

#[test]
fn the_peer_of_package_network_is_taken_over_as_is_said() {
    let [network]: [String; 1] = blocks("uci-network").try_into().unwrap();
    let loaded = config::parse(format!("package network\n{network}").as_bytes(), "example").unwrap();
    assert_eq!(loaded.warnings, []);
    let [peer] = loaded.config.peers.as_slice() else { panic!("{:?}", loaded.config) };
    assert_eq!((peer.name.as_str(), peer.keepalive), ("home", Some(25)));
    assert_eq!(peer.endpoints[0].to_string(), "home.example.net:443");
    // The notes in the table are those that are given.
    let without = network.replace("\toption nohostroute '1'\n", "");
    let loaded = config::parse(format!("package network\n{without}").as_bytes(), "example").unwrap();
    let document = document();
    let cells: Vec<_> =
        document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    assert_eq!(loaded.advice.len(), 2);
    for advice in loaded.advice {
        let said = advice.what.to_string();
        assert!(cells.iter().any(|cell| cell.len() > 20 && said.starts_with(cell)), "{said}");
    }
}

#[test]
fn the_tables_name_all_options_and_no_others() {
    for (heading, text) in SECTIONS {
        let documented: Vec<_> = rows(heading).iter().map(|row| row[0].replace('`', "")).collect();
        // An option nobody knows is answered with those that there are.
        let text = format!("{text}\toption zzzzzzzzzz '1'\n");
        let loaded = config::parse(text.as_bytes(), "f").unwrap();
        let known = loaded.warnings.iter().find_map(|warning| match &warning.what {
            What::UnknownOption { known, .. } => Some(known.clone()),
            _ => None,
        });
        let mut known: Vec<_> = known.unwrap().split(", ").map(str::to_owned).collect();
        let mut sorted = documented.clone();
        known.sort();
        sorted.sort();
        assert_eq!(sorted, known, "{heading}");
    }
}

#[test]
fn every_option_of_the_page_is_known() {
    for (heading, text) in SECTIONS {
        for row in rows(heading) {
            let option = row[0].replace('`', "");
            let value = match option.as_str() {
                "tunnel" | "public_key" => continue,
                "endpoint" => "a.example:1",
                "family" => "any",
                "probe" => "::1",
                "log_level" => "info",
                _ => "1",
            };
            let text = format!("{text}\toption {option} '{value}'\n");
            let loaded = config::parse(text.as_bytes(), "f").unwrap_or_else(|errors| panic!("{errors}"));
            assert!(loaded.warnings.is_empty(), "{option}: {:?}", loaded.warnings);
        }
    }
}

#[test]
fn the_message_shown_is_the_message_given() {
    let shown = blocks("").into_iter().find(|block| block.contains("ipv5")).unwrap();
    let text = "\n".repeat(8) + SECTIONS[2].1 + "\toption family 'ipv5'\n";
    let errors = config::parse(text.as_bytes(), "/etc/config/wgroam").unwrap_err();
    assert_eq!(errors.to_string(), shown.trim_end());
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    for (heading, text) in SECTIONS {
        let bare = config::parse(text.as_bytes(), "f").unwrap().config;
        for row in rows(heading) {
            let Some(default) = row[2].strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
                continue;
            };
            let option = row[0].replace('`', "");
            let text = format!("{text}\toption {option} '{default}'\n");
            assert_eq!(config::parse(text.as_bytes(), "f").unwrap().config, bare, "{option}");
        }
    }
}
