//! Runs a node.
//!
//! Runs on: the main thread.

use std::path::Path;

use super::settings::load;
use crate::cli::NodeArguments;
use crate::exit::CommandError;
use crate::server::{self, Entry};
use crate::telemetry;

/// Runs a node until it is stopped.
pub(super) fn run(
    file: Option<&Path>,
    arguments: &NodeArguments,
    entry: Entry,
) -> Result<(), CommandError> {
    let config = load(file, arguments)?;
    telemetry::log::init(&config.log);
    server::run(config, entry, crate::shard::launch)
}
