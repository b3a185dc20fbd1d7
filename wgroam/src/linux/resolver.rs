// SPDX-License-Identifier: GPL-2.0-only
//! Names to addresses, while the loop goes on: getaddrinfo() blocks for as long as it likes, so it runs in threads.
//!
//! getaddrinfo() and not a DNS client of our own: it knows /etc/hosts, resolv.conf, search domains and the order of RFC
//! 6724 as everything else on the machine does. Both C libraries notice another resolv.conf by themselves: glibc since
//! 2.26 looks at the file before each question (resolv/resolv_conf.c), musl reads it each time (network/resolvconf.c).
//! Not std's `ToSocketAddrs`: its errors do not tell "no such name" from "ask again later".
//!
//! No name holds up another, short of [`MAX_THREADS`] that hang at the same time: a name never has more than one
//! thread, however often it is asked for.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::thread;
use crate::lists;

/// A question without an answer is answered for so long after it was asked. musl gives up after 5 s, glibc after 10 s
/// for each server that is silent.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// So many names are looked up at once.
pub const MAX_THREADS: usize = 4;

/// So many names may be asked for and not yet answered: more than a tunnel has peers with names, and 64 KB if each
/// is as long as names get.
pub const MAX_QUESTIONS: usize = 256;

/// So many addresses of a name are told, the best first.
pub const MAX_ADDRESSES: usize = 16;

/// A thread that has had nothing to do for so long ends: on a router each page counts.
pub const IDLE: Duration = Duration::from_secs(10);

/// Measured for 32 addresses of two families on x86_64: glibc 2.36 uses 16 KB of it, musl 1.2.3 7 KB. The rest is for
/// the modules of nsswitch.conf, and address space only: pages that nobody touches cost nothing.
const STACK: usize = 128 * 1024;

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name, as it was asked for.
    pub host: String,
    /// Its addresses, the best first by RFC 6724, each once. Never empty.
    pub addresses: Result<Vec<IpAddr>, ResolveError>,
}

/// Why a name has no address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The server says that there is no such name, or none with an address.
    NotFound,
    /// No server could be asked, or it failed or refused. Later it may work.
    Temporary,
    /// Nothing was heard within [`PATIENCE`].
    TimedOut,
    /// [`MAX_QUESTIONS`] are waiting already.
    Busy,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            ResolveError::NotFound => "there is no such name, or it has no address",
            ResolveError::Temporary => "no DNS server could be asked, or it failed",
            ResolveError::TimedOut => "no answer from DNS within 10 s",
            ResolveError::Busy => "too many names are asked for at once",
        })
    }
}

impl std::error::Error for ResolveError {}

/// Looks names up. Readable (edge-triggered) when there are answers: call [`Resolver::next`] until it has no more.
pub struct Resolver {
    shared: Arc<Shared>,
    /// The oldest first.
    asked: Vec<Question>,
    /// The oldest first.
    ready: Vec<Answer>,
}

/// A name that somebody waits for.
struct Question {
    host: String,
    asked: Instant,
}

/// What the threads and the loop have in common.
struct Shared {
    desk: Mutex<Desk>,
    /// There is work.
    work: Condvar,
    /// There are answers.
    answers: EventFd,
}

#[derive(Default)]
struct Desk {
    /// To be looked up, the oldest first.
    waiting: Vec<String>,
    /// Being looked up.
    running: Vec<String>,
    /// Looked up.
    done: Vec<Done>,
    threads: usize,
    /// So many of them have nothing to do.
    idle: usize,
    /// The resolver is gone: so shall the threads be.
    closed: bool,
}

/// What a thread found.
struct Done {
    host: String,
    begun: Instant,
    addresses: Result<Vec<IpAddr>, ResolveError>,
}

impl Resolver {
    /// A resolver with nothing to do: threads start with questions. They inherit the caller's namespaces and its
    /// blocked signals.
    pub fn start() -> io::Result<Self> {
        let answers = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let shared = Shared { desk: Mutex::default(), work: Condvar::new(), answers };
        Ok(Self { shared: Arc::new(shared), asked: Vec::new(), ready: Vec::new() })
    }

    /// Asks for a name. Each question gets one answer; one that is asked already is not asked twice. An address in
    /// place of a name is its own answer.
    ///
    /// A name whose lookup hangs since an earlier question keeps its thread: if that still finds addresses, they are the
    /// answer to this one too, and if it fails, it begins anew.
    pub fn ask(&mut self, host: &str) {
        if self.asked.iter().any(|question| question.host == host) {
            return;
        }
        if let Ok(address) = host.parse() {
            self.answer(host.into(), Ok(vec![address]));
            self.shared.tell();
        } else if self.asked.len() >= MAX_QUESTIONS {
            self.answer(host.into(), Err(ResolveError::Busy));
            self.shared.tell();
        } else {
            self.asked.push(Question { host: host.into(), asked: Instant::now() });
            Shared::queue(&self.shared, host.into());
        }
    }

    /// The next answer, or `None` when there is none now.
    #[allow(clippy::should_implement_trait, reason = "an end is only the end for now")]
    pub fn next(&mut self) -> Option<Answer> {
        if self.ready.is_empty() {
            self.collect();
        }
        if self.ready.is_empty() { None } else { Some(self.ready.remove(0)) }
    }

