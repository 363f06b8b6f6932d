//! Whether the load generator still runs: scenarios with tiny numbers against the real edge.
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

/// A scenario, the length of its run, and numbers that its result must have.
struct Smoke {
    command: &'static str,
    arguments: &'static [&'static str],
    duration: &'static str,
    wanted: &'static [(&'static str, f64)],
}

const SCENARIOS: [Smoke; 9] = [
    Smoke {
        command: "run",
        arguments: &["echo", "--connections", "50"],
        duration: "1s",
        wanted: &[],
    },
    Smoke {
        command: "run",
        arguments: &["echo", "--tls", "--connections", "20"],
        duration: "1s",
        wanted: &[],
    },
    Smoke {
        command: "run",
        arguments: &["chat", "--users", "40", "--half-load", "200"],
        duration: "1s",
        wanted: &[("lost", 0.0), ("duplicated", 0.0), ("reordered", 0.0)],
    },
    Smoke {
        command: "run",
        arguments: &["idle", "--tls", "--sessions", "60"],
        duration: "1s",
        wanted: &[("lost_sessions", 0.0), ("broadcast_missed", 0.0)],
    },
    Smoke {
        command: "run",
        arguments: &[
            "storm",
            "--tls",
            "--tokens",
            "jwks",
            "--sessions",
            "100",
            "--unfinished",
            "20",
        ],
        duration: "1s",
        // One measured and one profiled round of each kind.
        wanted: &[
            ("edge_full_handshakes", 200.0),
            ("edge_resumed_handshakes", 200.0),
            ("key_set_fetches", 1.0),
        ],
    },
    Smoke {
        command: "run",
        arguments: &["rotation", "--sessions", "60", "--expiring", "10"],
        duration: "12s",
        wanted: &[
            ("dropped_sessions", 0.0),
            ("refreshes_refused", 0.0),
            ("expired_closed", 10.0),
            ("expired_wrong_codes", 0.0),
            ("certificate_old_after_new", 0.0),
            ("acked_lost", 0.0),
        ],
    },
    Smoke {
        command: "run",
        arguments: &["api", "--events", "500", "--users", "20", "--batch", "25"],
        duration: "1s",
        wanted: &[
            ("delivered", 500.0),
            ("lost", 0.0),
            ("order_violations", 0.0),
            ("duplicates", 0.0),
        ],
    },
    // The node closes them after its write timeout of 30 s.
    Smoke {
        command: "run",
        arguments: &[
            "slow",
            "--users",
            "40",
            "--half-load",
            "100",
            "--stalled",
            "5",
        ],
        duration: "1s",
        wanted: &[
            ("memory_within_plan", 1.0),
            ("durable_lost", 0.0),
            ("unreported_gaps", 0.0),
        ],
    },
    // The checker judges what SDK clients saw of a node that is killed.
    Smoke {
        command: "chaos",
        arguments: &[
            "edge-kill",
            "--nodes",
            "1",
            "--rounds",
            "1",
            "--users",
            "20",
            "--rate",
            "300",
        ],
        duration: "1s",
        wanted: &[
            ("acked_lost", 0.0),
            ("missed", 0.0),
            ("order_violations", 0.0),
            ("duplicates_in_session", 0.0),
            ("unrepaired_gaps", 0.0),
        ],
    },
];

/// Runs the scenarios; each counts as one test.
///
/// # Errors
/// When no ports are free.
pub fn run() -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    for scenario in SCENARIOS {
        match smoke(&scenario) {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("    {}: {error:#}", scenario.arguments.join(" "));
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// Runs one scenario and looks at its result.
fn smoke(scenario: &Smoke) -> anyhow::Result<()> {
    let mut command = bounded(built("interlink-bench"));
    command
        .arg(scenario.command)
        .args(scenario.arguments)
        .args(["--duration", scenario.duration, "--warm-up", "300ms"]);
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
    for (name, wanted) in scenario.wanted {
        let number = numbers
            .get(*name)
            .with_context(|| format!("the result lacks {name}"))?;
        ensure!(
            number.as_f64() == Some(*wanted),
            "{name} is {number}, not {wanted}"
        );
    }
    let words = scenario.arguments.join(" ");
    println!("    {words}: {} numbers", numbers.len());
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
