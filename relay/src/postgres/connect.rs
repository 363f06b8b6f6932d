//! A pool of connections whose password is read again for each connection.
//!
//! Limits: the configured connections; times in `limits.rs`. Runs on: any tokio runtime.

use std::future::Future;
use std::pin::Pin;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::config::{Config, ConfigError};
use super::limits;
use super::tls::MakeTls;

/// A pool of connections.
pub type Connections = Pool;

struct Login {
    config: Config,
    tls: MakeTls,
}

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Login {
    fn connect(
        &self,
        config: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let mut config = config.clone();
        match self.config.password() {
            Ok(Some(password)) => {
                config.password(password);
            }
            Ok(None) => {}
            // The server then says that a password is missing; this says why.
            Err(error) => tracing::warn!(%error, "no password for PostgreSQL"),
        }
        let tls = self.tls.clone();
        Box::pin(async move {
            let (client, connection) = config.connect(tls).await?;
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(%error, "a connection to PostgreSQL has ended");
                }
            });
            Ok((client, task))
        })
    }
}

/// A pool as configured; nothing is connected yet.
///
/// # Errors
/// Contradictions, and files that cannot be read.
pub fn pool(config: &Config) -> Result<Connections, ConfigError> {
    config.check()?;
    config.password()?;
    let login = Login {
        config: config.clone(),
        tls: MakeTls::new(config.authorities.as_deref())?,
    };
    // A connection whose task has ended is not handed out again.
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let connections = Manager::from_connect(config.connection(), login, recycling);
    Pool::builder(connections)
        .max_size(config.connections)
        .wait_timeout(Some(limits::WAIT_TIME))
        .create_timeout(Some(limits::CONNECT_TIME * 2))
        .recycle_timeout(Some(limits::CONNECT_TIME))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| ConfigError::Tls(error.to_string()))
}