    /// When [`Resolver::expire`] is due. `None`: nobody waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.first().map(|question| question.asked + PATIENCE)
    }

    /// Gives up the questions that are too old by now; their answers are then there for [`Resolver::next`].
    pub fn expire(&mut self, now: Instant) {
        // An answer that is there is better than none.
        self.collect();
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let host = self.asked.remove(0).host;
            lists::keep(&mut self.shared.desk().waiting, |waiting| *waiting != host);
            self.answer(host, Err(ResolveError::TimedOut));
        }
    }

    fn answer(&mut self, host: String, addresses: Result<Vec<IpAddr>, ResolveError>) {
        self.ready.push(Answer { host, addresses });
    }

    /// Takes over what the threads found.
    fn collect(&mut self) {
        // First this, then the look: what is told in between is told again.
        let _ = self.shared.answers.read();
        let done = std::mem::take(&mut self.shared.desk().done);
        for Done { host, begun, addresses } in done {
            let Some(at) = self.asked.iter().position(|question| question.host == host) else {
                // Nobody waits any more.
                continue;
            };
            if addresses.is_err() && begun < self.asked[at].asked {
                // It failed, but by what the network was like before somebody asked again.
                Shared::queue(&self.shared, host);
                continue;
            }
            self.asked.remove(at);
            self.answer(host, addresses);
        }
    }
}

impl Drop for Resolver {
    /// Threads that hang go when they come back; nobody waits for them.
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.work.notify_all();
    }
}

impl AsRawFd for Resolver {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.answers.as_fd().as_raw_fd()
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // No thread leaves the desk half changed.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        // Fails only when 2^64 - 1 tellings wait.
        let _ = self.answers.write(1);
    }

    /// Has a name looked up, by a thread more if need be.
    fn queue(shared: &Arc<Self>, host: String) {
        let mut desk = shared.desk();
        if desk.running.contains(&host) || desk.waiting.contains(&host) {
            return;
        }
        desk.waiting.push(host);
        if desk.waiting.len() <= desk.idle || desk.threads == MAX_THREADS {
            shared.work.notify_one();
            return;
        }
        let worker = Arc::clone(shared);
        match thread::start(c"resolver", STACK, move || worker.work_until_idle()) {
            Ok(()) => desk.threads += 1,
            Err(error) if desk.threads == 0 => {
                log::warn!("resolver: no thread can be started: {error}");
                let (begun, addresses) = (Instant::now(), Err(ResolveError::Temporary));
                let waiting = std::mem::take(&mut desk.waiting);
                desk.done.extend(waiting.into_iter().map(|host| Done {
                    host,
                    begun,
                    addresses: addresses.clone(),
                }));
                shared.tell();
            }
            // The others will come to it.
            Err(_) => {}
        }
    }

    /// What a thread does.
    fn work_until_idle(&self) {
        let mut desk = self.desk();
        let mut until = Instant::now() + IDLE;
        while !desk.closed {
            if !desk.waiting.is_empty() {
                let host = desk.waiting.remove(0);
                desk.running.push(host.clone());
                drop(desk);
                let begun = Instant::now();
                let addresses = look_up(&host);
                desk = self.desk();
                lists::keep(&mut desk.running, |running| *running != host);
                desk.done.push(Done { host, begun, addresses });
                self.tell();
                until = Instant::now() + IDLE;
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            desk.idle += 1;
            (desk, _) = self.work.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner);
            desk.idle -= 1;
        }
        desk.threads -= 1;
    }
}

/// "No address associated with hostname". glibc's headers and musl's agree on the number; the libc crate has it for
/// one of them.
const EAI_NODATA: libc::c_int = -5;

/// Asks the C library. Blocks.
fn look_up(host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    // A NUL is in no name.
    let name = CString::new(host).map_err(|_| ResolveError::NotFound)?;
    let begun = Instant::now();
    let mut found = look_up_family(&name, libc::AF_UNSPEC);
    // For musl all has failed when a server answers for one family and refuses the other. glibc tells what it has.
    for family in [libc::AF_INET, libc::AF_INET6] {
        let again = cfg!(target_env = "musl") && found == Err(ResolveError::Temporary);
        if again && begun.elapsed() < PATIENCE {
            found = look_up_family(&name, family).map_err(|_| ResolveError::Temporary);
        }
    }
    found
}

fn look_up_family(name: &CStr, family: libc::c_int) -> Result<Vec<IpAddr>, ResolveError> {
    // SAFETY: all-zero bytes are a valid addrinfo: no flags, null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = family;
    // Else each address comes once for TCP, once for UDP, once raw.
    hints.ai_socktype = libc::SOCK_DGRAM;
    let mut first = ptr::null_mut();
    // SAFETY: name and hints are valid; the list is ours until freeaddrinfo().
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &hints, &mut first) };
    match code {
        0 => {}
        libc::EAI_NONAME | EAI_NODATA => return Err(ResolveError::NotFound),
        _ => return Err(ResolveError::Temporary),
    }
    let mut addresses = Vec::new();
    let mut entry = first;
    // SAFETY: the list that getaddrinfo() made, up to its null pointer.
    while let Some(info) = unsafe { entry.as_ref() } {
        // SAFETY: an entry's address is as its family says.
        let address = unsafe { address(info) };
        if let Some(address) = address.filter(|address| !addresses.contains(address)) {
            addresses.push(address);
        }
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
        entry = info.ai_next;
    }
    // SAFETY: made by getaddrinfo(), freed once, and nothing points into it any more.
    unsafe { libc::freeaddrinfo(first) };
    if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses) }
}

/// The address of an entry; none for a family that is neither IPv4 nor IPv6.
///
/// # Safety
/// `ai_addr` points to an address of the family that `ai_family` names.
unsafe fn address(info: &libc::addrinfo) -> Option<IpAddr> {
    match info.ai_family {
        libc::AF_INET => {
            // SAFETY: promised by the caller.
            let address = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: promised by the caller.
            let address = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}
