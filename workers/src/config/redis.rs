//! Section `[redis]` of a region.

use std::path::PathBuf;

use interlink_relay::redis::{Config, Mode};
use serde::Deserialize;

use crate::exit::{CommandError, Exit};

/// How the Redis servers of a region are reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSection {
    /// `single`, `sentinel` or `cluster`.
    pub mode: String,
    /// HOST:PORT of the server, of the sentinels, or of some nodes of the cluster.
    pub addresses: Vec<String>,
    /// The master's name at the sentinels; `interlink` when absent.
    pub master: Option<String>,
    /// User of the servers' access lists.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    #[serde(default)]
    pub tls: bool,
    /// PEM file of the authorities that vouch for servers; those of the host when absent.
    pub authorities: Option<PathBuf>,
    /// First part of all keys; `interlink` when absent. It is that of the nodes.
    pub prefix: Option<String>,
    /// Partitions of channels; 128 when absent. It is that of the nodes.
    pub partitions: Option<u16>,
}

impl RedisSection {
    /// What a backplane is made of.
    ///
    /// # Errors
    /// What is wrong, with its cure.
    pub fn client(&self) -> Result<Config, CommandError> {
        let wrong = |cause: String| CommandError::new(Exit::Config, cause);
        let usual = Config::default();
        let config = Config {
            mode: match &*self.mode {
                "single" => Mode::Single,
                "sentinel" => Mode::Sentinel,
                "cluster" => Mode::Cluster,
                other => {
                    let cause = "is unknown; use single, sentinel or cluster";
                    return Err(wrong(format!("redis.mode `{other}` {cause}")));
                }
            },
            addresses: self.addresses.clone(),
            master: self.master.clone().unwrap_or(usual.master),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls,
            authorities: self.authorities.clone(),
            prefix: self.prefix.clone().unwrap_or(usual.prefix),
            partitions: self.partitions.unwrap_or(usual.partitions),
        };
        config.check().map_err(|error| wrong(error.to_string()))?;
        Ok(config)
    }
}
