//! How much memory is held: with large images, and with files that were made to do harm. In a program of its own, whose
//! allocations are counted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fuzz;
mod memory;
mod mutated;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static GLOBAL: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time counts.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `work` gives, and the most bytes that were held during it beside those from before.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    GLOBAL.reset_peak_memory();
    let made = work();
    (made, GLOBAL.get_peak_memory())
}
