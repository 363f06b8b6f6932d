//! Tests through cargo.
//!
//! Every call names the whole workspace, so that features are the same in each and nothing is
//! built twice; what runs is chosen by the kind of target and by name.

use std::process::Command;

use anyhow::{ensure, Context};
use serde_json::Value;

use super::command::{bounded, each_line, root};
use super::counts::Counts;

/// Runs `cargo test` on the workspace and counts.
///
/// # Errors
/// When cargo does not start, or no test ran.
pub fn test(arguments: &[&str]) -> anyhow::Result<Counts> {
    let mut command = bounded("cargo");
    command
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(arguments);
    let mut counts = Counts::default();
    let succeeded = each_line(&mut command, |line| {
        if let Some(of_binary) = Counts::of_line(line) {
            counts.add(of_binary);
        } else if is_worth_reading(line) {
            println!("    {line}");
        }
    })?;
    if !succeeded && counts.failed == 0 {
        counts.failed = 1;
    }
    ensure!(
        counts.passed + counts.failed > 0,
        "no test ran; it was renamed or removed"
    );
    Ok(counts)
}

/// Whether a line of the test runner says more than that a test passed.
fn is_worth_reading(line: &str) -> bool {
    let passed = line.starts_with("test ") && line.ends_with("... ok");
    !(passed || line.is_empty() || line.starts_with("running "))
}

/// Names of the integration tests of the workspace.
///
/// # Errors
/// When cargo does not list them.
pub fn integration_tests() -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .current_dir(root())
        .args(["metadata", "--format-version=1", "--no-deps", "--locked"])
        .output()
        .context("cargo did not start")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        error.trim()
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let targets = packages
        .iter()
        .filter_map(|package| package["targets"].as_array())
        .flatten();
    let tests = targets.filter(|target| target["kind"][0] == "test");
    let mut names: Vec<String> = tests
        .filter_map(|target| target["name"].as_str())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}
