//! What entries take in memory, counted by the allocator.
#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one only counts, for the thread that asks")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use super::*;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Gone while its thread ends; nobody looks then.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENTRIES: u64 = 200_000;

/// The live bytes of a store with this many entries of 100 bytes and keys of 16, written in batches of 100.
fn live_bytes(recent_bytes_max: usize, key: impl Fn(u64) -> u64) -> isize {
    let before = LIVE.get();
    let store = Store::new(empty_base(), 1_000_000, recent_bytes_max);
    for lsn in 0..ENTRIES / 100 {
        let put = |n: u64| Action::Put {
            collection: "entries".to_owned(),
            key: format!("{:016x}", key(lsn * 100 + n)).into(),
            value: vec![7; 100].into(),
        };
        store.apply(batch(&store, &[], (0..100).map(put).collect()));
    }
    LIVE.get() - before
}

#[test]
fn a_million_entries_of_100_bytes_stay_under_200_mib_with_recent_batches() {
    const RECENT: usize = 16 << 20;
    for (order, key) in [
        ("ascending", (|n| n) as fn(u64) -> u64),
        ("random", |n| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ("descending", |n| u64::MAX - n),
    ] {
        let table = live_bytes(0, key);
        let recent = live_bytes(RECENT, key) - table;
        // Trees grow in proportion; the recent batches do not.
        let million = table * (1_000_000 / ENTRIES) as isize;
        println!("{order}: {} MiB of entries, {} MiB of recent batches", million >> 20, recent >> 20);
        assert!(million + recent < 200 << 20, "{order}: {million} and {recent}");
        assert!(recent < (RECENT + RECENT / 4) as isize, "{order}: {recent}");
    }
}
