// SPDX-License-Identifier: GPL-2.0-only
//! The attacker of the lab: sends a WireGuard port what an attacker can send who knows both public keys and has
//! overheard some initiations. A bounded number of packets at a bounded rate; nothing is ever received.
//! It also plays a peer whose clock is ahead, for one initiation.

#![allow(clippy::unwrap_used)] // A tool for tests: where its own making of packets fails, a panic is right.

#[path = "../tests/initiation/initiator.rs"]
mod initiator;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use initiator::{Initiator, LENGTH, MAC1, Noise, label, public, sign};
use lexopt::{Arg, ValueExt};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use wgroam::model::PublicKey;

const USAGE: &str = "\
usage: hostile --to ADDRESS:PORT --server-key KEY --peer-key KEY [--count N] [--rate N]
               [--replay FILE] [--spoof ADDRESS]
       hostile --stranger --to ADDRESS:PORT --server-key KEY [--spoof ADDRESS]
       hostile --wrong-server --to ADDRESS:PORT --server-key KEY [--spoof ADDRESS]
       hostile --private-key FILE --ahead SECONDS --port N --to ADDRESS:PORT --server-key KEY

Sends hostile UDP packets to a WireGuard port, of each class the same number: random bytes, a single byte,
initiations with a wrong mac1, garbage with the right mac1, forgeries that claim to be the peer,
initiations of a stranger, and (with --replay) overheard initiations. Prints one line of JSON at the end.

  --to ADDRESS:PORT  where the server listens
  --server-key KEY   its public key
  --peer-key KEY     the public key of a peer that it has
  --count N          packets in all (default 10000)
  --rate N           packets per second (default 1000)
  --replay FILE      initiations overheard, 148 bytes each, one after the other
  --spoof ADDRESS    send from this address, though it is not ours (IPv4 or IPv6, needs root)
  --stranger         send one initiation of a key that nobody knows, and print that key
  --wrong-server     send one initiation that was made for another server, and print that server's key
  --private-key FILE send one initiation of a peer's, whose private key this is, in base64
  --ahead SECONDS    how far that peer's clock is ahead
  --port N           the UDP port from which the peer sends
";

/// What the command line says.
struct Options {
    mode: Mode,
    to: SocketAddr,
    server: [u8; 32],
    count: u64,
    rate: u32,
    spoof: Option<IpAddr>,
    port: u16,
}

enum Mode {
    Mix { peer: [u8; 32], overheard: Vec<[u8; LENGTH]> },
    Stranger,
    WrongServer,
    Peer { private: [u8; 32], ahead: u64 },
}

/// The packets of the mix, in the order in which they take turns.
const CLASSES: [&str; 7] =
    ["random", "one_byte", "wrong_mac1", "garbage", "false_claim", "stranger", "replay"];

