//! The topics of a stand, made by the product's own tool.
//!
//! One broker gets the profile `single`. Three get replicated topics of few partitions: the sizes
//! of the profile `production` are made for machines of their own.
//!
//! Runs on: the bench's main thread.

use crate::scenarios::bench::Bench;
use crate::servers::edge::find_binary;
use crate::stand::Server;
use anyhow::{ensure, Context, Result};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The wanted topics, seen from the repository's root.
const TOPICS: &str = "deploy/topics/topics.toml";
/// Name of the tool's binary beside the edge's.
const TOOL: &str = "interlink-workers";
/// Partitions of each topic on three brokers.
const PARTITIONS: u32 = 6;

/// The tool's binary, beside the edge's.
pub fn find_tool(bench: &Bench) -> Result<PathBuf> {
    let edge = find_binary(bench.options.edge_binary.as_deref())?;
    let tool = edge.with_file_name(TOOL);
    ensure!(
        tool.is_file(),
        "{} does not exist: build it (cargo build --release -p interlink-workers)",
        tool.display()
    );
    Ok(tool)
}

/// Makes the topics on these brokers.
pub fn apply(bench: &Bench, brokers: &[Server]) -> Result<()> {
    let tool = find_tool(bench)?;
    let addresses: Vec<String> = brokers
        .iter()
        .map(|each| each.address.to_string())
        .collect();
    let mut command = Command::new(tool);
    command
        .args(["topics", "apply", "--brokers", &addresses.join(",")])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if brokers.len() > 1 {
        let text = std::fs::read_to_string(TOPICS)
            .with_context(|| format!("reading {TOPICS}: run from the root of the repository"))?;
        let file = bench.folder().join("topics.toml");
        std::fs::write(&file, text + &replicated()).context("writing the wanted topics")?;
        command
            .arg("--topics")
            .arg(file)
            .args(["--profile", "bench"]);
    } else {
        command.args(["--profile", "single"]);
    }
    let status = command.status().context("making the topics")?;
    ensure!(status.success(), "the topics were not made; see above");
    Ok(())
}

/// A profile for three brokers on one machine.
fn replicated() -> String {
    let mut text = String::new();
    for class in ["high", "standard", "batch"] {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[profiles.bench.{class}]\npartitions = {PARTITIONS}\nreplication = 3\n\
             min_insync = 2\nretention_hours = 6\n"
        );
    }
    text
}
