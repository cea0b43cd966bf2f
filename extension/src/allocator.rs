//! The static build's allocator: dlmalloc behind a spin lock.
//!
//! The lock of dlmalloc's own global allocator is a mutex of the C library, which takes a fifth of the CPU
//! time of a log line. Here the lock is free nearly always: one thread does all the work, and others
//! resolve host names.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    hint, process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use dlmalloc::Dlmalloc;

/// Attempts before a thread yields: its owner may wait for the CPU.
const SPINS: u32 = 100;

/// Attempts before the process aborts, after some seconds: the owner has panicked. dlmalloc does where it finds
/// its heap damaged, and the panic's own message needs memory.
const MAX_SPINS: u32 = 1 << 24;

pub(crate) struct Allocator {
    is_locked: AtomicBool,
    heap: UnsafeCell<Dlmalloc>,
}

// SAFETY: the heap is used only in `with_heap`, which holds the lock.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self { is_locked: AtomicBool::new(false), heap: UnsafeCell::new(Dlmalloc::new()) }
    }

    fn with_heap<T>(&self, act: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        let mut spins = 0;
        while self.is_locked.swap(true, Ordering::Acquire) {
            spins += 1;
            if spins == MAX_SPINS {
                process::abort();
            }
            if spins % SPINS == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
        // SAFETY: the lock makes this the only reference.
        let result = act(unsafe { &mut *self.heap.get() });
        self.is_locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: dlmalloc returns memory of the size and alignment asked for, and the caller keeps this trait's
// rules for pointers and layouts.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with_heap(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.with_heap(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.with_heap(|heap| unsafe { heap.free(memory, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.with_heap(|heap| unsafe { heap.realloc(memory, layout.size(), layout.align(), size) })
    }
}
