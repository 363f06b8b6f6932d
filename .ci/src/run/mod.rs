//! What a change must pass, in one order.
//!
//! Invariants: every step is named, timed and counted; one that could not run counts as failed;
//! the last line of the output is `N passed, N failed` and nothing else.
//!
//! Limits: 15 minutes a step; `RUN_TIME_MAX` for all.
//!
//! Runs on: the main thread; each program that it starts gets an empty standard input.

mod autobahn;
mod bench;
mod cargo;
mod command;
mod counts;
mod edge;
mod python;
mod stand;
mod steps;

use std::time::{Duration, Instant};

use crate::limits::RUN_TIME_MAX;
use counts::Counts;

/// One thing that a change must pass.
struct Step {
    title: &'static str,
    /// Whether it needs the programs that the build step makes.
    needs_build: bool,
    run: fn() -> anyhow::Result<Counts>,
}

/// How a step went.
struct Outcome {
    title: &'static str,
    counts: Counts,
    took: Duration,
}

/// Runs all steps and prints the table; says whether everything passed.
///
/// # Errors
/// None: whatever goes wrong in a step is a failure of that step.
pub fn all() -> anyhow::Result<bool> {
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut is_built = false;
    for step in steps::ALL {
        println!("\n==> {}", step.title);
        let began = Instant::now();
        let result = if step.needs_build && !is_built {
            Err(anyhow::anyhow!("not run, because the build failed"))
        } else {
            (step.run)()
        };
        is_built |= std::ptr::fn_addr_eq(step.run, steps::build as fn() -> _) && result.is_ok();
        let outcome = judge(step.title, result, began.elapsed());
        println!("    {}", line(&outcome));
        outcomes.push(outcome);
    }
    Ok(summary(&outcomes, started.elapsed()))
}

/// Turns an error into a failure.
fn judge(title: &'static str, result: anyhow::Result<Counts>, took: Duration) -> Outcome {
    let counts = result.unwrap_or_else(|error| {
        println!("    {error:#}");
        Counts {
            passed: 0,
            failed: 1,
        }
    });
    Outcome {
        title,
        counts,
        took,
    }
}

/// A line of the table.
fn line(outcome: &Outcome) -> String {
    let Counts { passed, failed } = outcome.counts;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = outcome.took.as_secs_f64();
    format!(
        "{word:6} {:32} {seconds:7.1} s {passed:6} passed {failed:4} failed",
        outcome.title
    )
}

/// Prints the table and the last line.
fn summary(outcomes: &[Outcome], took: Duration) -> bool {
    println!("\n==> summary");
    let mut total = Counts::default();
    for outcome in outcomes {
        println!("    {}", line(outcome));
        total.add(outcome.counts);
    }
    println!("    all steps took {:.1} s", took.as_secs_f64());
    if took > RUN_TIME_MAX {
        println!(
            "    that is above {} s on this machine",
            RUN_TIME_MAX.as_secs()
        );
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}
