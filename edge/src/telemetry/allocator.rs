//! Statistics of the global allocator (jemalloc).
//!
//! Runs on: the control thread.

use tikv_jemalloc_ctl::{epoch, stats};

use super::counters::Kind;
use super::exposition::Exposition;
use super::names;

/// Adds the allocator's statistics. Nothing is added when the program runs on another
/// allocator, as tests of the library do.
pub fn expose(exposition: &mut Exposition) {
    // The statistics are a snapshot; advancing the epoch takes a new one.
    if epoch::advance().is_err() {
        return;
    }
    let numbers = [
        (
            names::ALLOCATOR_ALLOCATED,
            "Bytes allocated by the program.",
            stats::allocated::read(),
        ),
        (
            names::ALLOCATOR_ACTIVE,
            "Bytes in pages with allocations.",
            stats::active::read(),
        ),
        (
            names::ALLOCATOR_METADATA,
            "Bytes of the allocator's tables.",
            stats::metadata::read(),
        ),
        (
            names::ALLOCATOR_RESIDENT,
            "Bytes in memory.",
            stats::resident::read(),
        ),
        (
            names::ALLOCATOR_MAPPED,
            "Bytes of address space.",
            stats::mapped::read(),
        ),
        (
            names::ALLOCATOR_RETAINED,
            "Bytes kept for later use.",
            stats::retained::read(),
        ),
    ];
    for (name, text, value) in numbers {
        if let Ok(value) = value {
            exposition.number(name, text, Kind::Gauge, value as f64);
        }
    }
}
