//! The keys of a node: configured files, or the development key.
//!
//! Runs on: the main thread.

use std::path::Path;

use tracing::warn;

use crate::auth::{Key, KeyError, Verifier};
use crate::config::Config;
use crate::data_dir::development_key_of;
use crate::exit::{CommandError, Exit};

/// The keys of a node.
#[derive(Debug)]
pub struct Keys {
    /// Checks tokens with all keys.
    pub verifier: Verifier,
    /// Signs tokens of the `token` command.
    pub signer: Key,
    /// True when the development key was made just now.
    pub created: bool,
}

/// Reads the configured keys, or reads or makes the development key in `data`.
///
/// # Errors
/// [`Exit::Config`] for configured files, [`Exit::Data`] for the development key.
pub fn load_keys(config: &Config, data: &Path) -> Result<Keys, CommandError> {
    let files = &config.auth.key_files;
    let (keys, created) = if files.is_empty() {
        let path = development_key_of(data);
        let (key, created) = Key::read_or_create(&path).map_err(data_error)?;
        warn!(path = %path.display(), "tokens are checked with the development key; \
            set auth.key_files before others use this node");
        (vec![key], created)
    } else {
        let keys: Result<Vec<Key>, KeyError> = files.iter().map(|path| Key::read(path)).collect();
        (keys.map_err(config_error)?, false)
    };
    let auth = &config.auth;
    let verifier = Verifier::new(&keys, &auth.issuer, &auth.audience).map_err(config_error)?;
    let signer = keys.into_iter().next().ok_or_else(|| {
        CommandError::new(Exit::Config, "there is no key").cure("name a file in auth.key_files")
    })?;
    Ok(Keys {
        verifier,
        signer,
        created,
    })
}

fn config_error(error: KeyError) -> CommandError {
    CommandError::new(Exit::Config, error)
}

fn data_error(error: KeyError) -> CommandError {
    CommandError::new(Exit::Data, error)
}
