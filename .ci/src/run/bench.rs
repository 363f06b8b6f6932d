//! Whether the load generator still runs: two scenarios with tiny numbers against the real edge.
//!
//! It proves that both speak with each other and that nothing is lost; times measured beside a
//! build, in the dev profile and within seconds mean nothing and are not looked at.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{ensure, Context};
use serde_json::Value;

use super::command::{bounded, built, each_line};
use super::counts::Counts;

/// Ports of the servers, four in a row each; apart from those that the bench takes by itself.
const PORTS: std::ops::Range<u16> = 7_600..7_700;

/// A scenario and numbers of its result that must be zero.
const SCENARIOS: [(&[&str], &[&str]); 2] = [
    (&["echo", "--connections", "50"], &[]),
    (
        &["chat", "--users", "40", "--half-load", "200"],
        &["lost", "duplicated", "reordered"],
    ),
];

/// Runs the scenarios; each counts as one test.
///
/// # Errors
/// When no ports are free.
pub fn run() -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    for (scenario, zeros) in SCENARIOS {
        match smoke(scenario, zeros) {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("    {}: {error:#}", scenario[0]);
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// Runs one scenario and looks at its result.
fn smoke(scenario: &[&str], zeros: &[&str]) -> anyhow::Result<()> {
    let mut command = bounded(built("interlink-bench"));
    command
        .arg("run")
        .args(scenario)
        .args(["--duration", "1s", "--warm-up", "300ms"]);
    command.args([
        "--repeat",
        "1",
        "--quiet",
        "--json",
        "-",
        "--port",
        &free_ports()?.to_string(),
    ]);
    command.arg("--edge-binary").arg(built("interlink-edge"));
    let mut output = String::new();
    let succeeded = each_line(&mut command, |line| output.push_str(line))?;
    ensure!(succeeded, "ended without success");
    let result: Value = serde_json::from_str(&output).context("standard output is no JSON")?;
    let numbers = result.as_object().context("the result is no object")?;
    ensure!(!numbers.is_empty(), "the result is empty");
    for zero in zeros {
        let number = numbers
            .get(*zero)
            .with_context(|| format!("the result lacks {zero}"))?;
        ensure!(number.as_f64() == Some(0.0), "{zero} is {number}, not 0");
    }
    println!("    {}: {} numbers", scenario[0], numbers.len());
    Ok(())
}

/// The first of four ports in a row that nobody listens on.
fn free_ports() -> anyhow::Result<u16> {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    PORTS
        .step_by(4)
        .find(|&first| (first..first + 4).all(is_free))
        .with_context(|| format!("no four ports of {PORTS:?} are free; end what listens there"))
}
