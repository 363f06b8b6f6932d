//! Statistics of the global allocator (jemalloc).
//!
//! Runs on: the control thread.

use tikv_jemalloc_ctl::{epoch, stats};

use super::counters::Kind::Gauge;
use super::exposition::Exposition;
use super::metric::Metric;
use super::names;

/// The metrics of the allocator, in the order of their values.
pub const METRICS: [Metric; 6] = [
    Metric::number(
        names::ALLOCATOR_ALLOCATED,
        "Bytes that the program has allocated.",
        Gauge,
        "it grows while sessions do not",
    ),
    Metric::number(
        names::ALLOCATOR_ACTIVE,
        "Bytes in pages that hold allocations.",
        Gauge,
        "far above allocated: fragmentation",
    ),
    Metric::number(
        names::ALLOCATOR_METADATA,
        "Bytes of the allocator's own tables.",
        Gauge,
        "",
    ),
    Metric::number(
        names::ALLOCATOR_RESIDENT,
        "Bytes of the allocator that are in memory.",
        Gauge,
        "",
    ),
    Metric::number(
        names::ALLOCATOR_MAPPED,
        "Bytes of address space that the allocator holds.",
        Gauge,
        "",
    ),
    Metric::number(
        names::ALLOCATOR_RETAINED,
        "Bytes of address space that the allocator keeps for later use.",
        Gauge,
        "",
    ),
];

/// Adds the allocator's statistics. Nothing is added when the program runs on another
/// allocator, as tests of the library do.
pub fn expose(exposition: &mut Exposition) {
    // The statistics are a snapshot; advancing the epoch takes a new one.
    if epoch::advance().is_err() {
        return;
    }
    let values = [
        stats::allocated::read(),
        stats::active::read(),
        stats::metadata::read(),
        stats::resident::read(),
        stats::mapped::read(),
        stats::retained::read(),
    ];
    for (metric, value) in METRICS.iter().zip(values) {
        if let Ok(value) = value {
            exposition.number(metric, value as f64);
        }
    }
}
