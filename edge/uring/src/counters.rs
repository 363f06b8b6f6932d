//! What a kernel counts. Plain numbers of the owning thread; the scraper reads a copy.

/// Totals since the kernel was created.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct RingCounters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Submission entries handed to the kernel.
    pub submitted: u64,
    /// Completions read.
    pub completions: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepts that failed.
    pub accept_failures: u64,
    /// Connections installed into slots.
    pub installed: u64,
    /// Connections that found no slot.
    pub install_refused: u64,
    /// Connections whose slot came free.
    pub closed: u64,
    /// Receive completions with bytes.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Receives that ended because no buffer was free, and were armed again.
    pub starved: u64,
    /// Sends asked for.
    pub sends: u64,
    /// Bytes that sends handed to sockets.
    pub sent_bytes: u64,
    /// Sends of which only a part fitted.
    pub sends_short: u64,
    /// Sends that found the socket full.
    pub sends_blocked: u64,
    /// Sends that failed.
    pub sends_failed: u64,
    /// Completions that named a connection which was closed meanwhile.
    pub stale_completions: u64,
    /// Times that the kernel kept completions back because the completion queue was full.
    pub overflow_flushes: u64,
    /// Writes started.
    pub writes: u64,
    /// Data syncs started.
    pub syncs: u64,
    /// Times that the kernel's caller was told it may sleep.
    pub sleeps: u64,
    /// Rings open now.
    pub rings_open: u64,
    /// Rings that could not be opened on demand.
    pub ring_open_failures: u64,
}
