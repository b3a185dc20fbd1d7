// SPDX-License-Identifier: GPL-2.0-only
//! Says where a program is when a fault of its own ends it. As routers get it (ci/cross) a panic is a bare trap, without a
//! message: it would be 43 KB on MIPS. `ci/cross where` tells the line that the address belongs to.

use std::env::consts::ARCH;
use std::ffi::{c_int, c_void};
use std::{mem, ptr};

/// What the processor, or abort(), ends a program with.
const FAULTS: [c_int; 6] =
    [libc::SIGTRAP, libc::SIGILL, libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];

/// From now on a fault leaves a line on stderr. The process ends by the signal all the same.
pub fn announce() {
    for fault in FAULTS {
        // SAFETY: all-zero bytes are a valid sigaction, without blocked signals. The handler calls only what is safe in
        // one (signal-safety(7)), and has the signature that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND;
            libc::sigaction(fault, &action, ptr::null_mut());
        }
    }
}

extern "C" fn on_fault(fault: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let mut line = Line { bytes: [0; 160], length: 0 };
    line.text(concat!(
        "wgroam: error: a fault of its own, please report it: wgroam ",
        env!("CARGO_PKG_VERSION")
    ));
    line.text(", ");
    line.text(ARCH);
    line.text(", signal ");
    line.number(fault as usize, 10);
    line.text(" at 0x");
    // SAFETY: the kernel's, see `announce`.
    line.number(unsafe { address(context) }, 16);
    line.text("\n");
    // SAFETY: initialized bytes. The signal, whose handler is gone, is blocked until this one returns, and then ends
    // the process, also where it was somebody else who sent it.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length);
        libc::raise(fault);
    }
}

/// Built without the allocator, which may be what has failed. What does not fit is left out.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Line {
    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    fn number(&mut self, number: usize, base: usize) {
        if number >= base {
            self.number(number / base, base);
        }
        let digit = number % base;
        self.text(&"0123456789abcdef"[digit..=digit]);
    }
}

/// The instruction that a signal interrupted.
///
/// # Safety
/// `context` is what the kernel gave to a signal handler.
unsafe fn address(context: *mut c_void) -> usize {
    #[cfg(target_arch = "mips")]
    {
        /// `struct ucontext` of o32 (arch/mips/include/uapi/asm), up to what is wanted; the libc crate has none.
        #[repr(C)]
        struct Context {
            flags_link_and_stack: [usize; 5],
            registers: Registers,
        }
        #[repr(C)]
        struct Registers {
            mask: u32,
            status: u32,
            pc: u64,
        }
        // SAFETY: promised by the caller.
        unsafe { (*context.cast::<Context>()).registers.pc as usize }
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm"))]
    {
        // SAFETY: promised by the caller.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let address = registers.gregs[libc::REG_RIP as usize];
        #[cfg(target_arch = "aarch64")]
        let address = registers.pc;
        #[cfg(target_arch = "arm")]
        let address = registers.arm_pc;
        address as usize
    }
    // Not known here.
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm"
    )))]
    {
        let _ = context;
        0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn look(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: it is a signal handler's.
        SEEN.store(unsafe { address(context) }, Ordering::Relaxed);
    }

    /// The kernel interrupts raise(), or what it calls: an address of code.
    #[test]
    fn the_address_is_that_of_an_instruction() {
        // SAFETY: as in announce(); nobody else uses this signal.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = look as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGURG, &action, ptr::null_mut());
            libc::raise(libc::SIGURG);
        }
        let seen = SEEN.load(Ordering::Relaxed);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let holds = |line: &&str| {
            let (from, rest) = line.split_once('-').unwrap();
            let (to, rest) = rest.split_once(' ').unwrap();
            let [from, to] = [from, to].map(|text| usize::from_str_radix(text, 16).unwrap());
            rest.starts_with("r-x") && (from..to).contains(&seen)
        };
        assert!(maps.lines().any(|line| holds(&line)), "{seen:#x} in\n{maps}");
    }

    #[test]
    fn numbers_are_written_without_the_allocator() {
        let mut line = Line { bytes: [0; 160], length: 0 };
        for (number, base) in [(0, 10), (5, 10), (160, 10), (0x41f2c8, 16), (usize::MAX, 16)] {
            line.number(number, base);
            line.text(" ");
        }
        let wanted = format!("0 5 160 41f2c8 {:x} ", usize::MAX);
        assert_eq!(std::str::from_utf8(&line.bytes[..line.length]), Ok(wanted.as_str()));
        line.text(&"x".repeat(200));
        assert_eq!(line.length, 160);
    }
}
