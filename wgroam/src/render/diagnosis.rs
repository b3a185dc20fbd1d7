// SPDX-License-Identifier: GPL-2.0-only
//! What `wgroam diagnose` found, on one screen and for programs.

use super::json::Json;
use super::wrapped;
use crate::diagnose::{Check, Verdict};
use crate::model::Interface;

/// Is there no cross, and anything to look at?
pub fn is_sound(found: &[(Interface, Vec<Check>)]) -> bool {
    let mut checks = found.iter().flat_map(|(_, checks)| checks);
    !found.is_empty() && checks.all(|check| check.verdict != Verdict::Bad)
}

/// A line for each check, and under a cross its remedy.
pub fn diagnosis_text(found: &[(Interface, Vec<Check>)]) -> String {
    let mut text = String::new();
    if found.is_empty() {
        text +=
            "✗ there is no WireGuard interface\n  → bring one up: `wg show interfaces` lists what there is\n";
    }
    for (interface, checks) in found {
        text += interface.as_str();
        text.push('\n');
        for check in checks {
            let mark = match check.verdict {
                Verdict::Ok => "  ✓ ",
                Verdict::Bad => "  ✗ ",
                Verdict::Unknown | Verdict::Skipped => "  - ",
            };
            let peer = check.peer.as_ref().map(|peer| format!(" ({peer})")).unwrap_or_default();
            wrapped(&mut text, mark, &format!("{}{peer}: {}", check.name, check.seen));
            if check.verdict == Verdict::Bad {
                wrapped(&mut text, "    → ", &check.remedy);
            }
        }
    }
    text
}

/// The same as one JSON line.
pub fn diagnosis_json(found: &[(Interface, Vec<Check>)]) -> String {
    let mut json = Json::object();
    json.bool("ok", is_sound(found));
    json.objects("interfaces", found, |json, (interface, checks)| {
        json.string("interface", interface.as_str());
        json.objects("checks", checks, |json, check| {
            json.string("check", check.name);
            json.maybe_string("peer", check.peer.as_deref());
            json.string("verdict", check.verdict.word());
            json.string("seen", &check.seen);
            json.maybe_string("remedy", Some(check.remedy.as_str()).filter(|remedy| !remedy.is_empty()));
        });
    });
    json.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<(Interface, Vec<Check>)> {
        let check = |name, verdict, seen: &str, remedy: &str| {
            let (peer, seen, remedy) = (None, seen.to_owned(), remedy.to_owned());
            Check { name, peer, verdict, seen, remedy }
        };
        let silent = check("handshake", Verdict::Bad, "never", "word ".repeat(20).trim());
        let checks = vec![
            check("device", Verdict::Ok, "wgr is up", ""),
            Check { peer: Some("home".into()), ..silent },
            check("ra", Verdict::Skipped, "nothing to announce", ""),
        ];
        vec![("wgr".parse().unwrap(), checks)]
    }

    #[test]
    fn each_check_has_its_mark_and_each_cross_its_remedy_within_80_columns() {
        let text = diagnosis_text(&found());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["wgr", "  ✓ device: wgr is up", "  ✗ handshake (home): never"]);
        assert!(lines[3].starts_with("    → word word") && lines[4].starts_with("      word"), "{text}");
        assert_eq!(lines[5], "  - ra: nothing to announce");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!is_sound(&found()));
    }

    #[test]
    fn programs_get_the_same() {
        let json = diagnosis_json(&found());
        assert!(json.starts_with(
            "{\"ok\":false,\"interfaces\":[{\"interface\":\"wgr\",\"checks\":[{\"check\":\"device\",\"peer\":null,\
             \"verdict\":\"ok\",\"seen\":\"wgr is up\",\"remedy\":null},"
        ));
        assert!(
            json.contains("\"peer\":\"home\",\"verdict\":\"bad\",\"seen\":\"never\",\"remedy\":\"word word"),
            "{json}"
        );
    }

    #[test]
    fn nothing_to_look_at_is_not_sound() {
        assert!(!is_sound(&[]));
        assert_eq!(diagnosis_json(&[]), "{\"ok\":false,\"interfaces\":[]}\n");
        assert!(diagnosis_text(&[]).starts_with("✗ there is no WireGuard interface"));
    }
}
