//! `interlink-bench`: load generator, scenarios and results of Interlink.
//!
//! The bench speaks the wire as any client and never links the server. See `README.md` for the
//! scenarios and `SPECIFICATION.md` for the published numbers.
//!
//! Runs on: one thread, pinned to the generator's core; clients of chaos runs on a second one.

mod bare;
mod chaos;
mod cli;
mod cluster;
mod compare;
mod engine;
mod limits;
mod measure;
mod progress;
mod proxy;
mod report;
mod scenarios;
mod servers;
mod stand;
mod stats;
mod sys;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Command, RunOptions};
use report::Report;
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
        Command::Run { scenario } => {
            let report = scenarios::run(&scenario)?;
            publish(scenario.name(), scenario.options(), &report)
        }
        Command::Cluster { scenario } => {
            let report = cluster::run(&scenario)?;
            publish(scenario.name(), scenario.options(), &report)
        }
        Command::Chaos { scenario } => {
            let report = chaos::run(&scenario)?;
            publish(scenario.name(), &scenario.options().run, &report)
        }
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
        Command::FaultProxy { listen, target } => proxy::control::run(listen, target),
        Command::StandGuard { program, directory } => stand::guard(&program, &directory),
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

/// Hands a result out in all wanted forms.
fn publish(name: &str, options: &RunOptions, report: &Report) -> Result<()> {
    if !options.quiet {
        eprint!("{name}:\n{}", report::table::render(report));
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

/// Name, definition and goals of a scenario.
type Definition = (&'static str, &'static str, &'static str);

fn list() {
    let commands: [(&str, &[Definition]); 3] = [
        ("run", &scenarios::DEFINITIONS),
        ("cluster", &cluster::DEFINITIONS),
        ("chaos", &chaos::DEFINITIONS),
    ];
    for (command, definitions) in commands {
        for (name, definition, goals) in definitions {
            println!("{command} {name}\n    {definition}.\n    Goals: {goals}.");
        }
    }
}
