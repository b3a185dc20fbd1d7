// SPDX-License-Identifier: GPL-2.0-only
//! The resolver against a DNS server of each test's own, in a network of its own. Needs root and dnsmasq.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{PATIENCE as LONG, Process, enter_own_network, run, wait_until};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wgroam::linux::resolver::{
    Answer, IDLE, MAX_ADDRESSES, MAX_QUESTIONS, MAX_THREADS, PATIENCE, ResolveError, Resolver,
};

/// A DNS server that knows the names of `test`, and whatever is forwarded under `silent.test` goes to a socket that
/// never answers.
struct Server {
    process: Process,
    _silent: UdpSocket,
}

const HOSTS: &str = "/run/hosts";
const LOG: &str = "/run/dnsmasq.log";
/// A name that hangs was asked for, so many times.
const ASKED: &str = "query[A] a.silent.test";

impl Server {
    /// Enters a network of its own, whose resolv.conf names this server alone.
    fn start(hosts: &str) -> Self {
        enter_own_network();
        fs::write(HOSTS, hosts).unwrap();
        // glibc gives up after 30 s only: what times out here is ours.
        resolv_conf("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n");
        let silent = UdpSocket::bind("127.0.0.1:5300").unwrap();
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--pid-file=",
            ])
            .args([
                "--user=root",
                "--group=root",
                "--log-queries",
                "--local=/test/",
                "--addn-hosts=/run/hosts",
            ])
            .args([
                "--log-facility=/run/dnsmasq.log",
                "--server=/silent.test/127.0.0.1#5300",
                "--cache-size=0",
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("needs dnsmasq (dnsmasq-base)");
        let server = Self { process: Process(child), _silent: silent };
        wait_until("dnsmasq listens", || run("ss -Hlun").contains("0.0.0.0:53 "));
        server
    }

    /// Gives the names other addresses.
    fn change(&self, hosts: &str) {
        fs::write(HOSTS, hosts).unwrap();
        let before = log("read /run/hosts");
        kill(Pid::from_raw(self.process.0.id() as i32), Signal::SIGHUP).unwrap();
        wait_until("dnsmasq has read its names", || log("read /run/hosts") > before);
    }
}

/// Lines of the server's log that hold this.
fn log(text: &str) -> usize {
    fs::read_to_string(LOG).unwrap_or_default().lines().filter(|line| line.contains(text)).count()
}

fn resolv_conf(text: &str) {
    fs::write("/run/resolv.conf", text).unwrap();
    let none = None::<&str>;
    mount(Some("/run/resolv.conf"), "/etc/resolv.conf", none, MsFlags::MS_BIND, none).unwrap();
}

/// The next answer, waited for as the daemon does.
fn answer(resolver: &mut Resolver) -> Answer {
    if let Some(answer) = resolver.next() {
        return answer;
    }
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut SourceFd(&resolver.as_raw_fd()), Token(1), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(4);
    let until = Instant::now() + LONG;
    loop {
        while let Err(error) = poll.poll(&mut events, Some(until.saturating_duration_since(Instant::now()))) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        assert!(!events.is_empty(), "no answer within {LONG:?}");
        if let Some(answer) = resolver.next() {
            return answer;
        }
    }
}

fn resolve(resolver: &mut Resolver, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    resolver.ask(host);
    let answer = answer(resolver);
    assert_eq!(answer.host, host);
    answer.addresses
}

fn ips(list: &[&str]) -> Result<Vec<IpAddr>, ResolveError> {
    Ok(list.iter().map(|ip| ip.parse().unwrap()).collect())
}

/// Threads of the resolver in this test's network.
fn threads() -> usize {
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks
        .filter(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "resolver")
                && fs::read_link(task.join("ns/net")).is_ok_and(|net| net == own)
        })
        .count()
}

