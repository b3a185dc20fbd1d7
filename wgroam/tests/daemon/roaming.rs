// SPDX-License-Identifier: GPL-2.0-only
//! The side that dials its peers: what a reload disturbs, and what an idle tunnel costs.

use std::time::{Duration, Instant};

use super::out;
use super::pair::{Pair, heard};
use super::world::{Daemon, count_wakes, run_time, wait};

const MINUTE: Duration = Duration::from_secs(60);

/// What `status --json` says of a device, from its name on.
fn device(pair: &Pair, name: &str) -> String {
    let status = out(&pair.near.wgroam(&["status", "--json", name]));
    status.split_once("\"devices\":").map(|(_, devices)| devices.to_string()).unwrap_or(status)
}

fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let at = json.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}"));
    json[at + name.len() + 3..].split([',', '}', ']']).next().unwrap()
}

fn reload(pair: &Pair, daemon: &Daemon, text: &str) {
    let word = "the configuration changed";
    let before = daemon.log().matches(word).count();
    pair.near.config(text);
    daemon.signal("HUP");
    wait("the reload", || daemon.log().matches(word).count() > before);
}

/// One ping in 10 ms through wg0 while everything around it is added, changed and removed.
#[test]
fn a_reload_disturbs_nothing_else() {
    let pair = &mut Pair::new(3);
    let tunnel = |n: usize, more: &str| format!("config tunnel 'wg{n}'\n{more}\n");
    let mine = tunnel(0, "") + &pair.section(0, "\toption probe '10.99.0.2'\n\toption probe_interval '1'\n");
    let second = tunnel(1, "") + &pair.section(1, "");
    let third = tunnel(2, "") + &pair.section(2, "");
    let dead = "\tlist endpoint 'nobody.example:1'\n\tlist endpoint '10.9.0.77:443'\n";
    let steps = [
        ("a tunnel is added", mine.clone() + &second),
        ("another one, without its peer", mine.clone() + &second + &tunnel(2, "")),
        ("its peer", mine.clone() + &second + &third),
        ("candidates are added", mine.clone() + &tunnel(1, "") + &pair.section(1, dead) + &third),
        ("candidates are removed", mine.clone() + &second + &third),
        ("other candidates", mine.clone() + &second.replace("home.example", "nobody.example") + &third),
        (
            "a tunnel changes",
            mine.clone() + &tunnel(1, "\toption rotate_port '0'") + &pair.section(1, "") + &third,
        ),
        (
            "a tunnel is switched off",
            mine.clone() + &tunnel(1, "\toption enabled '0'") + &pair.section(1, "") + &third,
        ),
        (
            "a peer changes",
            mine.clone() + &second + &tunnel(2, "") + &pair.section(2, "\toption readd '1'\n"),
        ),
        ("a peer is removed", mine.clone() + &second + &tunnel(2, "")),
        ("the tunnels are removed", mine.clone()),
        ("the log is louder", "config wgroam 'globals'\n\toption log_level 'debug'\n\n".to_string() + &mine),
    ];
    let config = pair.near.config(&mine);
    let daemon = pair.near.daemon(&["--config", config.to_str().unwrap()]);
    pair.works(0);
    wait("a round trip", || member(&device(pair, "wg0"), "round_trip_s") != "null");
    let before = device(pair, "wg0");
    // A second of pings after the other, until they are told to end: however long the steps take.
    let end = pair.near.dir.join("end");
    let mut pings = pair.near.command("sh");
    let script = "while [ ! -e \"$1\" ]; do ping -q -i 0.01 -c 100 -W 10 10.99.0.2; done";
    pair.near.background("pings", pings.args(["-c", script, "sh"]).arg(&end));
    let begun = Instant::now();
    for (what, text) in &steps {
        reload(pair, &daemon, text);
        std::thread::sleep(Duration::from_millis(400));
        let after = device(pair, "wg0");
        assert!(!after.contains("\"silent\":\""), "{what}: {after}");
        for name in ["endpoint", "reason", "moves", "last_handshake", "listen_port"] {
            assert_eq!(member(&after, name), member(&before, name), "{what}: {name}");
        }
        let steps = |json: &str| json.matches("\"step\":").count();
        assert_eq!(steps(&after), steps(&before), "{what}: a step was taken: {after}");
        assert_ne!(member(&after, "round_trip_s"), "null", "{what}");
    }
    let (reloads, took) = (steps.len(), begun.elapsed());
    let said = || std::fs::read_to_string(pair.near.dir.join("pings.log")).unwrap();
    let seconds = || said().matches("packets transmitted").count();
    // The one that goes on now is the last; it has seen the last step.
    let before = seconds();
    std::fs::write(&end, "").unwrap();
    wait("the last pings", || seconds() > before);
    let (said, seconds) = (said(), seconds());
    println!("{reloads} reloads in {took:?}: {seconds} times 100 pings");
    assert_eq!(said.matches("100 packets transmitted, 100 received").count(), seconds, "{said}");
}

/// Candidates by name, a keepalive and no probe interval: nothing of ours is on the wire, and the processor sleeps.
#[test]
fn an_idle_tunnel_that_works_costs_next_to_nothing_and_no_packet() {
    let pair = &mut Pair::new(1);
    let config = "config tunnel 'wg0'\n\n".to_string() + &pair.section(0, "");
    let config = pair.near.config(config);
    let daemon = pair.near.daemon(&["--config", config.to_str().unwrap()]);
    pair.works(0);
    // The first questions, answers and passive keepalives are over, and the resolver's thread has ended.
    std::thread::sleep(Duration::from_secs(25));
    let listener = pair.listen();
    let before = run_time(daemon.pid());
    std::thread::sleep(MINUTE);
    let busy = Duration::from_nanos(run_time(daemon.pid()) - before);
    let frames = heard(&listener);
    let keepalives = frames.iter().filter(|(payload, _)| *payload == Some(32)).count();
    assert_eq!(keepalives, frames.len(), "something that is no keepalive: {frames:?}");
    assert!((2..=3).contains(&keepalives), "one each 25 s, and no poke: {frames:?}");
    let (wakes, time) = count_wakes(&daemon, &pair.near.dir, MINUTE);
    println!(
        "in a minute: {wakes} wake-ups, {busy:?} of CPU ({:?} an hour), {keepalives} keepalives of WireGuard",
        busy * 60
    );
    assert!(wakes >= 1 && wakes as u64 <= time.as_secs() / 5 + 1, "{wakes} wake-ups in {time:?}");
    // Unoptimized and on a busy machine it is some 3 ms.
    assert!(busy < Duration::from_millis(60), "{busy:?} in a minute");
}
