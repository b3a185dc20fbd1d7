// SPDX-License-Identifier: GPL-2.0-only
//! What is taken over from OpenWrt's package network, what is said about it, and what is never taken out of it.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;

use wgroam::config::{self, Loaded, Peer};

const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const OTHER_KEY: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";
const PRIVATE_KEY: &str = "eAfM0TJHiyzCDCnqoUyk3TyzVd0BJRvQfMGSXVDwfWk=";

/// As LuCI leaves it, with what people add by hand.
fn router() -> String {
    format!(
        "
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'

config globals 'globals'
	option ula_prefix 'fd6c:95b3:9e5b::/48'
	option packet_steering '1'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

# the cable in the van
config interface 'wan'
	option device 'wan'
	option proto 'dhcp'
	list dns '9.9.9.9'	# not the campsite's

config interface 'wgr'
	option proto 'wireguard'
	option private_key '{PRIVATE_KEY}'
	list addresses 'fd00:99::2/64'
	option mtu '1420'
	option nohostroute '1'

config wireguard_wgr
	option description 'Home sweet home'
	option public_key '{KEY}'
	option preshared_key '{PRIVATE_KEY}'
	option endpoint_host 'home.example.net'
	option endpoint_port '443'
	list allowed_ips '::/0'
	option route_allowed_ips '1'
	option persistent_keepalive '25'
"
    )
}

fn load(text: &str) -> Loaded {
    config::parse(text.as_bytes(), "export").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The router's network with this in package wgroam, as the init script hands it over.
fn with(wgroam: &str) -> Loaded {
    load(&format!("package wgroam\n{wgroam}\npackage network\n{}", router()))
}

fn places(peer: &Peer) -> Vec<String> {
    peer.endpoints.iter().map(ToString::to_string).collect()
}

fn said(findings: &[config::Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

fn section(interface: &str, key: &str, more: &str) -> String {
    format!("config wireguard_{interface}\n\toption public_key '{key}'\n{more}\n")
}

fn interface(name: &str, more: &str) -> String {
    format!("config interface '{name}'\n\toption proto 'wireguard'\n{more}\n")
}

#[test]
fn a_peer_with_an_endpoint_host_is_dialed_without_any_configuration() {
    let loaded = with("");
    let [peer] = loaded.config.peers.as_slice() else { panic!("{:?}", loaded.config) };
    assert_eq!((peer.name.as_str(), peer.tunnel.as_str()), ("Home sweet home", "wgr"));
    assert_eq!(peer.public_key.to_string(), KEY);
    assert_eq!((places(peer), peer.keepalive), (vec!["home.example.net:443".to_owned()], Some(25)));
    assert_eq!(said(&loaded.warnings), [""; 0]);
    assert_eq!(
        said(&loaded.notes),
        [
            "export:37: wireguard_wgr @wireguard_wgr[0], option 'endpoint_host': peer 'Home sweet home' of wgr is dialed \
          at home.example.net:443"
        ]
    );
}

#[test]
fn defaults_and_forms_are_those_of_the_protocol_handler() {
    let text = "package network\n".to_owned()
        + &interface("wg0", "\toption auto '0'")
        + &section("wg0", KEY, "\toption endpoint_host '2001:db8::7'\n\toption persistent_keepalive 'off'")
        + &section("wg0", OTHER_KEY, "\toption endpoint_host '[2001:db8::8]'\n\toption disabled '0'");
    let loaded = load(&text);
    let peers = &loaded.config.peers;
    assert_eq!(places(&peers[0]), ["[2001:db8::7]:51820"]);
    assert_eq!(places(&peers[1]), ["[2001:db8::8]:51820"]);
    assert_eq!((peers[0].keepalive, peers[0].name.as_str()), (None, "@wireguard_wg0[0]"));
    // The last section of a key counts, as with wg.
    let twice = text.clone() + &section("wg0", KEY, "\toption endpoint_host '192.0.2.1'");
    let loaded = load(&twice);
    assert_eq!(
        (loaded.config.peers.len(), places(&loaded.config.peers[0])),
        (2, vec!["192.0.2.1:51820".to_owned()])
    );
}

#[test]
fn what_netifd_does_not_use_is_not_dialed() {
    let host = "\toption endpoint_host 'a.example'\n";
    for (what, text) in [
        (
            "a peer that is off",
            interface("wg0", "") + &section("wg0", KEY, &format!("{host}\toption disabled 'on'")),
        ),
        ("an interface that is off", interface("wg0", "\toption disabled '1'") + &section("wg0", KEY, host)),
        (
            "another protocol",
            "config interface wg0\n\toption proto 'amneziawg'\n".to_owned() + &section("wg0", KEY, host),
        ),
        ("peers of no interface", interface("wg1", "") + &section("wg0", KEY, host)),
        ("no public key", interface("wg0", "") + &section("wg0", "", host)),
        ("no endpoint", interface("wg0", "") + &section("wg0", KEY, "\toption endpoint_port '5'")),
    ] {
        let loaded = load(&format!("package network\n{text}"));
        assert_eq!((loaded.config.peers, said(&loaded.warnings)), (vec![], vec![]), "{what}");
        assert!(loaded.notes.is_empty() && loaded.advice.is_empty(), "{what}");
    }
}

#[test]
fn a_peer_section_of_wgroam_wins_option_by_option() {
    let own = |more: &str| {
        with(&format!("config peer 'home'\n\toption tunnel 'wgr'\n\toption public_key '{KEY}'\n{more}"))
    };
    let merged = own("\toption probe 'fd00:99::1'\n").config.peers;
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].name.as_str(), merged[0].keepalive), ("home", Some(25)));
    assert_eq!(places(&merged[0]), ["home.example.net:443"]);
    assert!(merged[0].probe.is_some());

    let overruled = own("\tlist endpoint '192.0.2.1:5'\n\toption keepalive '9'\n");
    let peers = &overruled.config.peers;
    assert_eq!(
        (peers.len(), places(&peers[0]), peers[0].keepalive),
        (1, vec!["192.0.2.1:5".to_owned()], Some(9))
    );
    assert!(
        said(&overruled.notes)[0].ends_with("not used: peer 'home' of package wgroam has its own endpoints")
    );
    // A section for another tunnel is another peer.
    let other = with(&format!("config peer 'home'\n\toption tunnel 'wg9'\n\toption public_key '{KEY}'\n"));
    assert_eq!(other.config.peers.len(), 2);
}

