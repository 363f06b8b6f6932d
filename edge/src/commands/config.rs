//! `config check`, `config print` and `config reference`.
//!
//! Runs on: the main thread.

use super::settings::load;
use crate::cli::{ConfigCommand, RunArguments};
use crate::config::{print, reference, Config, MemoryPlan};
use crate::exit::CommandError;

/// Runs one of the commands.
pub(super) fn run(command: &ConfigCommand) -> Result<(), CommandError> {
    match command {
        ConfigCommand::Check(arguments) => {
            let config = of(arguments)?;
            let most = print::readable(MemoryPlan::of(&config).bytes());
            super::print(&format!(
                "The configuration is right. Memory plan: at most {most}.\n"
            ));
        }
        ConfigCommand::Print(arguments) => {
            let config = of(arguments)?;
            let plan = print::plan(&MemoryPlan::of(&config));
            super::print(&(print::effective(&config) + &plan));
        }
        ConfigCommand::Reference => super::print(&reference::reference()),
    }
    Ok(())
}

fn of(arguments: &RunArguments) -> Result<Config, CommandError> {
    load(arguments.config.as_deref(), &arguments.node)
}
