//! From arguments to what is done.
//!
//! Runs on: the main thread.

use std::path::Path;

use interlink_relay::kafka;

use crate::cli::{
    CensusArguments, Cli, Command, ConfigCommand, OutboxCommand, TopicsArguments, TopicsCommand,
};
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::outbox;
use crate::roles;
use crate::topics::{self, Wanted};

/// Carries a command out.
///
/// # Errors
/// What failed, with the exit code.
pub fn execute(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        Command::Run { roles, config } => roles::run(&Config::load(&config)?, &roles),
        Command::Topics(TopicsCommand::Plan(arguments)) => plan(&arguments),
        Command::Topics(TopicsCommand::Apply(arguments)) => apply(&arguments),
        Command::Topics(TopicsCommand::Census(arguments)) => {
            let CensusArguments {
                config,
                brokers,
                prefix,
            } = &arguments;
            let cluster = cluster(config.as_deref(), brokers, prefix.as_deref())?;
            println!("{}", topics::census(&cluster)?);
            Ok(())
        }
        Command::Outbox(OutboxCommand::Sql { schema }) => {
            print!("{}", outbox::sql(&schema)?);
            Ok(())
        }
        Command::Config(ConfigCommand::Check { file }) => {
            Config::load(&file)?;
            println!("{} is right", file.display());
            Ok(())
        }
    }
}

fn plan(arguments: &TopicsArguments) -> Result<(), CommandError> {
    let (cluster, wanted) = target(arguments)?;
    let plan = topics::look(&cluster, &wanted)?;
    println!("{plan}");
    Ok(())
}

fn apply(arguments: &TopicsArguments) -> Result<(), CommandError> {
    let (cluster, wanted) = target(arguments)?;
    let plan = topics::look(&cluster, &wanted)?;
    println!("{plan}");
    let done = topics::apply(&cluster, &plan)?;
    println!("{done}");
    if plan.refused().next().is_some() {
        let cause = "some topics are not as wanted and cannot be changed in place; see above";
        return Err(CommandError::new(Exit::Refused, cause));
    }
    Ok(())
}

/// How the cluster is reached.
fn cluster(
    config: Option<&Path>,
    brokers: &[String],
    prefix: Option<&str>,
) -> Result<kafka::Config, CommandError> {
    let mut cluster = match config {
        Some(file) => Config::load(file)?.kafka.client()?,
        None => kafka::Config::default(),
    };
    if !brokers.is_empty() {
        cluster.brokers = brokers.to_vec();
    }
    if let Some(prefix) = prefix {
        prefix.clone_into(&mut cluster.topic_prefix);
    }
    let wrong = |error: kafka::ConfigError| CommandError::new(Exit::Config, error);
    cluster.check().map_err(wrong)?;
    Ok(cluster)
}

/// How the cluster is reached, and what it should have.
fn target(arguments: &TopicsArguments) -> Result<(kafka::Config, Vec<Wanted>), CommandError> {
    let TopicsArguments {
        config,
        brokers,
        prefix,
        ..
    } = arguments;
    let cluster = cluster(config.as_deref(), brokers, prefix.as_deref())?;
    let text = match &arguments.topics {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            let cause = format!("{} cannot be read: {error}", file.display());
            CommandError::new(Exit::Config, cause)
        })?,
        None => topics::BUILT_IN.to_owned(),
    };
    let wanted = topics::wanted(&text, &arguments.profile, &cluster.topic_prefix)
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    Ok((cluster, wanted))
}
