// SPDX-License-Identifier: GPL-2.0-only
//! What std does before its own main(), as far as it is wanted: main.rs begins without it, which saves 13 KB on MIPS.
//! Not wanted is the handler that gives an overflow of the stack a message, with a map of all threads: the guard page
//! below the stack ends the process all the same. Other faults say where they were.

use std::ffi::{CStr, OsString, c_char, c_int};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::ffi::OsStringExt;

use nix::sys::signal::{SigHandler, Signal, signal};

use super::crash;

/// Brings the process into the state that everything else expects: descriptors 0 to 2 are open, so that no socket
/// takes the place of stderr and gets its messages, SIGPIPE is ignored, so that a reader that goes away is an error of
/// write(), and a fault of our own says where it was.
pub fn begin() {
    while let Ok(file) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        if file.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        // It stays open.
        let _ = file.into_raw_fd();
    }
    // SAFETY: no handler of ours is installed. It can't fail for this signal.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    crash::announce();
}

/// Makes `$main`, which takes arguments and returns the exit code, the program: what the C library calls. A macro, since
/// the symbol has to be the program's own.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::std::ffi::c_int,
            values: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            $crate::linux::start::begin();
            // SAFETY: they are main()'s.
            let arguments = unsafe { $crate::linux::start::arguments(count, values) };
            $main(arguments.into_iter()).into()
        }
    };
}

/// The arguments of main(), the program's name among them.
///
/// # Safety
/// `values` points to so many C strings, as the C library gives them to main().
pub unsafe fn arguments(count: c_int, values: *const *const c_char) -> Vec<OsString> {
    let argument = |at| {
        // SAFETY: promised by the caller.
        let value = unsafe { CStr::from_ptr(*values.add(at)) };
        OsString::from_vec(value.to_bytes().to_vec())
    };
    (0..count as usize).map(argument).collect()
}

/// Writes to stdout. Not std's: that one keeps back what follows the last line break until std's own main() ends, and
/// has locks and buffers for what is written in one go here.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    // SAFETY: open, see begin(); and not closed here, as it is leaked again.
    let mut stdout = unsafe { File::from_raw_fd(libc::STDOUT_FILENO) };
    let written = stdout.write_all(bytes);
    let _ = stdout.into_raw_fd();
    written
}
