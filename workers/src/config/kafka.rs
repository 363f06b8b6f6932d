//! Section `[kafka]`.

use std::path::PathBuf;

use interlink_relay::kafka::{self, Mechanism};
use serde::Deserialize;

use crate::exit::{CommandError, Exit};

/// How the Kafka cluster is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSection {
    /// Some of its brokers as HOST:PORT.
    pub brokers: Vec<String>,
    /// `none`, `plain`, `scram-sha-256` or `scram-sha-512`.
    pub mechanism: Option<String>,
    /// The user.
    pub username: String,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// PEM file of the authorities that vouch for brokers; those of the host when absent.
    pub authorities: Option<PathBuf>,
    /// What the names of topics begin with; `interlink.` when absent.
    pub topic_prefix: Option<String>,
}

impl KafkaSection {
    /// What a client is made of.
    ///
    /// # Errors
    /// A contradiction, with its cure.
    pub fn client(&self) -> Result<kafka::Config, CommandError> {
        let wrong = |error: kafka::ConfigError| CommandError::new(Exit::Config, error);
        let mechanism = self.mechanism.as_deref().map(str::parse::<Mechanism>);
        let mut config = kafka::Config {
            brokers: self.brokers.clone(),
            mechanism: mechanism.transpose().map_err(wrong)?.unwrap_or_default(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls,
            authorities: self.authorities.clone(),
            ..kafka::Config::default()
        };
        if let Some(prefix) = &self.topic_prefix {
            config.topic_prefix.clone_from(prefix);
        }
        config.check().map_err(wrong)?;
        Ok(config)
    }
}
