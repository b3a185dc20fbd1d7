// SPDX-License-Identifier: GPL-2.0-only
//! One connection: a request line comes in, bytes go out as the socket takes them. Nothing waits.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{Rendering, frame};

/// The longest request, without its line end, in bytes: a command, an interface, a key and room.
pub const MAX_REQUEST: usize = 256;
/// From connect to line end.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A reader that takes nothing for so long is gone for good.
pub const STALL_TIME: Duration = Duration::from_secs(10);
/// A watcher may lag behind by so much, in bytes: about a thousand events.
pub const MAX_LAG: usize = 256 * 1024;
/// What a client may send after its request; it is thrown away.
const MAX_TAIL: usize = 4096;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its request is not complete.
    Asking,
    /// Its request waits for the daemon's answer.
    Waiting,
    /// It has its answer, or reads it.
    Answered,
    /// It gets every event.
    Watching(Rendering),
}

/// What reading or writing led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    Nothing,
    /// The request is complete.
    Request(String),
    /// The connection is of no more use.
    Gone,
}

pub struct Client {
    pub stream: UnixStream,
    pub stage: Stage,
    /// The last progress: connected, asked, took bytes.
    pub since: Instant,
    /// Told to epoll: wake us when it can be written.
    pub wants_write: bool,
    request: Vec<u8>,
    tail: usize,
    queue: Vec<u8>,
    /// Bytes of `queue` that are written.
    written: usize,
    /// Closed as soon as the queue is empty.
    close: bool,
}

impl Client {
    pub fn new(stream: UnixStream, now: Instant) -> Self {
        Self {
            stream,
            stage: Stage::Asking,
            since: now,
            wants_write: false,
            request: Vec::new(),
            tail: 0,
            queue: Vec::new(),
            written: 0,
            close: false,
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.queue.len() - self.written
    }

    /// When it is dropped if nothing happens; a watcher with nothing to read may wait for ever.
    pub fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asking => Some(self.since + REQUEST_TIME),
            _ if self.queued() > 0 => Some(self.since + STALL_TIME),
            _ => None,
        }
    }

    /// Reads what there is. A request that can't be one is answered here.
    pub fn read(&mut self, now: Instant) -> Progress {
        let mut buffer = [0; MAX_REQUEST + 1];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.end_of_input(now),
                Ok(length) if self.stage == Stage::Asking && !self.close => {
                    if let Some(outcome) = self.collect(&buffer[..length], now) {
                        return outcome;
                    }
                }
                Ok(length) => {
                    self.tail += length;
                    if self.tail > MAX_TAIL {
                        return Progress::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
    }

    /// Adds to the request. What comes after its line end is not looked at: a connection carries one request.
    fn collect(&mut self, bytes: &[u8], now: Instant) -> Option<Progress> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        self.request.extend(&bytes[..end.unwrap_or(bytes.len())]);
        if self.request.len() > MAX_REQUEST {
            self.refuse(&format!("a request has at most {MAX_REQUEST} bytes"));
            return Some(self.flush(now));
        }
        end?;
        let mut line = std::mem::take(&mut self.request);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match String::from_utf8(line) {
            Ok(line) if !line.chars().any(char::is_control) => {
                self.stage = Stage::Waiting;
                self.since = now;
                Some(Progress::Request(line))
            }
            _ => {
                self.refuse("a request is one line of text");
                Some(self.flush(now))
            }
        }
    }

    /// The client closed, or promised to send no more: `echo status | nc -NU` still waits for its answer.
    fn end_of_input(&mut self, now: Instant) -> Progress {
        if self.stage == Stage::Asking {
            if self.request.is_empty() {
                return Progress::Gone;
            }
            self.refuse("a request ends in a line break");
            return self.flush(now);
        }
        // Hang-ups and errors are reported without being asked for.
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) => Progress::Nothing,
            _ => Progress::Gone,
        }
    }

    /// Answers with an error and closes.
    pub fn refuse(&mut self, message: &str) {
        self.push(frame::header(2, message));
        self.finish();
    }

    /// Queues bytes. The first ones are taken over as they are: a status can have megabytes.
    pub fn push(&mut self, bytes: Vec<u8>) {
        if self.queued() == 0 {
            self.written = 0;
            self.queue = bytes;
        } else {
            // Moving the rest to the front pays off only when it is the smaller part.
            if self.written > self.queue.len() / 2 {
                self.queue.drain(..self.written);
                self.written = 0;
            }
            self.queue.extend(bytes);
        }
    }

    /// Nothing more is to come: closed when all is written.
    pub fn finish(&mut self) {
        self.close = true;
        self.stage = Stage::Answered;
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self, now: Instant) -> Progress {
        while self.queued() > 0 {
            match self.stream.write(&self.queue[self.written..]) {
                Ok(length) => {
                    self.written += length;
                    self.since = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
        self.queue = Vec::new();
        self.written = 0;
        if !self.close {
            return Progress::Nothing;
        }
        // What we leave unread would make the client's next read an error instead of our last words' end.
        let mut rest = [0; MAX_TAIL];
        let _ = self.stream.read(&mut rest);
        Progress::Gone
    }

    /// The process at the other end, for the log.
    pub fn pid(&self) -> i32 {
        getsockopt(&self.stream, PeerCredentials).map_or(0, |credentials| credentials.pid())
    }
}
