//! Runs a node.
//!
//! Runs on: the main thread.

use std::path::Path;

use super::settings::load;
use crate::cli::NodeArguments;
use crate::exit::CommandError;
use crate::{server, telemetry};

/// Runs a node until it is stopped.
pub(super) fn run(file: Option<&Path>, arguments: &NodeArguments) -> Result<(), CommandError> {
    let config = load(file, arguments)?;
    telemetry::log::init(&config.log);
    server::run(config, crate::shard::launch)
}
