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
