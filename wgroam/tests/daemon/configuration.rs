// SPDX-License-Identifier: GPL-2.0-only
//! What is configured: read at the start and with a reload, and refused with its place when it is wrong.

use std::fs;

use super::world::{World, exists, wait};
use super::{err, out};

#[test]
fn a_tunnel_section_leaves_the_others_alone() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    world.wireguard("wg1", 51821);
    let peer = world.peer("wg1");
    let config = world.config(format!(
        "config tunnel 'wg1'\n\nconfig peer 'home'\n\toption tunnel 'wg1'\n\toption public_key '{peer}'\n"
    ));
    let _daemon = world.daemon(&["--config", config.to_str().unwrap()]);
    let status = out(&world.wgroam(&["status"]));
    assert!(status.contains("wg1: up") && status.contains("home (") && !status.contains("wg0"), "{status}");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let world = World::new();
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("half-written", b"config tunnel 'wg0'\n\toption enabled '1".to_vec(), "config:2"),
        ("binary", vec![0, 159, 146, 150, 10, 0, 255], "config:1"),
        ("10 MB", vec![b'#'; 10 << 20], "config"),
        (
            "contradictory",
            "config tunnel 'wg0'\nconfig peer 'a'\n\toption tunnel 'wg0'\n\toption public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\nconfig peer 'b'\n\toption tunnel 'wg0'\n\toption public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n"
                .into(),
            "config:",
        ),
    ];
    for (name, text, place) in cases {
        let config = world.config(text);
        for args in
            [["run", "--config", config.to_str().unwrap()], ["check", "--config", config.to_str().unwrap()]]
        {
            let output = world.wgroam(&args);
            let said = out(&output) + &err(&output);
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains(place), "{name}: {said}");
            assert!(said.len() < 3_000, "{name}: {said}");
        }
    }
    let missing = world.wgroam(&["run", "--config", "/nowhere/wgroam"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("/nowhere/wgroam"), "{}", err(&missing));
    let folder = world.wgroam(&["run", "--config", world.dir.to_str().unwrap()]);
    assert_eq!(folder.status.code(), Some(1));
    assert!(err(&folder).contains(world.dir.to_str().unwrap()), "{}", err(&folder));
}

#[test]
fn a_configuration_that_may_not_be_read_is_named() {
    let world = World::new();
    let config = world.config("config tunnel 'wg0'\n");
    world.sh(&format!("chmod 755 {}; chmod 600 {}", world.dir.display(), config.display()));
    let copy = world.dir.join("wgroam");
    fs::copy(env!("CARGO_BIN_EXE_wgroam"), &copy).unwrap();
    for command in ["run", "check"] {
        let mut nobody = world.command("setpriv");
        nobody
            .args(["--reuid", "nobody", "--clear-groups", "--"])
            .arg(&copy)
            .args([command, "--config"])
            .arg(&config);
        let output = nobody.output().unwrap();
        let said = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(config.to_str().unwrap()) && said.contains("Permission denied"), "{said}");
    }
}

#[test]
fn a_bad_reload_keeps_the_running_configuration() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    let config = world.config("config tunnel 'wg0'\n");
    let daemon = world.daemon(&["--config", config.to_str().unwrap()]);
    world.config("config tunnel 'wg0'\n\toption enabled 'perhaps'\n");
    daemon.signal("HUP");
    daemon.says("config:2");
    daemon.says("the running configuration stays");
    assert!(out(&world.wgroam(&["status"])).contains("wg0: up"));
    // Who asks for it is told.
    let asked = world.wgroam(&["reload"]);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("config:2") && said.contains("the running configuration stays"), "{said}");
    world.config("config tunnel 'wg0'\n\toption enabled '0'\n");
    assert_eq!(world.wgroam(&["reload"]).status.code(), Some(0));
    wait("wg0 to be left alone", || !out(&world.wgroam(&["status"])).contains("wg0: up"));
}

#[test]
fn an_edit_of_package_network_is_taken_over_with_the_next_reload() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    world.wireguard("wg1", 51821);
    let network = |host: &str| {
        format!(
            "config interface 'wg0'\n\toption proto 'wireguard'\n\nconfig wireguard_wg0 'home'\n\
             \toption public_key '{}'\n\toption endpoint_host '{host}'\n",
            world.peer("wg0")
        )
    };
    let config = world.etc("network", network("192.0.2.1"));
    let texts = ["192.0.2.2", "bro'ken", "192.0.2.3"].map(network);
    let daemon = world.daemon(&["--config", config.to_str().unwrap()]);
    let status = |what: &str| {
        wait(what, || {
            let status = out(&world.wgroam(&["status"]));
            status.contains(&format!("may be at {what}, port 51820")) && status.contains("wg1: up")
        });
    };
    status("192.0.2.1");
    world.etc("network", &texts[0]);
    daemon.signal("HUP");
    status("192.0.2.2");
    // What can't be read says nothing: what was taken over before stays, and our own file is read all the same.
    world.etc("network", &texts[1]);
    world.etc("wgroam", "config wgroam 'globals'\n\toption log_level 'debug'\n");
    daemon.signal("HUP");
    daemon.says("network:6: ");
    daemon.says("the configuration changed");
    status("192.0.2.2");
    world.etc("network", &texts[2]);
    daemon.signal("HUP");
    status("192.0.2.3");
    fs::remove_file(world.dir.join("etc/config/network")).unwrap();
    daemon.signal("HUP");
    wait("home to be awaited", || !out(&world.wgroam(&["status"])).contains("may be at"));
    assert!(!daemon.log().contains("wg0: gone") && !daemon.log().contains("wg1: gone"), "{}", daemon.log());
}

#[test]
fn a_reload_that_switches_wgroam_off_ends_it() {
    let mut world = World::new();
    let config = world.config("config wgroam 'globals'\n");
    let daemon = world.daemon(&["--config", config.to_str().unwrap()]);
    world.config("config wgroam 'globals'\n\toption enabled '0'\n");
    daemon.signal("HUP");
    assert_eq!(daemon.exit(), Some(0));
    assert!(!exists(&world.runtime().join("control.sock")));
}
