//! `interlink-bench`: load generator, scenarios and results of Interlink.
//!
//! The bench speaks the wire as any client and never links the server. See `README.md` for the
//! scenarios and `SPECIFICATION.md` for the published numbers.
//!
//! Runs on: one thread, pinned to the generator's core.

mod bare;
mod cli;
mod compare;
mod engine;
mod limits;
mod measure;
mod progress;
mod report;
mod scenarios;
mod servers;
mod stats;
mod sys;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Command, Scenario};
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run { scenario } => run(&scenario),
        Command::List => {
            list();
            Ok(())
        }
        Command::Compare { before, after } => {
            print!(
                "{}",
                compare::render(&report::read(&before)?, &report::read(&after)?)
            );
            Ok(())
        }
        Command::Report { results, html } => {
            let results = results.iter().map(|path| report::read(path));
            write_page(&html, &results.collect::<Result<Vec<_>>>()?)
        }
        Command::BareExchange { listen, script } => {
            bare::exchange::run(bare::exchange::ExchangeConfig { listen, script })
        }
        Command::BarePush {
            listen,
            sockets,
            bytes_in,
            bytes_out,
        } => bare::push::run(bare::push::PushConfig {
            listen,
            sockets,
            bytes_in,
            bytes_out,
        }),
    }
}

fn run(scenario: &Scenario) -> Result<()> {
    let report = scenarios::run(scenario)?;
    let options = scenario.options();
    if !options.quiet {
        eprint!("{}:\n{}", scenario.name(), report::table::render(&report));
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if let Some(path) = &options.html {
        write_page(path, &[report.object()])?;
    }
    Ok(())
}

fn write_page(path: &Path, results: &[serde_json::Map<String, serde_json::Value>]) -> Result<()> {
    std::fs::write(path, report::html::page(results))
        .with_context(|| format!("writing {}", path.display()))
}

fn list() {
    for (name, definition, goals) in scenarios::DEFINITIONS {
        println!("{name}\n    {definition}.\n    Goals: {goals}.");
    }
}