#[test]
fn with_tunnel_sections_only_their_peers_are_taken_over() {
    assert_eq!(with("config tunnel 'wgr'\n").config.peers.len(), 1);
    for other in ["config tunnel 'wg1'\n", "config tunnel 'wgr'\n\toption enabled '0'\n"] {
        let loaded = with(other);
        assert_eq!(
            (loaded.config.peers.len(), loaded.notes.len(), loaded.advice.len()),
            (0, 0, 0),
            "{other}"
        );
    }
}

#[test]
fn what_can_not_be_is_a_warning_and_touches_no_other_peer() {
    let text = router()
        + &section("wgr", OTHER_KEY, "\toption endpoint_host 'home.example.net:51820'")
        + &section("wgr", OTHER_KEY, "\toption endpoint_host 'a.example'\n\toption endpoint_port '0'")
        + &section("wgr", "short", "\toption endpoint_host 'a.example'")
        + &section("wgr", OTHER_KEY, "\tlist endpoint_host 'a.example'\n\tlist endpoint_host 'b.example'");
    let loaded = load(&format!("package network\n{text}"));
    assert_eq!(loaded.config.peers.len(), 1);
    let warnings = said(&loaded.warnings);
    for (warning, wanted) in warnings.iter().zip([
        "option 'endpoint_host': 'home.example.net:51820': neither a host name nor an address; allowed: as in \
         home.example.net, without a port",
        "option 'endpoint_port': '0': the port is wrong; allowed: 1 to 65535",
        "option 'public_key': 'short' is no key",
        "option 'endpoint_host': has 2 values",
    ]) {
        assert!(warning.contains(wanted), "{warning}\n{wanted}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:#?}");
}

#[test]
fn advice_is_given_where_it_applies_and_once() {
    let host = |name: &str| format!("\toption endpoint_host '{name}'");
    let advice = |text: String| said(&load(&format!("package network\n{text}")).advice);
    let both = advice(
        interface("wg0", "")
            + &section("wg0", KEY, &host("a.example"))
            + &section("wg0", OTHER_KEY, &host("b.example")),
    );
    assert_eq!(both.len(), 2, "{both:#?}");
    assert!(
        both[0].starts_with("export:7: wireguard_wg0 @wireguard_wg0[0], option 'endpoint_host'"),
        "{}",
        both[0]
    );
    assert!(
        both[1].contains("interface 'wg0': ") && both[1].ends_with("option nohostroute '1'"),
        "{}",
        both[1]
    );
    let quiet = interface("wg0", "\toption nohostroute '1'") + &section("wg0", KEY, &host("192.0.2.1"));
    assert_eq!(advice(quiet), [""; 0]);
}

#[test]
fn a_broken_network_is_a_warning_and_the_rest_still_works() {
    let after = |more: &str| router() + &more.replace("KEY", PRIVATE_KEY);
    // Each, and where the mistake is.
    for (broken, place) in [
        // An apostrophe: from there on, quotes open where they should close.
        (router().replace("Home sweet home", "John's home"), "'25'"),
        (router().replace("option mtu", "mtu"), "mtu '1420"),
        (after("\toption private_key = 'KEY'\n"), "key = "),
        (after("KEY\n"), PRIVATE_KEY),
        (after("\toption private_key 'KEY\n"), PRIVATE_KEY),
        (after("config '\0KEY'\n"), "\0"),
        (after("config interface 'KEY'\n"), "interface 'eAfM"),
        (after("\toption 'KEY' x\n"), "option 'eAfM"),
    ] {
        let text = format!("package wgroam\nconfig tunnel 'wgr'\npackage network\n{broken}");
        let loaded = load(&text);
        assert_eq!((loaded.config.tunnels.len(), loaded.config.peers.len()), (1, 0), "{broken}");
        assert_eq!(loaded.network, None, "what was taken over before stays");
        let warnings = said(&loaded.warnings);
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(warnings[0].contains("nothing new is taken over"), "{}", warnings[0]);
        let line = 1 + text[..text.rfind(place).unwrap()].matches('\n').count();
        assert!(warnings[0].starts_with(&format!("export:{line}: ")), "{line}: {}", warnings[0]);
        assert!(!warnings[0].contains(&PRIVATE_KEY[..8]), "{}", warnings[0]);
    }
}

#[test]
fn a_line_that_could_begin_any_package_is_a_mistake() {
    let text = format!("package network\n{}\npackage w.groam\nconfig tunnel 'wgr'\n", router());
    let errors = config::parse(text.as_bytes(), "export").unwrap_err();
    assert!(errors.to_string().contains("'w.groam' can't be the name of a package"), "{errors}");
}

#[test]
fn other_bytes_than_utf_8_are_netifd_s_own_business_there() {
    let latin = router().replace("Home sweet home", "Caf?").into_bytes();
    let latin = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend(latin.iter().map(|&byte| if byte == b'?' { 0xe9 } else { byte }));
        bytes
    };
    let loaded = config::parse(&latin("package network\n"), "export").unwrap();
    assert_eq!((loaded.config.peers.len(), loaded.config.peers[0].name.as_str()), (1, "Caf"));
    let errors = config::parse(&latin("package wgroam\n"), "export").unwrap_err();
    assert!(errors.to_string().contains("is not UTF-8"), "{errors}");
}

