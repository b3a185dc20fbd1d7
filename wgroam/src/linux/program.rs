// SPDX-License-Identifier: GPL-2.0-only
//! Runs a program of this machine for what it prints, or becomes it. Not std's `Command`, which brings 20 KB of what nobody
//! asks for here.

use std::ffi::{CStr, CString, OsString, c_char};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Becomes the program of that name beside this one. Returns why it could not.
pub fn become_it(name: &str, arguments: Vec<OsString>) -> io::Error {
    let mut ourselves = match fs::read_link("/proc/self/exe") {
        Ok(path) => path.into_os_string().into_vec(),
        Err(error) => return error,
    };
    let name_at = ourselves.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    ourselves.truncate(name_at);
    ourselves.extend(name.as_bytes());
    let mut words = Vec::new();
    for word in [ourselves].into_iter().chain(arguments.into_iter().map(OsString::into_vec)) {
        match CString::new(word) {
            Ok(word) => words.push(word),
            Err(error) => return error.into(),
        }
    }
    let mut pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: no handler of ours is installed. It can't fail for this signal.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    // SAFETY: C strings that live until the end, and a null pointer after them.
    unsafe { libc::execv(pointers[0], pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// What the program prints, its stderr aside. None: it is not there, or fails, or prints more than so many bytes. `path` is
/// the whole of it. Waits until it ends.
pub fn output(path: &CStr, arguments: &[&CStr], max: usize) -> Option<Vec<u8>> {
    let mut words: Vec<*const c_char> = vec![path.as_ptr()];
    words.extend(arguments.iter().map(|argument| argument.as_ptr()));
    words.push(ptr::null());
    let nowhere = File::options().write(true).open("/dev/null").ok()?;
    let mut ends = [0; 2];
    // SAFETY: room for both descriptors, which are new and ours.
    let (reading, writing) = unsafe {
        Errno::result(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC)).ok()?;
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    // SAFETY: there may be other threads, so the child calls nothing but what is safe in a signal handler
    // (signal-safety(7)), and allocates nothing. The words end with a null pointer.
    let child = unsafe {
        match libc::fork() {
            0 => {
                libc::dup2(writing.as_raw_fd(), libc::STDOUT_FILENO);
                libc::dup2(nowhere.as_raw_fd(), libc::STDERR_FILENO);
                libc::execv(path.as_ptr(), words.as_ptr());
                libc::_exit(127)
            }
            child => Errno::result(child).ok()?,
        }
    };
    drop(writing);
    let mut printed = Vec::new();
    let (mut reading, mut chunk) = (File::from(reading), [0; 4096]);
    while let Ok(length @ 1..) = reading.read(&mut chunk)
        && printed.len() <= max
    {
        printed.extend_from_slice(&chunk[..length]);
    }
    // One that prints on ends with an error.
    drop(reading);
    let mut status = 0;
    // SAFETY: a child of ours, waited for once, and a valid place for its status.
    let waited = Errno::result(unsafe { libc::waitpid(child, &mut status, 0) });
    (waited.is_ok() && status == 0).then_some(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_given_back_and_a_failure_is_nothing() {
        assert_eq!(output(c"/bin/echo", &[c"a b", c"c"], 100).unwrap(), b"a b c\n");
        assert_eq!(output(c"/bin/false", &[], 100), None);
        assert_eq!(output(c"/there-is/no-such-program", &[], 100), None);
    }

    #[test]
    fn a_program_that_prints_for_ever_is_no_trap() {
        assert_eq!(output(c"/usr/bin/yes", &[], 100), None);
    }
}
