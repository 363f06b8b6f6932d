//! The program `interlink-workers`: allocator, arguments, exit code.
//!
//! Runs on: the main thread.

use std::process::ExitCode;

use clap::Parser;
use interlink_workers::cli::Cli;
use interlink_workers::commands;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match commands::execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit.into()
        }
    }
}
