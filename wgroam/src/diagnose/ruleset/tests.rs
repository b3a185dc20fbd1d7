// SPDX-License-Identifier: GPL-2.0-only
//! A stock OpenWrt's ruleset, and rules of an owner in it.

use super::*;

/// As fw4 of OpenWrt writes it, shortened.
const FW4: &str = r#"table inet fw4 {
	ct helper amanda {
		type "amanda" protocol udp
		l3proto inet
	}

	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept comment "!fw4: Accept traffic from loopback"
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle inbound flows"
		tcp flags & (fin | syn | rst | ack) == syn jump syn_flood comment "!fw4: Rate limit TCP syn packets"
		iifname "br-lan" jump input_lan comment "!fw4: Handle lan IPv4/IPv6 input traffic"
		iifname "wan" jump input_wan comment "!fw4: Handle wan IPv4/IPv6 input traffic"
		jump handle_reject
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
		iifname "br-lan" jump forward_lan comment "!fw4: Handle lan IPv4/IPv6 forward traffic"
		iifname "wan" jump forward_wan
		jump handle_reject
	}

	chain handle_reject {
		meta l4proto tcp reject with tcp reset comment "!fw4: Reject TCP traffic"
		reject comment "!fw4: Reject any other traffic"
	}

	chain syn_flood {
		limit rate 25/second burst 50 packets return comment "!fw4: Accept SYN packets below rate-limit"
		drop comment "!fw4: Drop excess packets"
	}

	chain input_lan {
		jump accept_from_lan
	}

	chain forward_lan {
		jump accept_to_wan comment "!fw4: Accept lan to wan forwarding"
	}

	chain accept_from_lan {
		iifname "br-lan" counter packets 0 bytes 0 accept comment "!fw4: accept lan IPv4/IPv6 traffic"
	}

	chain accept_to_wan {
		meta nfproto ipv4 oifname "wan" ct state invalid counter packets 0 bytes 0 drop
		oifname "wan" counter packets 0 bytes 0 accept
	}

	chain input_wan {
		meta nfproto ipv4 udp dport 68 counter packets 0 bytes 0 accept comment "!fw4: Allow-DHCP-Renew"
		icmp type echo-request counter packets 0 bytes 0 accept comment "!fw4: Allow-Ping"
		ip6 saddr fe80::/10 icmpv6 type . icmpv6 code { mld-listener-query . no-route, mld-listener-report . no-route } counter packets 0 bytes 0 accept
		jump reject_from_wan
	}

	chain reject_from_wan {
		iifname "wan" counter packets 0 bytes 0 jump handle_reject
	}

	chain mangle_forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wan" tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu
	}
}
"#;

fn door(ruleset: &str) -> Fate {
    fate(ruleset, &Packet { from: "wan", to: None, ipv6: false, udp: Some(51820) })
}

fn to(ruleset: &str, to: &str) -> Fate {
    fate(ruleset, &Packet { from: "br-lan", to: Some(to), ipv6: true, udp: None })
}

#[test]
fn without_rules_everything_passes() {
    assert_eq!(door(""), Fate::Passes);
    assert_eq!(to("", "wgr"), Fate::Passes);
}

#[test]
fn a_stock_openwrt_closes_the_port_and_the_way_into_the_tunnel() {
    assert_eq!(door(FW4), Fate::Dropped("inet fw4 input".into()));
    assert_eq!(to(FW4, "wgr"), Fate::Dropped("inet fw4 forward".into()));
    assert_eq!(to(FW4, "wan"), Fate::Passes);
}

#[test]
fn a_rule_for_the_port_opens_it() {
    let rule = "\t\tmeta nfproto ipv4 udp dport 68 counter";
    for opened in [
        "udp dport 51820 counter packets 3 bytes 528 accept comment \"!fw4: drop nothing\"",
        "udp dport { 443, 51820 } accept",
        "meta l4proto { tcp, udp } th dport 51000-52000 accept",
        "ct state established,related,new accept",
        "iifname != \"br-lan\" meta l4proto udp accept",
    ] {
        let ruleset = FW4.replace(rule, &format!("\t\t{opened}\n{rule}"));
        assert_eq!(door(&ruleset), Fate::Passes, "{opened}");
    }
    for other in [
        "udp dport 51821 accept",
        "udp dport != 51820 accept",
        "tcp dport 51820 accept",
        "iifname \"wan2\" accept",
        "iifname \"br-*\" accept",
        "ct state established,related accept",
        "meta nfproto ipv6 accept",
        "log prefix \"now accept it \" counter",
        "ct status dnat accept",
    ] {
        let ruleset = FW4.replace(rule, &format!("\t\t{other}\n{rule}"));
        assert_eq!(door(&ruleset), Fate::Dropped("inet fw4 input".into()), "{other}");
    }
}

#[test]
fn what_is_not_understood_is_unknown_only_where_it_makes_a_difference() {
    let rule = "\t\tmeta nfproto ipv4 udp dport 68 counter";
    for unclear in [
        "udp dport @open accept",
        "ip saddr 192.0.2.0/24 accept",
        "udp dport vmap { 51820 : accept }",
        "iifname \"wan\" jump nowhere",
        "ct state vmap { new : accept, established : accept }",
    ] {
        let ruleset = FW4.replace(rule, &format!("\t\t{unclear}\n{rule}"));
        assert_eq!(door(&ruleset), Fate::Unknown, "{unclear}");
    }
    let ruleset = FW4.replace(rule, &format!("\t\tip saddr 192.0.2.0/24 drop\n{rule}"));
    assert_eq!(door(&ruleset), Fate::Dropped("inet fw4 input".into()), "dropped either way");
}

#[test]
fn return_and_goto_leave_the_chain_and_every_hook_has_its_say() {
    let ruleset = |rules: &str| {
        format!(
            "table inet a {{\n\tchain x {{\n\t\ttype filter hook input priority 0; policy accept;\n{rules}\n\t}}\n\
             \tchain y {{\n\t\treturn\n\t\taccept\n\t}}\n}}\n"
        )
    };
    assert_eq!(door(&ruleset("\t\tjump y\n\t\tdrop")), Fate::Dropped("inet a x".into()));
    assert_eq!(door(&ruleset("\t\tgoto y\n\t\tdrop")), Fate::Passes);
    assert_eq!(door(&ruleset("\t\treturn\n\t\tdrop")), Fate::Passes);
    let closed =
        "table ip f {\n\tchain INPUT {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n";
    assert_eq!(door(&[&ruleset(""), closed].concat()), Fate::Dropped("ip f INPUT".into()));
    let other_family = closed.replace("table ip ", "table ip6 ");
    assert_eq!(door(&[ruleset(""), other_family].concat()), Fate::Passes);
}

#[test]
fn chains_that_call_each_other_end() {
    let loops = "table inet a {\n\tchain x {\n\t\ttype filter hook input priority 0; policy accept;\n\t\tjump x\n\t}\n}\n";
    assert_eq!(door(loops), Fate::Unknown);
}
