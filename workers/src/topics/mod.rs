//! The topics of the log: as they should be, as they are, and the way from here to there.
//!
//! - `wanted` reads `deploy/topics/topics.toml`; `plan` compares, without a broker; `cluster` asks
//!   a cluster and changes it; `print` writes tables; `census` counts what is in the topics.
//!
//! Invariants: nothing is made smaller: neither retention nor the replicas that a write needs;
//! the partition count of a topic with keys never changes, since a key's records would change
//! partition and overtake each other. What cannot be done is refused with its cure.
//! Runs on: the main thread.

mod census;
mod cluster;
mod limits;
mod plan;
mod print;
#[cfg(test)]
mod tests;
mod wanted;

pub use census::{census, Census, Count};
pub use cluster::{apply, look, Done};
pub use plan::{compare, Existing, Line, Plan, Step};
pub use wanted::{wanted, Wanted, WantedError};

/// The file of wanted topics that comes with the program.
pub const BUILT_IN: &str = include_str!("../../../deploy/topics/topics.toml");
