// SPDX-License-Identifier: GPL-2.0-only
//! A daemon with nothing but a control socket, in a folder of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use mio::{Events, Poll, Token};
use wgroam::linux::control::{Control, Rendering, Then, connect, header};

/// A folder of its own for each test, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wgroam-control-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub const BIG: usize = 2 * 1024 * 1024;

/// A daemon that echoes, answers `big` with 2 MB, and lets `watch` subscribe.
pub struct Daemon {
    stop: Arc<AtomicBool>,
    waker: mio::Waker,
    events: Arc<Mutex<Vec<String>>>,
    wakeups: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
    pub folder: Folder,
}

impl Daemon {
    pub fn start() -> Self {
        let folder = Folder::new();
        let mut poll = Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), Token(99)).unwrap();
        let mut control = Control::bind(&folder.socket()).unwrap();
        control.register(poll.registry(), Token(10)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let events = Arc::new(Mutex::new(Vec::<String>::new()));
        let wakeups = Arc::new(AtomicU32::new(0));
        let (stopped, sent, count) = (stop.clone(), events.clone(), wakeups.clone());
        let thread = thread::spawn(move || {
            let mut ready = Events::with_capacity(64);
            while !stopped.load(Ordering::Relaxed) {
                let timeout = control.deadline().map(|at| at.saturating_duration_since(Instant::now()));
                poll.poll(&mut ready, timeout).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut requests = control.expire(Instant::now());
                for event in ready.iter().filter(|event| event.token() != Token(99)) {
                    requests.extend(control.handle(event.token()));
                }
                for request in requests {
                    match request.line.as_str() {
                        "big" => {
                            let mut answer = header(0, "");
                            answer.resize(BIG, b'x');
                            control.reply(request.client, answer, Then::Close);
                        }
                        "watch" | "watch json" => {
                            control.reply(request.client, header(0, ""), Then::Keep);
                            let json = request.line.ends_with("json");
                            let rendering = if json { Rendering::Json } else { Rendering::Text };
                            control.subscribe(request.client, rendering);
                        }
                        line => control.reply(request.client, header(1, line), Then::Close),
                    }
                }
                for event in sent.lock().unwrap().drain(..) {
                    control.broadcast(event.as_bytes(), format!("{{{event}}}").as_bytes());
                }
            }
        });
        Self { stop, waker, events, wakeups, thread: Some(thread), folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.socket()
    }

    pub fn broadcast(&self, event: &str) {
        self.events.lock().unwrap().push(event.to_owned());
        self.waker.wake().unwrap();
        while !self.events.lock().unwrap().is_empty() {
            thread::yield_now();
        }
    }

    pub fn wakeups(&self) -> u32 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// Its wake-ups so far, once it has slept for a moment.
    pub fn asleep(&self) -> u32 {
        let begun = Instant::now();
        loop {
            let before = self.wakeups();
            thread::sleep(Duration::from_millis(100));
            if self.wakeups() == before {
                return before;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not sleep");
        }
    }

    /// What the daemon says to these bytes, until it closes.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = connect(&self.path()).unwrap();
        // A daemon that has refused already does not read the rest.
        let _ = stream.write_all(bytes);
        read_to_end(stream)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        let result = self.thread.take().unwrap().join();
        if !thread::panicking() {
            result.unwrap();
            assert!(!self.path().exists(), "the socket is still there");
        }
    }
}

/// All that comes; a reset after the daemon's last word is its end.
pub fn read_to_end(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    String::from_utf8(answer).unwrap()
}
