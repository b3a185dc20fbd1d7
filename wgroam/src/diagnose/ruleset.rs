// SPDX-License-Identifier: GPL-2.0-only
//! What the firewall does with a packet, as far as `nft list ruleset` tells. A rule that is not understood may or may not
//! match, and where that makes a difference the answer is "unknown". nft writes a rule on one line.

use std::str::SplitAsciiWhitespace;

/// The first packet of something new.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// It comes by this interface.
    pub from: &'a str,
    /// It goes on by this one; None: it is for this router.
    pub to: Option<&'a str>,
    /// Of this family.
    pub ipv6: bool,
    /// UDP to this port; None: TCP to any.
    pub udp: Option<u16>,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes.
    Passes,
    /// This chain drops or rejects it: family, table and name, as nft takes them.
    Dropped(String),
    /// It depends on what is not understood here.
    Unknown,
}

/// A set of possible outcomes.
type Outcomes = u8;
const ACCEPTED: Outcomes = 1;
const DROPPED: Outcomes = 2;
/// The chain was left without a verdict.
const FELL: Outcomes = 4;

/// The kernel refuses chains that call each other deeper (NFT_JUMP_STACK_SIZE).
const DEEPEST: usize = 16;

struct Chain<'a> {
    /// Family and name, as after `table`.
    table: &'a str,
    name: &'a str,
    rules: Vec<&'a str>,
}

/// What the ruleset does with the packet.
pub fn fate(ruleset: &str, packet: &Packet) -> Fate {
    let chains = chains(ruleset, packet.ipv6);
    let hook = if packet.to.is_some() { " hook forward " } else { " hook input " };
    let mut fate = Fate::Passes;
    for chain in &chains {
        let base = chain.rules.iter().find(|rule| rule.starts_with("type filter") && rule.contains(hook));
        let Some(base) = base else { continue };
        let mut outcomes = run(&chains, chain, packet, 0);
        if outcomes & FELL != 0 {
            outcomes |= if base.contains("policy drop") { DROPPED } else { ACCEPTED };
        }
        match outcomes & !FELL {
            DROPPED => return Fate::Dropped(format!("{} {}", chain.table, chain.name)),
            ACCEPTED => {}
            _ => fate = Fate::Unknown,
        }
    }
    fate
}

/// The chains of the tables that see packets of this family.
fn chains(ruleset: &str, ipv6: bool) -> Vec<Chain<'_>> {
    let (mut table, mut inside, mut chains) = ("", false, Vec::new());
    for line in ruleset.lines().map(str::trim) {
        if let Some(name) = named(line, "table ") {
            table = name;
        } else if let Some(name) = named(line, "chain ") {
            let family = table.split(' ').next();
            inside = family == Some("inet") || family == Some(if ipv6 { "ip6" } else { "ip" });
            if inside {
                chains.push(Chain { table, name, rules: Vec::new() });
            }
        } else if line == "}" {
            inside = false;
        } else if inside && let Some(chain) = chains.last_mut() {
            chain.rules.push(line);
        }
    }
    chains
}

/// The name in `table NAME {`; a remark may follow.
fn named<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.strip_prefix(kind)?.split(" {").next()
}

/// What can come of a chain.
fn run(chains: &[Chain], chain: &Chain, packet: &Packet, depth: usize) -> Outcomes {
    let mut outcomes = 0;
    for rule in &chain.rules {
        let (matches, verdict) = read(rule, packet);
        if matches == Some(false) {
            continue;
        }
        let (came, leaves) = match verdict {
            Verdict::None => continue,
            Verdict::End(outcomes) => (outcomes, true),
            Verdict::Call { name, comes_back } => {
                let called = chains.iter().find(|other| other.table == chain.table && other.name == name);
                let came = match called.filter(|_| depth < DEEPEST) {
                    Some(called) => run(chains, called, packet, depth + 1),
                    None => ACCEPTED | DROPPED | FELL,
                };
                (came, !comes_back)
            }
        };
        outcomes |= if leaves { came } else { came & !FELL };
        if matches == Some(true) && (leaves || came & FELL == 0) {
            return outcomes;
        }
    }
    outcomes | FELL
}

