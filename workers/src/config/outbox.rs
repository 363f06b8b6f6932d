//! Section `[outbox]`.

use std::path::PathBuf;

use interlink_relay::postgres;
use serde::Deserialize;

use crate::exit::{CommandError, Exit};
use crate::outbox;

/// How the database of a back end is reached that has an outbox.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxSection {
    /// HOST:PORT, or the directory of a socket.
    pub address: String,
    /// The database.
    pub database: String,
    /// Who logs in.
    pub user: String,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    #[serde(default)]
    pub tls: bool,
    /// PEM file of the authorities that vouch for the server.
    pub authorities: Option<PathBuf>,
    /// The schema of the outbox; `interlink` when absent.
    pub schema: Option<String>,
}

impl OutboxSection {
    /// What calls are made with.
    ///
    /// # Errors
    /// A contradiction, with its cure.
    pub fn client(&self) -> Result<postgres::Config, CommandError> {
        let known = postgres::Config::default();
        let config = postgres::Config {
            address: self.address.clone(),
            database: self.database.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls,
            authorities: self.authorities.clone(),
            schema: self.schema.clone().unwrap_or(known.schema),
            history_days: known.history_days,
            connections: outbox::CONNECTIONS,
            call_time: known.call_time,
        };
        let wrong = |error| {
            let cause = format!("section [outbox]: {error}");
            CommandError::new(Exit::Config, cause)
        };
        config.check().map_err(wrong)?;
        Ok(config)
    }
}