#[test]
fn both_families_come_in_the_order_of_rfc_6724() {
    let _server = Server::start("192.0.2.1 home.test\n2001:db8::1 home.test\n192.0.2.4 four.test\n");
    let mut resolver = Resolver::start().unwrap();
    // No way to either: what can't be reached comes last, and is there all the same.
    let both = resolve(&mut resolver, "home.test").unwrap();
    assert_eq!(both.len(), 2);
    for (reachable, first) in [("192.0.2.9/24", "192.0.2.1"), ("2001:db8::9/64", "2001:db8::1")] {
        run(&format!("ip addr add {reachable} dev lo nodad"));
        let found = resolve(&mut resolver, "home.test").unwrap();
        assert_eq!((found[0].to_string().as_str(), found.len()), (first, 2));
        run("ip addr flush dev lo scope global");
    }
    assert_eq!(resolve(&mut resolver, "four.test"), ips(&["192.0.2.4"]));
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_server_that_fails() {
    let server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    assert_eq!(resolve(&mut resolver, "nobody.test"), Err(ResolveError::NotFound));
    assert_eq!(resolve(&mut resolver, "no\0body.test"), Err(ResolveError::NotFound));
    // Outside of `test` it knows nobody to ask, and refuses.
    assert_eq!(resolve(&mut resolver, "home.example"), Err(ResolveError::Temporary));
    drop(server);
    // And now nobody listens.
    assert_eq!(resolve(&mut resolver, "home.test"), Err(ResolveError::Temporary));
}

/// A server at this address that answers questions of the one type with an address, and refuses all others.
fn refuse_all_but(at: &str, wanted: u16, address: IpAddr) {
    const RESPONSE: u8 = 0x80;
    const REFUSED: u8 = 5;
    let server = UdpSocket::bind(at).unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = server.recv_from(&mut packet) {
            // Behind the header stand the labels of the one question, up to an empty one, its type and class.
            let name = 12 + packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let good = packet[name..name + 2] == wanted.to_be_bytes();
            let mut answer = packet[..name + 4].to_vec();
            answer[2] |= RESPONSE;
            answer[3] = if good { 0 } else { REFUSED };
            answer[6..12].fill(0);
            if good {
                let octets = match address {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                answer[7] = 1;
                // The name of the question, its type and class, for no time at all, and the address.
                answer.extend([0xc0, 12]);
                answer.extend_from_slice(&packet[name..name + 4]);
                answer.extend([0, 0, 0, 0, 0, octets.len() as u8]);
                answer.extend(octets);
            }
            let _ = server.send_to(&answer, client);
        }
    });
}

/// With musl this takes the time-out of resolv.conf, as it waits on after a refusal.
#[test]
fn a_server_that_refuses_one_family_is_taken_at_its_word_for_the_other() {
    const A: u16 = 1;
    const AAAA: u16 = 28;
    enter_own_network();
    for (at, wanted, address) in [("127.0.0.2", A, "192.0.2.1"), ("127.0.0.3", AAAA, "2001:db8::1")] {
        refuse_all_but(&format!("{at}:53"), wanted, address.parse().unwrap());
        resolv_conf(&format!("nameserver {at}\noptions timeout:1 attempts:1\n"));
        let mut resolver = Resolver::start().unwrap();
        assert_eq!(resolve(&mut resolver, "home.test"), ips(&[address]), "{at}");
    }
}

#[test]
fn a_name_that_hangs_holds_up_no_other_and_times_out() {
    let _server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    assert_eq!(resolver.deadline(), None);
    let begun = Instant::now();
    resolver.ask("a.silent.test");
    wait_until("it is asked", || log(ASKED) == 1);
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    let deadline = resolver.deadline().unwrap();
    assert!(deadline >= begun + PATIENCE && deadline <= Instant::now() + PATIENCE);
    resolver.expire(deadline - Duration::from_millis(1));
    assert_eq!(resolver.next(), None);
    resolver.expire(deadline);
    let answer = resolver.next().unwrap();
    assert_eq!((answer.host.as_str(), answer.addresses), ("a.silent.test", Err(ResolveError::TimedOut)));
    assert_eq!((resolver.next(), resolver.deadline()), (None, None));
}

#[test]
fn a_name_that_hangs_has_one_thread_however_often_it_is_asked_for() {
    let _server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    for _ in 0..10 {
        resolver.ask("a.silent.test");
        wait_until("it is asked", || log(ASKED) == 1);
        resolver.expire(resolver.deadline().unwrap());
        assert_eq!(resolver.next().unwrap().addresses, Err(ResolveError::TimedOut));
        sleep(Duration::from_millis(20));
    }
    assert_eq!(threads(), 1);
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    assert_eq!(threads(), 2);
    assert_eq!(log(ASKED), 1);
}

