// SPDX-License-Identifier: GPL-2.0-only
//! Package network: real ones read as uci reads them, and what is left out of them for its keys is left out only.

use wgroam::config::uci::{self, Keep, Mistake, Package, Section, Setting, Value};

use super::generator::{Dice, Generator};
use super::{MOST, Scratch, compare, ours};

/// What real routers have in /etc/config/network, and what people make of it by hand. The last one is broken.
const NETWORKS: [&str; 6] = [
    "
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'

config globals 'globals'
	option ula_prefix 'fd6c:95b3:9e5b::/48'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

config device
	option name 'lan1'
	option macaddr '02:00:00:00:00:01'
",
    r#"
config interface 'wgr'
	option proto 'wireguard'
	option private_key 'eAfM0TJHiyzCDCnqoUyk3TyzVd0BJRvQfMGSXVDwfWk='
	list addresses 'fd00:99::2/64'
	list addresses '10.99.0.2/24'

config wireguard_wgr
	option description 'Tante Käthe'\''s router'
	option public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='
	option endpoint_host 'home.example.net'
	list allowed_ips '0.0.0.0/0'
	list allowed_ips '::/0'

config wireguard_wgr
	option description "two \"words\""
	option endpoint_host 2001:db8::1
"#,
    "config interface wan # the cable
  option proto dhcp
  option ifname 'eth0.2' #vlan
  option broadcast 1#2

#config interface 'old'
#	option proto 'pppoe'
	list dns 9.9.9.9
	list dns \"149.112.112.112\"
config interface wan
	option metric 10
",
    "config wireguard_wgr 'home'\r\n\toption endpoint_host 'home.example.net'\r\n\toption endpoint_port '443'\r\n\
     config wireguard_wgr 'home'\r\n\toption endpoint_host ''\r\n\tlist endpoint_port '53'\r\n",
    r#"config interface 'wgr'
	option private_key 'a'b"c"\d
	option proto \
wireguard
	option x 'over
lines' # x
	option y 1; option z '2'
"#,
    "config wireguard_wgr
	option description 'John's home'
	option public_key 'x'
",
];

/// The options that are kept in the test below, and so few that most are not.
const KEPT: &[&str] = &["a", "dns", "endpoint_host", "endpoint_port", "description", "proto"];

/// Some part of it stood on more than one line.
fn left_out(setting: &Setting) -> bool {
    match &setting.value {
        Value::One(value) => value == "…",
        Value::List(entries) => entries.iter().any(|(value, _)| value == "…"),
    }
}

/// What there is of a section when only [`KEPT`] is kept, made from all of it.
fn only_kept(mut section: Section) -> Section {
    section.options.retain(|setting| KEPT.contains(&setting.name.as_str()));
    section
}

#[test]
fn what_network_files_say_is_what_uci_says() {
    let scratch = Scratch::new("networks");
    let accepted =
        NETWORKS.map(|text| compare(&scratch, text, true).unwrap_or_else(|e| panic!("{text}\n{e}")));
    assert_eq!(accepted, [true, true, true, true, true, false]);
}

#[test]
fn what_is_not_kept_is_read_all_the_same() {
    let mut texts: Vec<_> = NETWORKS.map(str::to_owned).to_vec();
    for wild in [8, 64, 100_000] {
        let mut generator = Generator { dice: Dice(0x5DEE_CE66 ^ wild as u64), wild };
        texts.extend((0..400).map(|_| generator.text()));
    }
    let (mut left, mut same) = (0, 0);
    for text in texts {
        let all = ours(&text);
        let some = uci::parse(text.as_bytes(), "test", MOST, |_| Keep::Only(KEPT));
        let lines = |mistakes: &[(u32, Mistake)]| mistakes.iter().map(|(line, _)| *line).collect::<Vec<_>>();
        assert_eq!((lines(&some.mistakes), lines(&some.elsewhere)), (vec![], lines(&all.mistakes)), "{text}");
        let sections = |packages: Vec<Package>| packages.into_iter().flat_map(|package| package.sections);
        let (all, some): (Vec<_>, Vec<_>) =
            (sections(all.packages).map(only_kept).collect(), sections(some.packages).collect());
        assert_eq!(all.len(), some.len(), "{text}");
        for (all, some) in all.iter().zip(&some) {
            assert_eq!((&all.kind, &all.name, all.index), (&some.kind, &some.name, some.index), "{text}");
            if some.options.iter().any(left_out) {
                left += 1;
            } else {
                assert_eq!(all.options, some.options, "{text}");
                same += some.options.len();
            }
        }
    }
    eprintln!("{same} options the same, {left} sections with something left out");
    assert!(same > 500 && left > 20, "{same} {left}");
}
