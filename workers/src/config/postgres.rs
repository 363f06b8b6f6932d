//! Section `[postgres]`.

use std::path::PathBuf;

use interlink_relay::postgres;
use serde::Deserialize;

use crate::exit::{CommandError, Exit};

/// How the database is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSection {
    /// HOST:PORT, or the directory of a socket. Without it there is no database.
    pub address: String,
    /// The database; `interlink` when absent.
    pub database: Option<String>,
    /// Who logs in; `interlink` when absent.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// PEM file of the authorities that vouch for the server.
    pub authorities: Option<PathBuf>,
    /// The schema of all tables; `interlink` when absent.
    pub schema: Option<String>,
    /// Days of history that are kept; 30 when absent.
    pub history_days: Option<i32>,
    /// Most connections; 8 when absent.
    pub connections: Option<usize>,
}

impl PostgresSection {
    /// What calls are made with; nothing when no database is named.
    ///
    /// # Errors
    /// A contradiction, with its cure.
    pub fn client(&self) -> Result<Option<postgres::Config>, CommandError> {
        if self.address.is_empty() {
            return Ok(None);
        }
        let known = postgres::Config::default();
        let config = postgres::Config {
            address: self.address.clone(),
            database: self.database.clone().unwrap_or(known.database),
            user: self.user.clone().unwrap_or(known.user),
            password_file: self.password_file.clone(),
            tls: self.tls,
            authorities: self.authorities.clone(),
            schema: self.schema.clone().unwrap_or(known.schema),
            history_days: self.history_days.unwrap_or(known.history_days),
            connections: self.connections.unwrap_or(known.connections),
            call_time: known.call_time,
        };
        let checked = config.check();
        checked.map_err(|error| CommandError::new(Exit::Config, error))?;
        Ok(Some(config))
    }
}
