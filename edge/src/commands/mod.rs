//! What each command does.
//!
//! Runs on: the main thread.

mod config;
mod run;
mod settings;
mod token;

use crate::cli::{Cli, Command};
use crate::exit::CommandError;

/// Runs the command that was given.
///
/// # Errors
/// Cause, cure and exit code.
pub fn execute(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        None => run::run(None, &cli.node),
        Some(Command::Run(arguments)) => run::run(arguments.config.as_deref(), &arguments.node),
        Some(Command::Token(arguments)) => token::run(&arguments),
        Some(Command::Config(command)) => config::run(&command),
    }
}

/// Prints text on standard output. A reader that has gone away is no error: `head`
/// and `less` end before everything is written.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
