// SPDX-License-Identifier: GPL-2.0-only
//! The control socket against clients of every kind of malice. One test needs root.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod daemon;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use wgroam::linux::control::{
    ConnectError, Control, MAX_CLIENTS, MAX_REQUEST, REQUEST_TIME, STALL_TIME, ask, connect,
};

use daemon::{BIG, Daemon, Folder, read_to_end};

#[test]
fn a_request_is_answered_and_the_connection_closed() {
    let daemon = Daemon::start();
    let mut answer = ask(&daemon.path(), "status wg0").unwrap();
    assert_eq!((answer.code, answer.message.as_str()), (1, "status wg0"));
    assert_eq!(answer.body.read(&mut [0]).unwrap(), 0);
    assert_eq!(daemon.say(b"windows\r\n"), "1 windows\n");
}

#[test]
fn the_socket_is_open_to_owner_and_group_only() {
    let daemon = Daemon::start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.path()), 0o660);
    assert_eq!(mode(daemon.path().parent().unwrap()), 0o750);
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_a_live_ones_is_not() {
    let folder = Folder::new();
    fs::create_dir(folder.socket().parent().unwrap()).unwrap();
    drop(UnixListener::bind(folder.socket()).unwrap());
    assert!(matches!(connect(&folder.socket()), Err(ConnectError::NoDaemon)));
    let live = Control::bind(&folder.socket()).unwrap();
    let error = Control::bind(&folder.socket()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&folder.socket().display().to_string()), "{error}");
    // The refused one has not removed what is not its own.
    connect(&folder.socket()).unwrap();
    drop(live);
    assert!(matches!(connect(&folder.socket()), Err(ConnectError::NoDaemon)));
}

#[test]
fn something_else_in_the_sockets_place_is_left_alone() {
    let folder = Folder::new();
    let path = folder.0.join("file");
    fs::write(&path, "mine").unwrap();
    assert_eq!(Control::bind(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let long = folder.0.join("x".repeat(120));
    assert!(Control::bind(&long).is_err());
}

#[test]
fn a_daemon_that_ends_does_not_remove_its_successors_socket() {
    let folder = Folder::new();
    let first = Control::bind(&folder.socket()).unwrap();
    fs::remove_file(folder.socket()).unwrap();
    let _second = Control::bind(&folder.socket()).unwrap();
    drop(first);
    connect(&folder.socket()).unwrap();
}

#[test]
fn no_daemon_and_no_permission_are_told_apart() {
    let daemon = Daemon::start();
    assert!(matches!(connect(&daemon.folder.0.join("none")), Err(ConnectError::NoDaemon)));
    let path = daemon.path();
    // Permissions mean nothing to root: a thread that gives its own privileges up tries.
    let other = thread::spawn(move || {
        // SAFETY: no pointers that are read; the bare system calls change this thread only.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()), 0, "needs root");
            assert_eq!(libc::syscall(libc::SYS_setresgid, 65534, 65534, 65534), 0);
            assert_eq!(libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534), 0);
        }
        connect(&path).map(drop)
    });
    let result = other.join().unwrap();
    assert!(matches!(result, Err(ConnectError::Denied)), "{result:?}");
}

#[test]
fn of_two_requests_in_one_write_the_first_is_answered() {
    let daemon = Daemon::start();
    assert_eq!(daemon.say(b"one\ntwo\n"), "1 one\n");
}

#[test]
fn a_request_may_come_in_pieces() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon.path()).unwrap();
    for byte in b"slow\n" {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_to_end(stream), "1 slow\n");
}

#[test]
fn what_is_no_request_gets_a_clear_answer() {
    let daemon = Daemon::start();
    let longest = "x".repeat(MAX_REQUEST);
    assert_eq!(daemon.say(format!("{longest}\n").as_bytes()), format!("1 {longest}\n"));
    assert_eq!(daemon.say(format!("{longest}x\n").as_bytes()), "2 a request has at most 256 bytes\n");
    assert_eq!(daemon.say(&[b'x'; 10_000_000]), "2 a request has at most 256 bytes\n");
    assert_eq!(daemon.say(b"\xff\x00\xfe\n"), "2 a request is one line of text\n");
    assert_eq!(daemon.say(b"a\0b\n"), "2 a request is one line of text\n");
    let stream = connect(&daemon.path()).unwrap();
    (&stream).write_all(b"half").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(stream), "2 a request ends in a line break\n");
    // And it still serves.
    assert_eq!(daemon.say(b"ok\n"), "1 ok\n");
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let daemon = Daemon::start();
    let stream = connect(&daemon.path()).unwrap();
    (&stream).write_all(b"big\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(read_to_end(stream).len(), BIG);
}

#[test]
fn a_silent_client_is_told_and_dropped_after_its_time() {
    let daemon = Daemon::start();
    let start = Instant::now();
    assert_eq!(daemon.say(b""), "2 no request came within 5 s\n");
    let waited = start.elapsed();
    assert!(waited >= REQUEST_TIME - Duration::from_millis(50) && waited < REQUEST_TIME * 2, "{waited:?}");
}

