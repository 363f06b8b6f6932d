//! Bounds of a hand-over, each with its reason.
//!
//! Runs on: any thread; these are constants.

use std::time::Duration;

/// Time for the first word of whoever connects, so that nobody else is kept waiting.
pub const ASK_PATIENCE: Duration = Duration::from_secs(5);

/// Time for a successor from its sockets to its readiness to wait: it reads its configuration,
/// keys and certificates. The predecessor serves meanwhile.
pub const PREPARE_PATIENCE: Duration = Duration::from_secs(60);

/// Time for the predecessor to give up its journal once everything is settled: it writes the
/// indexes of at most two segments a shard.
pub const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Time for a successor from the lock to serving: recovery of a journal of 8 GiB takes at most
/// 10 s. Clients that are sent away before would find nobody.
pub const RECOVER_PATIENCE: Duration = Duration::from_secs(60);

/// Time for the lock of the data directory to come free once its holder is gone: the kernel
/// ends a killed process within milliseconds.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often a held lock is tried.
pub const LOCK_RETRY: Duration = Duration::from_millis(1);
