//! The keys of a node: configured files and issuers, or the development key.
//!
//! Runs on: the main thread.

use std::path::Path;

use tracing::warn;

use crate::auth::{Keeper, KeeperPlan, Key, KeyError, KeySource, SourceTimes};
use crate::config::{Auth, Config, Tls};
use crate::control::guard::Guard;
use crate::data_dir::{development_key_of, revocations_of};
use crate::exit::{CommandError, Exit};
use crate::tls::{TlsKeeper, TlsPlan};

/// The keys of a node.
#[derive(Debug)]
pub struct Keys {
    /// Holds keys and revocations, and keeps them up to date.
    pub keeper: Keeper,
    /// The development key, when it was made just now.
    pub created: Option<Key>,
}

/// Reads the configured keys, or reads or makes the development key in `data`.
///
/// # Errors
/// [`Exit::Config`] for configured files, [`Exit::Data`] for the development key.
pub fn load_keys(config: &Config, data: &Path) -> Result<Keys, CommandError> {
    let mut plan = keeper_plan(&config.auth, data)?;
    let mut created = None;
    if plan.key_files.is_empty() && plan.sources.is_empty() {
        let path = development_key_of(data);
        let (key, is_new) = Key::read_or_create(&path).map_err(data_error)?;
        warn!(path = %path.display(), "tokens are checked with the development key; \
            set auth.key_files or auth.jwks before others use this node");
        created = is_new.then_some(key);
        plan.key_files.push(path);
    }
    let keeper = Keeper::open(plan).map_err(config_error)?;
    Ok(Keys { keeper, created })
}

/// Reads the certificates, if the node serves TLS.
///
/// # Errors
/// [`Exit::Config`] when a file cannot be used.
pub fn load_tls(config: &Config) -> Result<Option<TlsKeeper>, CommandError> {
    if config.listen.tls != Tls::On {
        return Ok(None);
    }
    let tls = &config.tls;
    let pairs = tls.certificate.iter().cloned().zip(tls.key.iter().cloned());
    let plan = TlsPlan {
        pairs: pairs.collect(),
        ticket_secret: tls.ticket_secret_file.clone(),
        ticket_rotation: tls.ticket_rotation,
    };
    let keeper = TlsKeeper::open(plan).map_err(|error| CommandError::new(Exit::Config, error))?;
    Ok(Some(keeper))
}

/// Reads the token of the control endpoint, if it has one.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be used.
pub fn load_guard(config: &Config) -> Result<Option<Guard>, CommandError> {
    let path = config.listen.control_token_file.as_deref();
    path.map(Guard::open)
        .transpose()
        .map_err(|error| CommandError::new(Exit::Config, error))
}

fn keeper_plan(auth: &Auth, data: &Path) -> Result<KeeperPlan, CommandError> {
    let sources: Result<Vec<KeySource>, &str> = auth
        .jwks
        .iter()
        .map(|text| KeySource::parse(text))
        .collect();
    Ok(KeeperPlan {
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        key_files: auth.key_files.clone(),
        // The configuration was checked when it was loaded.
        sources: sources.map_err(|error| CommandError::new(Exit::Config, error))?,
        times: SourceTimes {
            refresh: auth.jwks_refresh,
            cooldown: auth.jwks_cooldown,
            keep: auth.jwks_keep,
        },
        revocation_file: auth.revocation_file.clone(),
        own_list: revocations_of(data),
    })
}

fn config_error(error: KeyError) -> CommandError {
    CommandError::new(Exit::Config, error)
}

fn data_error(error: KeyError) -> CommandError {
    CommandError::new(Exit::Data, error)
}
