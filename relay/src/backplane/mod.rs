//! Positions, publishing and history of channels.

mod sequencer;

pub use sequencer::{holds, next_epoch, Sequencer};