/// What a rule says.
enum Verdict<'a> {
    None,
    End(Outcomes),
    Call { name: &'a str, comes_back: bool },
}

/// Does the rule match (None: not known), and what does it say then?
fn read<'a>(rule: &'a str, packet: &Packet) -> (Option<bool>, Verdict<'a>) {
    // What a person wrote may hold any words.
    let rule = rule.split(" comment \"").next().unwrap_or_default();
    if let Some((field, map)) = rule.split_once(" vmap ") {
        // A verdict for each of many values; `ct state vmap { established : accept, ... }` is usual.
        let passed = field == "ct state" && map.starts_with('{') && !map.contains("new ");
        return (if passed { Some(false) } else { None }, Verdict::End(ACCEPTED | DROPPED | FELL));
    }
    let mut words = rule.split_ascii_whitespace();
    let (mut matches, mut verdict) = (Some(true), Verdict::None);
    let family = if packet.ipv6 { "ipv6" } else { "ipv4" };
    let protocol = if packet.udp.is_some() { "udp" } else { "tcp" };
    while let Some(word) = words.next() {
        let fits = match word {
            // The line that makes it a chain of a hook.
            "type" => break,
            "iif" | "iifname" => value(&mut words, &|name| is_interface(name, packet.from)),
            "oif" | "oifname" => {
                value(&mut words, &|name| packet.to.is_some_and(|to| is_interface(name, to)))
            }
            "meta" => match words.next() {
                Some("l4proto") => value(&mut words, &|name| name == protocol),
                Some("nfproto") => value(&mut words, &|name| name == family),
                _ => None,
            },
            "ct" => match words.next() {
                Some("state") => value(&mut words, &|state| state == "new"),
                // `dnat`, `snat`: nobody translated it.
                Some("status") => value(&mut words, &|_| false),
                _ => None,
            },
            "udp" | "tcp" | "th" if word == protocol || word == "th" => match (words.next(), packet.udp) {
                (Some("dport"), Some(port)) => value(&mut words, &|range| in_range(range, port)),
                _ => None,
            },
            "udp" | "tcp" | "icmp" | "icmpv6" => Some(false),
            "accept" => {
                verdict = Verdict::End(ACCEPTED);
                continue;
            }
            "drop" | "reject" => {
                verdict = Verdict::End(DROPPED);
                break;
            }
            "return" => {
                verdict = Verdict::End(FELL);
                continue;
            }
            "jump" | "goto" => {
                let name = words.next().unwrap_or_default();
                verdict = Verdict::Call { name, comes_back: word == "jump" };
                continue;
            }
            // `counter packets 1 bytes 80`
            "counter" => {
                if words.clone().next() == Some("packets") {
                    words.nth(3);
                }
                continue;
            }
            // `log prefix "any words"`
            "log" => continue,
            "prefix" => {
                let mut quotes = 0;
                for word in words.by_ref() {
                    quotes += word.matches('"').count();
                    if quotes % 2 == 0 {
                        break;
                    }
                }
                continue;
            }
            _ => None,
        };
        matches = match (matches, fits) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    (matches, verdict)
}

/// Reads what a field is compared with: a word, words with commas between them, or the same in braces; `!=` turns it
/// around. Does any of them fit? None: it stands elsewhere, in a set with a name.
fn value(words: &mut SplitAsciiWhitespace, fits: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut word = words.next()?;
    let negated = word == "!=";
    if negated {
        word = words.next()?;
    }
    if word.starts_with('@') {
        return None;
    }
    let in_braces = word == "{";
    let mut any = false;
    loop {
        any |= word.split(',').any(|one| fits(one.trim_matches('"')));
        if !in_braces || word == "}" {
            return Some(any != negated);
        }
        word = words.next()?;
    }
}

/// `wan`, or `wan*` for all that begin so.
fn is_interface(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// `51820`, or `51000-52000` (UCI has `51000:52000` too): is the port in it?
pub(super) fn in_range(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once(['-', ':']).unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok();
    matches!((number(first), number(last)), (Some(first), Some(last)) if (first..=last).contains(&port))
}

#[cfg(test)]
mod tests;
