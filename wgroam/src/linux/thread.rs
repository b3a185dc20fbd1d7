// SPDX-License-Identifier: GPL-2.0-only
//! Threads with nobody to wait for them, straight from the C library: std's threads name themselves by a function of
//! musl's that brings printf() along, and carry what scopes and joining need, together 20 KB on MIPS
//! (docs/design/size.md).

use std::ffi::{CStr, c_void};
use std::io;
use std::{mem, ptr};

/// What a thread does, and is called.
struct Start<F> {
    name: &'static CStr,
    work: F,
}

/// Starts a thread with a stack of so many bytes, which goes when its work is done. It inherits the caller's
/// namespaces and blocked signals. `name` is what `top -H` shows of it, up to 15 bytes.
pub fn start<F: FnOnce() + Send + 'static>(name: &'static CStr, stack: usize, work: F) -> io::Result<()> {
    let start = Box::into_raw(Box::new(Start { name, work }));
    // SAFETY: all-zero bytes are a valid pthread_attr_t to initialize.
    let mut attributes: libc::pthread_attr_t = unsafe { mem::zeroed() };
    let mut thread = mem::MaybeUninit::uninit();
    // SAFETY: the attributes are initialized before they are used, and destroyed once; a stack size that is refused
    // leaves the default. The thread owns `start` from its first instruction on: run::<F> is what takes it back.
    let code = unsafe {
        libc::pthread_attr_init(&mut attributes);
        libc::pthread_attr_setstacksize(&mut attributes, stack);
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        let code = libc::pthread_create(thread.as_mut_ptr(), &attributes, run::<F>, start.cast());
        libc::pthread_attr_destroy(&mut attributes);
        code
    };
    if code != 0 {
        // SAFETY: no thread was started, so it is still ours.
        drop(unsafe { Box::from_raw(start) });
        return Err(io::Error::from_raw_os_error(code));
    }
    Ok(())
}

/// Waits for so many milliseconds; less when a signal comes. Not std's sleep(), which takes half a kilobyte.
pub fn pause(milliseconds: u16) {
    // SAFETY: of no descriptors there is nothing to point to.
    unsafe { libc::poll(ptr::null_mut(), 0, milliseconds.into()) };
}

/// Where a thread begins. A panic ends the process: it may not leave a function that C has called.
extern "C" fn run<F: FnOnce()>(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by Box::into_raw() for this thread alone.
    let start = unsafe { Box::from_raw(start.cast::<Start<F>>()) };
    // SAFETY: the name is a C string; what is too long is cut.
    unsafe { libc::prctl(libc::PR_SET_NAME, start.name.as_ptr()) };
    (start.work)();
    ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_works_under_its_name_and_frees_what_it_was_given() {
        let (send, receive) = mpsc::channel();
        start(c"a-name", 64 * 1024, move || {
            send.send(std::fs::read_to_string("/proc/thread-self/comm").unwrap()).unwrap();
        })
        .unwrap();
        assert_eq!(receive.recv().unwrap(), "a-name\n");
        assert!(receive.recv().is_err(), "the sender went with the work");
    }
}
