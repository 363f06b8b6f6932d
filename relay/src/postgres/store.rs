//! The database, for calls on tokio.

use std::sync::Arc;

use deadpool_postgres::Client;

use super::config::{Config, ConfigError};
use super::connect::{pool, Connections};
use super::error::StoreError;

/// The archive's database. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Connections,
    pub(super) schema: Arc<str>,
    pub(super) history_days: i32,
}

impl Store {
    /// The database as configured; nothing is connected yet.
    ///
    /// # Errors
    /// Contradictions, and files that cannot be read.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            pool: pool(config)?,
            schema: config.schema.as_str().into(),
            history_days: config.history_days,
        })
    }

    /// A connection.
    pub(super) async fn client(&self) -> Result<Client, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Ends the connections; calls fail from now on.
    pub fn close(&self) {
        self.pool.close();
    }
}
