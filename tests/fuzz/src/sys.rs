//! Counts what a thread has allocated, so that a decoder that takes a length at its word is found.

#![expect(unsafe_code, reason = "an allocator can only be put in place so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn add(bytes: usize) {
    // A thread that ends counts no more.
    let _ended = NOW.try_with(|now| {
        now.set(now.get().saturating_add(bytes));
        let _ended = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

fn take(bytes: usize) {
    let _ended = NOW.try_with(|now| now.set(now.get().saturating_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` and gives the most bytes that this thread held meanwhile beyond those before.
pub(crate) fn most_held(work: impl FnOnce()) -> usize {
    let before = NOW.get();
    MOST.set(before);
    work();
    MOST.get().saturating_sub(before)
}
