//! The program `interlink-edge`: allocator, panic policy, arguments, exit code.
//!
//! Runs on: the main thread.

use std::process::ExitCode;

use clap::Parser;
use interlink_edge::cli::Cli;
use interlink_edge::commands;
use interlink_edge::exit::Exit;
use interlink_edge::telemetry::panic;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    panic::install();
    match commands::execute(Cli::parse()) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("{error}");
            error.exit.into()
        }
    }
}