fn main() -> ExitCode {
    let options = match options(std::env::args_os()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("hostile: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
    let (mut to, mut server, mut peer, mut spoof) = (None, None, None, None);
    let (mut count, mut rate) = (10_000, 1_000);
    let (mut overheard, mut stranger, mut wrong_server) = (Vec::new(), false, false);
    let (mut private, mut ahead, mut port) = (None, 0, 0);
    let mut parser = lexopt::Parser::from_iter(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("to") => to = Some(parser.value()?.parse()?),
            Arg::Long("server-key") => server = Some(parser.value()?.parse::<PublicKey>()?.0),
            Arg::Long("peer-key") => peer = Some(parser.value()?.parse::<PublicKey>()?.0),
            Arg::Long("count") => count = parser.value()?.parse()?,
            Arg::Long("rate") => {
                rate = parser.value()?.parse_with(|text| match text.parse() {
                    Ok(0) | Err(_) => Err("a rate is a whole number above 0"),
                    Ok(rate) => Ok(rate),
                })?;
            }
            Arg::Long("replay") => overheard = recorded(parser.value()?)?,
            Arg::Long("spoof") => spoof = Some(parser.value()?.parse()?),
            Arg::Long("stranger") => stranger = true,
            Arg::Long("wrong-server") => wrong_server = true,
            Arg::Long("private-key") => private = Some(private_key(parser.value()?)?),
            Arg::Long("ahead") => ahead = parser.value()?.parse()?,
            Arg::Long("port") => port = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    let mode = match (stranger, wrong_server, peer, private) {
        (true, false, None, None) => Mode::Stranger,
        (false, true, None, None) => Mode::WrongServer,
        (false, false, Some(peer), None) => Mode::Mix { peer, overheard },
        (false, false, None, Some(private)) => Mode::Peer { private, ahead },
        _ => return Err("give one of --peer-key, --stranger, --wrong-server and --private-key".into()),
    };
    let to: SocketAddr = to.ok_or("--to is missing")?;
    let server = server.ok_or("--server-key is missing")?;
    if spoof.is_some_and(|from: IpAddr| from.is_ipv4() != to.is_ipv4()) {
        return Err("--spoof and --to are of different families".into());
    }
    Ok(Some(Options { mode, to, server, count, rate, spoof, port }))
}

/// A private key has the same form as a public one.
fn private_key(file: OsString) -> Result<[u8; 32], lexopt::Error> {
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.to_string_lossy()))?;
    Ok(text.trim().parse::<PublicKey>().map_err(|error| format!("--private-key: {error}"))?.0)
}

fn recorded(file: OsString) -> Result<Vec<[u8; LENGTH]>, lexopt::Error> {
    let bytes =
        std::fs::read(&file).map_err(|error| format!("--replay: {}: {error}", file.to_string_lossy()))?;
    let (packets, rest) = bytes.as_chunks();
    if packets.is_empty() || !rest.is_empty() {
        return Err("--replay: the file is no row of initiations of 148 bytes".into());
    }
    Ok(packets.to_vec())
}

fn run(options: Options) -> io::Result<String> {
    let socket = open(options.to, options.spoof, options.port)?;
    let one = |initiator: &Initiator, key: [u8; 32], name| {
        socket.send_to(&initiator.initiation(now(0)), options.to)?;
        Ok(format!(r#"{{"to":"{}","sent":1,"{name}":"{}"}}"#, options.to, PublicKey(key)))
    };
    match options.mode {
        Mode::Stranger => {
            let private = fresh_private_key();
            one(&Initiator::new(private, options.server), public(&private), "stranger")
        }
        Mode::WrongServer => {
            let server = public(&fresh_private_key());
            one(&Initiator::new(fresh_private_key(), server), server, "wrong_server")
        }
        Mode::Peer { private, ahead } => {
            let initiation = Initiator::new(private, options.server).initiation(now(ahead));
            socket.send_to(&initiation, options.to)?;
            Ok(format!(r#"{{"to":"{}","sent":1,"ahead":{ahead}}}"#, options.to))
        }
        Mode::Mix { peer, overheard } => {
            let attacker = Attacker::new(options.server, peer, overheard);
            attack(&socket, options.to, options.count, options.rate, attacker)
        }
    }
}

/// A UDP socket that sends from a port of ours (0: any), or from an address that is not ours: IP_TRANSPARENT lets a socket
/// bind to it and the routing believe it (ip(7)).
fn open(to: SocketAddr, spoof: Option<IpAddr>, port: u16) -> io::Result<UdpSocket> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    if spoof.is_some() {
        // An IPv6 socket has the same flag and takes the same option.
        setsockopt(&fd, sockopt::IpTransparent, &true)?;
    }
    let from = SocketAddr::new(spoof.unwrap_or(any), port);
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(from))?;
    Ok(fd.into())
}

/// Sends the mix and says what was sent. A packet that the network refuses (an ICMP error for an earlier one, a
/// full queue) is counted as failed, and the attack goes on.
fn attack(
    socket: &UdpSocket,
    to: SocketAddr,
    count: u64,
    rate: u32,
    mut attacker: Attacker,
) -> io::Result<String> {
    let classes = CLASSES.len() - usize::from(attacker.overheard.is_empty());
    let (mut sent, mut failed) = ([0u64; CLASSES.len()], 0);
    let start = Instant::now();
    for number in 0..count {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        // Short sleeps are inexact: sleep when it is worth it, and catch up in small bursts.
        let ahead = due.saturating_sub(start.elapsed());
        if ahead > Duration::from_millis(2) {
            sleep(ahead);
        }
        let class = (number % classes as u64) as usize;
        match socket.send_to(&attacker.packet(class), to) {
            Ok(_) => sent[class] += 1,
            Err(_) => failed += 1,
        }
    }
    let each: Vec<String> =
        CLASSES.iter().zip(sent).map(|(name, count)| format!(r#""{name}":{count}"#)).collect();
    let total: u64 = sent.iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!(
        r#"{{"to":"{to}","sent":{total},"failed":{failed},"seconds":{seconds:.3},"classes":{{{}}}}}"#,
        each.join(",")
    ))
}

struct Attacker {
    noise: Noise,
    server: [u8; 32],
    /// Made once: an initiation costs snow three DH, and few machines make thousands in a second.
    claims: Vec<[u8; LENGTH]>,
    strangers: Vec<[u8; LENGTH]>,
    overheard: Vec<[u8; LENGTH]>,
}

impl Attacker {
    fn new(server: [u8; 32], peer: [u8; 32], overheard: Vec<[u8; LENGTH]>) -> Self {
        let make = |initiator: Initiator| (0..64).map(|_| initiator.initiation(now(0))).collect();
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self {
            noise: Noise(seed),
            server,
            claims: make(Initiator::claiming(peer, server)),
            strangers: make(Initiator::new(fresh_private_key(), server)),
            overheard,
        }
    }

    /// A packet of one of the [`CLASSES`].
    fn packet(&mut self, class: usize) -> Vec<u8> {
        let number = self.noise.number();
        let pick = |list: &[[u8; LENGTH]]| list[number as usize % list.len()];
        let packet = match CLASSES[class] {
            "random" => {
                let mut packet = [0; LENGTH];
                self.noise.fill(&mut packet);
                packet
            }
            "one_byte" => return vec![number as u8],
            "wrong_mac1" => {
                let mut packet = pick(&self.claims);
                self.noise.fill(&mut packet[MAC1..MAC1 + 16]);
                packet
            }
            "garbage" => self.noise.signed_garbage(&self.server),
            "false_claim" => self.under_another_index(pick(&self.claims)),
            "stranger" => self.under_another_index(pick(&self.strangers)),
            _ => pick(&self.overheard),
        };
        packet.to_vec()
    }

    /// Only mac1 covers the sender's index, so one initiation can be made into many that differ.
    fn under_another_index(&mut self, mut packet: [u8; LENGTH]) -> [u8; LENGTH] {
        self.noise.fill(&mut packet[4..8]);
        sign(&mut packet, &self.server);
        packet
    }
}

/// The time by a clock that is so many seconds ahead.
fn now(ahead: u64) -> [u8; 12] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    label(since.as_secs() + ahead, since.subsec_nanos())
}

fn fresh_private_key() -> [u8; 32] {
    let pattern = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
    snow::Builder::new(pattern).generate_keypair().unwrap().private.try_into().unwrap()
}
