//! What each command does.
//!
//! Runs on: the main thread.

mod config;
mod conformance;
mod connect;
mod demo;
mod journal;
mod payload;
mod publish;
mod run;
mod settings;
mod show;
mod tail;
mod token;
mod top;

pub(crate) use show::position_from_text;

use crate::cli::{Cli, Command};
use crate::exit::CommandError;
use crate::server::Entry;

/// Runs the command that was given.
///
/// # Errors
/// Cause, cure and exit code.
pub fn execute(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        None => run::run(None, &cli.node, Entry::Alone),
        Some(Command::Run(arguments)) => {
            let entry = match arguments.take_over {
                true => Entry::TakeOver,
                false => Entry::Alone,
            };
            let node = &arguments.run;
            run::run(node.config.as_deref(), &node.node, entry)
        }
        Some(Command::Token(arguments)) => token::run(&arguments),
        Some(Command::Tail(arguments)) => tail::run(&arguments),
        Some(Command::Top(arguments)) => top::run(&arguments),
        Some(Command::Publish(arguments)) => publish::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::DemoUser(arguments)) => demo::run_user(&arguments),
        Some(Command::Conformance(arguments)) => conformance::run(&arguments),
        Some(Command::Config(command)) => config::run(&command),
        Some(Command::Metrics) => {
            print(&crate::telemetry::reference::reference());
            Ok(())
        }
        Some(Command::Journal(command)) => journal::run(&command),
    }
}

/// Prints text on standard output. A reader that has gone away is no error: `head`
/// and `less` end before everything is written.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
