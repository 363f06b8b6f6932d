//! Bounds of topics, each with its reason.

use std::time::Duration;

/// Most partitions of a topic: more than any profile needs, and far from what a broker with
/// default settings can hold.
pub const PARTITIONS_MAX: u32 = 1_000;

/// Most replicas of a partition; beyond seven every write waits for more disks than can help.
pub const REPLICATION_MAX: u32 = 7;

/// Longest retention in hours: a year. Longer is the archive's work.
pub const RETENTION_HOURS_MAX: u64 = 366 * 24;

/// How long a cluster may take for one request; creating 100 partitions on three busy brokers
/// takes a few seconds.
pub const REQUEST_WAIT: Duration = Duration::from_secs(20);

/// Events that a census tells apart, 16 bytes each: some 200 MB.
pub const CENSUS_EVENTS_MAX: usize = 5_000_000;

/// How long a census waits for a record that is there; a broker under load may be slow.
pub const CENSUS_SILENCE_MAX: Duration = Duration::from_secs(30);

/// One wait for a record.
pub const POLL_WAIT: Duration = Duration::from_millis(100);
