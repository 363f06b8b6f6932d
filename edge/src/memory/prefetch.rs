//! Asks the processor for memory that will be read soon.
//!
//! Purpose: a message touches a dozen records of its user, which at many users lie in no cache.
//! One after the other each costs a wait for main memory; asked for together they cost one.
//!
//! `unsafe` stands here because the processor's instruction takes a raw address.
//!
//! Source: Intel 64 and IA-32 Optimization Reference Manual, "Prefetch"; the instruction reads
//! nothing that a program can observe and never faults.
//!
//! Runs on: any thread.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for every cache line of `value`, without waiting. Does nothing where the processor has
/// no such instruction.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for line in (0..size_of_val(value)).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
            // SAFETY: the address lies within `value`; the instruction only hints.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (start, line);
    }
}
