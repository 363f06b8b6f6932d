//! The disk alone: how long a record would wait for it that arrives at any time.
//!
//! Purpose: the reference of the latency of durable acks. A file whose blocks were written before
//! gets a block of a group commit every 2 ms, each followed by `fdatasync`; nothing else runs. A
//! record that arrives is in the next write and waits until that is synced, so a stall of the disk
//! counts as often as records would have met it, not as one slow sync.
//!
//! Runs on: the calling thread.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::measure::Latency;
use crate::sys;

/// What a node writes at once at 50,000 events of 128 B a second, about.
const BLOCK: usize = 32 * 1024;
const BLOCKS: usize = 1024;
/// As often as a node commits.
const COMMIT_NS: u64 = 2_000_000;
/// One record in so many nanoseconds.
const ARRIVAL_NS: u64 = 100_000;

/// Waits of records in a folder of the disk, over so many seconds.
///
/// # Errors
/// When the file cannot be written.
pub fn waits(folder: &Path, seconds: f64) -> Result<Latency> {
    let path = folder.join("bare-disk");
    let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let block = vec![0xa5; BLOCK];
    for at in 0..BLOCKS {
        file.write_all_at(&block, (at * BLOCK) as u64)?;
    }
    file.sync_all()?;
    let mut latency = Latency::default();
    let first_ns = sys::monotonic_ns();
    let end_ns = first_ns + (seconds * 1e9) as u64;
    let mut arrived_ns = first_ns;
    for at in (0..BLOCKS).cycle() {
        let begin_ns = sys::monotonic_ns();
        if begin_ns >= end_ns {
            break;
        }
        file.write_all_at(&block, (at * BLOCK) as u64)?;
        file.sync_data()?;
        let synced_ns = sys::monotonic_ns();
        arrived_ns = record(&mut latency, arrived_ns, begin_ns, synced_ns);
        let next_ns = begin_ns + COMMIT_NS;
        std::thread::sleep(Duration::from_nanos(next_ns.saturating_sub(synced_ns)));
    }
    drop(std::fs::remove_file(path));
    Ok(latency)
}

/// Records that arrived from `arrived_ns` until a write began wait until it is synced; returns
/// when the next one arrives.
fn record(latency: &mut Latency, mut arrived_ns: u64, begin_ns: u64, synced_ns: u64) -> u64 {
    while arrived_ns < begin_ns {
        latency.record_from(arrived_ns, synced_ns);
        arrived_ns += ARRIVAL_NS;
    }
    arrived_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_every_record_that_meets_it() {
        let mut latency = Latency::default();
        // One write of 1 ms; during the next one, of 99 ms, 980 records arrive for the third.
        let next = record(&mut latency, 0, 2_000_000, 3_000_000);
        assert_eq!(next, 2_000_000);
        let next = record(&mut latency, next, 4_000_000, 100_000_000);
        record(&mut latency, next, 100_000_000, 101_000_000);
        let (p1, p50) = (latency.percentile_ms(1.0), latency.percentile_ms(50.0));
        assert!(p1 < 3.0 && p50 > 45.0 && p50 < 55.0, "{p1} {p50}");
        assert!(latency.percentile_ms(100.0) > 97.0);
    }

    #[test]
    fn the_disk_is_asked_and_the_file_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let latency = waits(folder.path(), 0.05).unwrap();
        assert!(latency.percentile_ms(100.0) > 0.0);
        assert!(!folder.path().join("bare-disk").exists());
    }
}
