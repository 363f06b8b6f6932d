//! The test stand: real servers for the tests that need them.
//!
//! Tests find it by `target/stand/stand.json` and fail without it. It is stopped by a step of its
//! own, which runs whatever happened before; what a killed run left is stopped before the start.

use anyhow::Context;
use serde_json::Value;

use super::command::{bounded, built, pass, root};
use super::counts::{Counts, ONE};

/// The program, from the repository's folder.
const STAND: &str = "deploy/stand/stand";

/// Where it says what it started.
const STARTED: &str = "target/stand/stand.json";

/// Starts the parts that tests need, afresh, and makes the topics of the log.
///
/// # Errors
/// When a server cannot be had or does not become ready, or a topic cannot be made; the programs
/// say why.
pub fn up() -> anyhow::Result<Counts> {
    pass(bounded(STAND).arg("down"))?;
    pass(bounded(STAND).arg("up"))?;
    let broker = broker()?;
    let apply = ["topics", "apply", "--profile", "single", "--brokers"];
    pass(bounded(built("interlink-workers")).args(apply).arg(broker))?;
    Ok(ONE)
}

/// The address of the stand's Kafka.
fn broker() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join(STARTED)).context(STARTED)?;
    let started: Value = serde_json::from_str(&text).context(STARTED)?;
    let address = started["kafka"]["brokers"][0]["address"].as_str();
    Ok(address.context("the stand started no Kafka")?.to_owned())
}

/// Stops everything.
///
/// # Errors
/// When a server cannot be stopped.
pub fn down() -> anyhow::Result<Counts> {
    pass(bounded(STAND).arg("down"))?;
    Ok(ONE)
}