#[test]
fn a_flood_of_half_open_clients_does_not_lock_the_owner_out() {
    let daemon = Daemon::start();
    let mut flood = Vec::new();
    for number in 0..1000 {
        let stream = connect(&daemon.path()).unwrap();
        let _ = (&stream).write_all(b"half a requ");
        flood.push(stream);
        if number % 100 == 99 {
            assert_eq!(daemon.say(b"status\n"), "1 status\n");
        }
    }
    let open = |mut stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    };
    assert!(flood.iter().filter(|stream| open(stream)).count() <= MAX_CLIENTS);
}

#[test]
fn a_thousand_requests_at_once_are_all_answered() {
    let daemon = Daemon::start();
    let threads: Vec<_> = (0..50)
        .map(|thread| {
            let path = daemon.path();
            thread::spawn(move || {
                for number in 0..20 {
                    let line = format!("{thread} {number}");
                    assert_eq!(ask(&path, &line).unwrap().message, line);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn slow_readers_get_whole_answers_and_hold_nobody_up() {
    let daemon = Daemon::start();
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&daemon.path()).unwrap();
        stream.write_all(b"big\n").unwrap();
        slow.push(stream);
    }
    assert_eq!(daemon.say(b"status\n"), "1 status\n");
    // While they read nothing, the daemon sleeps.
    let before = daemon.asleep();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.wakeups() - before, 0);
    for stream in slow {
        assert_eq!(read_to_end(stream).len(), BIG);
    }
}

#[test]
fn readers_that_never_read_make_room_for_others_and_are_dropped_in_the_end() {
    let daemon = Daemon::start();
    let mut never = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut stream = connect(&daemon.path()).unwrap();
        stream.write_all(b"big\n").unwrap();
        never.push(stream);
        assert_eq!(daemon.say(b"status\n"), "1 status\n");
    }
    // 8 MB are four answers of 2 MB, less what the kernel holds of each: the others are cut off by now.
    let cut = |mut stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        let mut buffer = vec![0; BIG];
        let mut length = 0;
        loop {
            match stream.read(&mut buffer[length..]) {
                // Whoever reads on gets the whole answer, as fast as the daemon can write it.
                Ok(0) => return length < BIG,
                Ok(read) => length += read,
                Err(_) => return false,
            }
        }
    };
    let whole = never.split_off(MAX_CLIENTS - 3);
    assert_eq!(never.iter().filter(|stream| !cut(stream)).count(), 1);
    thread::sleep(STALL_TIME + Duration::from_secs(3));
    for stream in whole {
        assert!(read_to_end(stream).len() < BIG);
    }
}

#[test]
fn a_client_gone_in_the_middle_of_its_answer_is_forgotten() {
    let daemon = Daemon::start();
    for _ in 0..2 * MAX_CLIENTS {
        let mut stream = connect(&daemon.path()).unwrap();
        stream.write_all(b"big\n").unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    }
    assert_eq!(daemon.say(b"status\n"), "1 status\n");
}

#[test]
fn watchers_get_events_in_their_own_rendering() {
    let daemon = Daemon::start();
    let mut text = ask(&daemon.path(), "watch").unwrap();
    let mut json = ask(&daemon.path(), "watch json").unwrap();
    assert_eq!((text.code, json.code), (0, 0));
    daemon.broadcast("moved");
    let mut buffer = [0; 7];
    text.body.read_exact(&mut buffer[..5]).unwrap();
    assert_eq!(&buffer[..5], b"moved");
    json.body.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"{moved}");
}

#[test]
fn a_watcher_that_does_not_read_is_dropped_and_others_miss_nothing() {
    let daemon = Daemon::start();
    let mut stuck = ask(&daemon.path(), "watch").unwrap().body;
    let mut keen = ask(&daemon.path(), "watch").unwrap().body;
    let mut buffer = [0; 1000];
    for number in 0..1000 {
        daemon.broadcast(&format!("{number:01000}"));
        keen.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer[996..], *format!("{number:04}").as_bytes());
    }
    // What the kernel held for it; the 256 KB behind that are gone.
    let mut got = Vec::new();
    stuck.read_to_end(&mut got).unwrap();
    assert!(got.len() < 1_000_000 - 256 * 1024, "{}", got.len());
}

#[test]
fn watchers_do_not_lock_the_owner_out() {
    let daemon = Daemon::start();
    let watchers: Vec<_> = (0..MAX_CLIENTS).map(|_| ask(&daemon.path(), "watch").unwrap()).collect();
    assert_eq!(daemon.say(b"status\n"), "1 status\n");
    drop(watchers);
}

#[test]
fn an_idle_server_sleeps() {
    let daemon = Daemon::start();
    let _watcher = ask(&daemon.path(), "watch").unwrap();
    let before = daemon.asleep();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(daemon.wakeups(), before);
}