#[test]
fn a_name_is_short_and_plays_no_tricks() {
    let description = format!("\x1b[2J{}", "é".repeat(100));
    let text = router().replace("Home sweet home", &description);
    let name = load(&format!("package network\n{text}")).config.peers[0].name.clone();
    assert_eq!(name, format!("[2J{}", "é".repeat(37)));
    // A value over two lines may be any of those that follow a forgotten quote.
    let text = router().replace("Home sweet home", "Home\nsweet home");
    assert_eq!(load(&format!("package network\n{text}")).config.peers[0].name, "…");
}

/// A folder with an /etc/config of its own.
struct Etc(PathBuf);

impl Etc {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("wgroam-network-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("config")).unwrap();
        Self(root)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("config").join(name)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_file_network_beside_config_wgroam_is_read_too() {
    let etc = Etc::new("beside");
    let (wgroam, network) = (etc.file("wgroam"), etc.file("network"));
    fs::write(&network, router()).unwrap();
    // Neither needs the other.
    assert_eq!(config::read(&wgroam, true).unwrap().config.peers.len(), 1);
    assert!(matches!(config::read(&wgroam, false), Err(config::Error::Missing(_))));
    fs::write(&wgroam, "config tunnel 'wgr'\n").unwrap();
    let loaded = config::read(&wgroam, false).unwrap();
    assert_eq!((loaded.config.tunnels.len(), loaded.config.peers.len()), (1, 1));
    assert!(loaded.notes[0].to_string().starts_with(&format!("{}:34: ", network.display())));
    // A text that has the package already is complete.
    fs::write(&wgroam, "package wgroam\nconfig tunnel 'wgr'\npackage network\n").unwrap();
    assert_eq!(config::read(&wgroam, false).unwrap().config.peers.len(), 0);
    // A file of another name says all there is to say.
    fs::copy(&network, etc.file("other")).unwrap();
    fs::write(etc.file("other"), "").unwrap();
    assert_eq!(config::read(&etc.file("other"), false).unwrap().config.peers.len(), 0);

    fs::remove_file(&network).unwrap();
    fs::write(&wgroam, "").unwrap();
    assert_eq!(config::read(&wgroam, false).unwrap(), Loaded { network: Some(vec![]), ..Loaded::default() });
}

#[test]
fn a_file_network_that_can_not_be_used_is_a_warning_with_its_name() {
    let etc = Etc::new("unusable");
    let network = etc.file("network");
    let warning = || {
        let loaded = config::read(&etc.file("wgroam"), true).unwrap();
        assert_eq!((loaded.network, loaded.warnings.len()), (None, 1));
        loaded.warnings[0].to_string()
    };
    fs::write(&network, "config interface\n\toption proto '\n").unwrap();
    assert!(warning().starts_with(&format!("{}:2: the quote '", network.display())), "{}", warning());
    fs::write(&network, "package 'a b'\n").unwrap();
    assert!(warning().starts_with(&format!("{}:1: ", network.display())), "{}", warning());
    fs::write(&network, vec![b'#'; config::MAX_BYTES + 1]).unwrap();
    assert!(warning().contains("larger than 1024 KiB"), "{}", warning());
    fs::remove_file(&network).unwrap();
    fs::create_dir(&network).unwrap();
    let said = warning();
    assert!(said.starts_with(&format!("{}: can't be read: it is a folder", network.display())), "{said}");
}

#[test]
fn wireguard_interfaces_of_package_network_are_known_by_name() {
    let more = "config interface 'wg2'\n\toption proto wireguard\n\nconfig interface 'off'\n\toption proto wireguard\n\toption disabled 1\n";
    let loaded = load(&format!("package network\n{}{more}", router()));
    let names: Vec<_> = loaded.config.interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["wg2", "wgr"]);
    assert_eq!(load("").config.interfaces, []);
}

#[test]
fn the_ports_by_which_others_find_us_are_known() {
    let of = |listen: &str| {
        let loaded = load(&format!("package network\n{}", interface("wg0", listen)));
        assert_eq!((loaded.warnings.len(), loaded.config.interfaces.len()), (0, 1), "{listen}");
        loaded.config.listen_ports.iter().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>()
    };
    assert_eq!(of("\toption listen_port '51820'\n"), ["wg0 51820"]);
    assert_eq!(of("\toption listen_port 1\n"), ["wg0 1"]);
    // wg takes any port then; what it does not take at all is netifd's to complain of.
    for none in
        ["", "\toption listen_port '0'\n", "\toption listen_port ''\n", "\toption listen_port '65536'\n"]
    {
        assert_eq!(of(none), [""; 0], "{none}");
    }
    let listening = "\toption proto '{}'\n\toption listen_port '51820'\n";
    for (kind, name) in [("interface", "tun0"), ("wireguard_wg0", "peer")] {
        let other = format!("config {kind} '{name}'\n{}", listening.replace("{}", "l2tp"));
        assert_eq!(load(&format!("package network\n{other}")).config.listen_ports, [], "{kind}");
    }
    let off = interface("wg0", "\toption listen_port '51820'\n\toption disabled '1'\n");
    assert_eq!(load(&format!("package network\n{off}")).config.listen_ports, []);
}

#[test]
fn an_address_of_nobody_is_a_warning_and_its_peer_is_not_dialed() {
    for host in ["0.0.0.0", "::", "[::]", "::ffff:192.0.2.1", "224.0.0.1", "ff02::1", "255.255.255.255"] {
        let endpoint = format!("\toption endpoint_host '{host}'");
        let loaded =
            load(&format!("package network\n{}{}", interface("wg0", ""), section("wg0", KEY, &endpoint)));
        assert_eq!(loaded.config.peers, [], "{host}");
        let [warning] = loaded.warnings.as_slice() else { panic!("{host}: {:?}", loaded.warnings) };
        let warning = warning.to_string();
        assert!(
            warning.contains(host) && warning.contains("nobody can have that address; allowed: "),
            "{warning}"
        );
    }
}
