//! The command line.

use clap::{CommandFactory, Parser};

use super::*;

#[test]
fn the_help_of_every_command_contains_an_example() {
    fn check(command: &mut clap::Command, path: &str) -> usize {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{path} --help has no example");
        assert!(
            help.contains("interlink-edge"),
            "{path} --help has no command in its example"
        );
        let name = |sub: &clap::Command| format!("{path} {}", sub.get_name());
        let mut count = 1;
        for sub in command
            .get_subcommands_mut()
            .filter(|sub| sub.get_name() != "help")
        {
            let path = name(sub);
            assert!(
                sub.get_about().is_some(),
                "{path} says nothing about itself"
            );
            count += check(sub, &path);
        }
        count
    }
    let mut command = Cli::command();
    command.build();
    assert!(check(&mut command, "interlink-edge") >= 14);
}

#[test]
fn every_argument_is_explained() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} of {} is not explained",
                argument.get_id(),
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn no_command_means_a_node() {
    let cli = Cli::try_parse_from(["interlink-edge", "--shards", "2"]).expect("valid");
    assert!(cli.command.is_none());
    assert_eq!(cli.node.shards.as_deref(), Some("2"));
}

#[test]
fn a_subscription_token_has_no_claims_of_a_user_token() {
    let arguments = [
        "interlink-edge",
        "token",
        "--user",
        "ada",
        "--channel",
        "collab.x",
    ];
    assert!(Cli::try_parse_from(arguments).is_ok());
    let both = arguments.iter().chain(&["--class", "m1"]);
    assert!(Cli::try_parse_from(both).is_err());
    let zero = ["interlink-edge", "token", "--user", "ada", "--ttl", "0s"];
    assert!(Cli::try_parse_from(zero).is_err());
}
