//! What becomes of a record that was submitted to the backplane.

use std::sync::Arc;

use crate::event_log::LogRecord;
use crate::record::Placement;

/// A record with its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The record.
    pub record: Arc<LogRecord>,
    /// Its place.
    pub placement: Placement,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a record that was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has its place.
    Placed,
    /// It had a place that was forgotten here, and was asked for.
    Told,
    /// Its earlier place was lost with a server, or may have been; this one holds.
    Moved,
    /// A rewind found it where it was.
    Kept,
}
