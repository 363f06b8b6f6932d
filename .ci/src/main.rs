//! `interlink-ci check` prints what breaks the repository's rules; `interlink-ci run` runs
//! every step of `.ci/run`.
//!
//! Runs on: the main thread; standard input is never read.

use std::process::ExitCode;

use anyhow::bail;
use interlink_ci::{checks, repository::Repository, run};

/// Said when the arguments are no command.
const USAGE: &str = "usage: interlink-ci check | run";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let passed = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check()?,
        ["run"] => run::all()?,
        _ => bail!(USAGE),
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints every violation under the name of its check.
fn check() -> anyhow::Result<bool> {
    let repository = Repository::open()?;
    let mut total = 0;
    for check in checks::ALL {
        let violations = (check.find)(&repository)?;
        if !violations.is_empty() {
            println!("{}: {}", check.name, violations.len());
            violations
                .iter()
                .for_each(|violation| println!("  {violation}"));
        }
        total += violations.len();
    }
    println!("{total} violations in {} checks", checks::ALL.len());
    Ok(total == 0)
}