#[test]
fn a_late_failure_is_no_answer_to_who_asked_again() {
    let _server = Server::start("192.0.2.1 home.test\n");
    // The first question hangs for a second, then fails.
    resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let mut resolver = Resolver::start().unwrap();
    resolver.ask("a.silent.test");
    wait_until("it is asked", || log(ASKED) == 1);
    resolver.expire(resolver.deadline().unwrap());
    assert_eq!(resolver.next().unwrap().addresses, Err(ResolveError::TimedOut));
    resolver.ask("a.silent.test");
    sleep(Duration::from_millis(100));
    assert_eq!(log(ASKED), 1);
    wait_until("it is asked anew", || {
        assert_eq!(resolver.next(), None, "the late failure is no answer");
        log(ASKED) == 2
    });
    assert_eq!(answer(&mut resolver).addresses, Err(ResolveError::Temporary));
}

#[test]
fn threads_and_questions_are_limited_and_who_waits_too_long_is_never_asked() {
    let _server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    for number in 0..MAX_THREADS {
        resolver.ask(&format!("{number}.silent.test"));
    }
    for number in MAX_THREADS..MAX_QUESTIONS {
        resolver.ask(&format!("{number}.test"));
    }
    assert_eq!(resolve(&mut resolver, "home.test"), Err(ResolveError::Busy));
    wait_until("all are asked", || log("query[A] ") == MAX_THREADS);
    assert_eq!(threads(), MAX_THREADS);
    resolver.expire(Instant::now() + PATIENCE);
    for _ in 0..MAX_QUESTIONS {
        assert_eq!(resolver.next().unwrap().addresses, Err(ResolveError::TimedOut));
    }
    assert_eq!(resolver.next(), None);
    sleep(Duration::from_millis(100));
    assert_eq!(log("query[A] "), MAX_THREADS);
}

#[test]
fn a_name_asked_for_twice_at_once_is_one_query_and_one_answer() {
    let _server = Server::start("192.0.2.1 home.test\n192.0.2.2 other.test\n");
    let mut resolver = Resolver::start().unwrap();
    for _ in 0..20 {
        resolver.ask("home.test");
    }
    assert_eq!(answer(&mut resolver).addresses, ips(&["192.0.2.1"]));
    assert_eq!(resolve(&mut resolver, "other.test"), ips(&["192.0.2.2"]));
    assert_eq!(resolver.next(), None);
    assert_eq!((log("query[A] home.test"), log("query[AAAA] home.test")), (1, 1));
}

#[test]
fn each_question_is_asked_anew() {
    let server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    server.change("192.0.2.7 home.test\n");
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.7"]));
    server.change("");
    assert_eq!(resolve(&mut resolver, "home.test"), Err(ResolveError::NotFound));
}

#[test]
fn another_resolv_conf_is_noticed() {
    let _server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    resolv_conf("nameserver 127.0.0.7\n");
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]), "dnsmasq has all of 127.0.0.0/8");
    resolv_conf("nameserver 192.0.2.53\n");
    assert_eq!(resolve(&mut resolver, "home.test"), Err(ResolveError::Temporary), "no way there");
    resolv_conf("nameserver 127.0.0.1\n");
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    // The same thread all the time.
    assert_eq!(threads(), 1);
}

#[test]
fn the_first_sixteen_addresses_are_told_and_literals_need_no_thread() {
    let hosts: String = (1..=40).map(|n| format!("192.0.2.{n} many.test\n")).collect();
    let _server = Server::start(&hosts);
    let mut resolver = Resolver::start().unwrap();
    for literal in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(resolve(&mut resolver, literal), ips(&[literal]));
    }
    assert_eq!(threads(), 0);
    let many = resolve(&mut resolver, "many.test").unwrap();
    assert_eq!(many.len(), MAX_ADDRESSES);
    let different: std::collections::BTreeSet<_> = many.iter().collect();
    assert_eq!(different.len(), MAX_ADDRESSES);
}

#[test]
fn threads_end_when_they_have_had_nothing_to_do_and_start_again() {
    let _server = Server::start("192.0.2.1 home.test\n");
    let mut resolver = Resolver::start().unwrap();
    assert_eq!(threads(), 0);
    // The thread begins to wait somewhere between these two.
    let asked = Instant::now();
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    let answered = Instant::now();
    assert_eq!(threads(), 1);
    wait_until("the thread ends", || threads() == 0);
    assert!(asked.elapsed() >= IDLE, "{:?}", asked.elapsed());
    assert!(answered.elapsed() < IDLE * 2, "{:?}", answered.elapsed());
    assert_eq!(resolve(&mut resolver, "home.test"), ips(&["192.0.2.1"]));
    drop(resolver);
    wait_until("the thread is gone with the resolver", || threads() == 0);
}
