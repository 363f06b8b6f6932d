//! What stands between the journal of a node and the brokers of its cluster.
//!
//! Two cursors run over each log of the journal. [`Lines`] submits records to the backplane, in
//! journal order for each class and partition, one call at a time and the same records again
//! until they are placed. [`Feeder`] gives them to Kafka, in journal order for each class.
//! Records come from memory while they are recent; what does not fit is read from the journal
//! again, and so is what a server of the backplane may have lost.
//!
//! Invariants: no record is passed over; within a class and partition a record is placed after
//! everything before it in its log, and within a class it is fed so; a watermark never passes a
//! record that is not done; memory is bounded whatever brokers do.
//!
//! Time is given in microseconds since the Unix epoch. No I/O, no clock.
//! Runs on: the relay thread.

mod evidence;
mod feeder;
mod lane;
mod limits;
mod line;
mod outcome;
pub(crate) mod planted;
mod positions;
mod proving;
mod rewind;
mod sequencing;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod track;

pub use feeder::{Fed, FeedBatch, FeedCounters, Feeder};
pub use lane::{LaneId, Read};
pub use limits::{
    ASKED_MAX, ASK_WITHIN_US, BATCHES_MAX, CALL_RECORDS_MAX, POSITION_WAIT_US, READ_RECORDS,
    REWIND_US,
};
pub use outcome::{Outcome, Placed};
pub use proving::Question;
pub use sequencing::{Call, LineCounters, LineId, Lines};
