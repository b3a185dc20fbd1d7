// SPDX-License-Identifier: GPL-2.0-only
//! No secret is left in memory that was given back. In a process of its own, because it looks at every block that is freed.

#![allow(clippy::unwrap_used)] // Helpers of tests too.

#[path = "initiation/initiator.rs"]
mod initiator;

use std::alloc::{GlobalAlloc, Layout, System};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use initiator::{Initiator, label, public, shared};
use wgroam::initiation::{Responder, Verdict};
use wgroam::model::{PrivateKey, PublicKey};

const PEER: [u8; 32] = [0x22; 32];

/// What no freed block may hold. Not on the heap, so that it does not find itself.
static SECRETS: OnceLock<[[u8; 32]; 2]> = OnceLock::new();
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which looks at what it is given back. All blocks are zeroed first, so that there is something to look at.
struct Watching;

// SAFETY: everything is passed on to the system's allocator; its own realloc would free out of sight, so the trait's
// (alloc, copy, dealloc) stays.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that is asked of us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until it is freed below, `layout.size()` long, and was zeroed at first.
        let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
        if let Some(secrets) = SECRETS.get() {
            let found =
                bytes.windows(32).filter(|window| secrets.iter().any(|secret| window == secret)).count();
            FOUND.fetch_add(found, Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

#[test]
fn no_freed_memory_holds_the_private_key_or_a_shared_secret() {
    let server_key: [u8; 32] = std::array::from_fn(|index| index as u8 + 0x40);
    let peer = PublicKey(public(&PEER));
    let packet = Initiator::new(PEER, public(&server_key)).initiation(label(1000, 0));
    let others: Vec<PublicKey> = (0..5000u32)
        .map(|number| PublicKey(std::array::from_fn(|index| number.to_le_bytes()[index % 4])))
        .collect();
    let static_static = shared(&PEER, &public(&server_key));
    SECRETS.set([server_key, static_static]).unwrap();

    // The watch sees something at all.
    drop(server_key.to_vec());
    drop(static_static.to_vec());
    assert_eq!(FOUND.swap(0, Ordering::Relaxed), 2);

    let mut server = Responder::new(&PrivateKey::new(&server_key));
    server.set_peers([peer].into_iter());
    assert!(matches!(server.verify(&packet), Verdict::Authentic { .. }));
    // The secret moves into a bigger map, and stays.
    server.set_peers(others.iter().copied().chain([peer]));
    assert!(matches!(server.verify(&packet), Verdict::Replay { .. }));
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "while the peers changed");
    server.set_peers(others.iter().copied());
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "when the peer went");
    server.set_peers([peer].into_iter());
    server.verify(&packet);
    // Responders move too, into a map of interfaces for one.
    let moved = Box::new(server);
    drop(moved);
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "when the responder went");
}
