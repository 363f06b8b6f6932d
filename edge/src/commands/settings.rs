//! Loads the configuration for a command.
//!
//! Runs on: the main thread.

use std::path::Path;

use crate::auth::{Key, KeyError};
use crate::cli::{NodeArguments, SettingsArguments};
use crate::config::{Argument, Config, Sources};
use crate::data_dir::development_key_of;
use crate::exit::{CommandError, Exit};

/// The configuration from file, environment and arguments of a node.
pub(super) fn load(file: Option<&Path>, node: &NodeArguments) -> Result<Config, CommandError> {
    let arguments = [
        ("--listen", "listen", "client_address", &node.listen),
        ("--control", "listen", "control_address", &node.control),
        ("--api", "listen", "api_address", &node.api),
        ("--data", "node", "data_directory", &node.data),
        ("--shards", "node", "shards", &node.shards),
    ];
    let given = arguments
        .into_iter()
        .filter_map(|(name, section, key, value)| {
            Some(Argument {
                name,
                section,
                key,
                value: value.clone()?,
            })
        });
    Sources::of_process(file, given.collect())
        .load()
        .map_err(|errors| {
            CommandError::new(Exit::Config, errors)
                .cure("interlink-edge config reference explains every property")
        })
}

/// The configuration for a command that is no node.
pub(super) fn load_settings(settings: &SettingsArguments) -> Result<Config, CommandError> {
    let node = NodeArguments {
        data: settings.data.clone(),
        ..NodeArguments::default()
    };
    load(settings.config.as_deref(), &node)
}

/// The key with which a command issues tokens: the first one of the named file, else the first
/// configured one that signs, else the development key of the data directory.
pub(super) fn signing_key(config: &Config, file: Option<&Path>) -> Result<Key, CommandError> {
    let of_config = |error| CommandError::new(Exit::Config, error);
    if let Some(path) = file {
        return Key::read(path).map_err(of_config);
    }
    let mut unable = None;
    for path in &config.auth.key_files {
        match Key::read(path) {
            Ok(key) => return Ok(key),
            Err(error @ KeyError::CannotSign(_)) => unable = Some(error),
            Err(error) => return Err(of_config(error)),
        }
    }
    if let Some(error) = unable {
        return Err(of_config(error));
    }
    if !config.auth.jwks.is_empty() {
        let cause = "tokens of this node are signed by the issuers of auth.jwks";
        return Err(CommandError::new(Exit::Config, cause)
            .cure("ask the issuer for a token, or name a file with a private key with --key"));
    }
    let path = development_key_of(&config.node.data_directory);
    if !path.exists() {
        let cause = format!("there is no key: {} does not exist", path.display());
        return Err(CommandError::new(Exit::Data, cause).cure(
            "start a node once (interlink-edge), name its data directory with --data, \
             or its configuration with --config",
        ));
    }
    Key::read(&path).map_err(|error| CommandError::new(Exit::Data, error))
}
