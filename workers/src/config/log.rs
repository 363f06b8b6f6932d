//! Section `[log]`.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::exit::{CommandError, Exit};

/// What is logged, to standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// A level, or directives such as `info,interlink_relay::kafka=debug`.
    pub level: String,
    /// Whether lines are JSON objects.
    pub json: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            json: false,
        }
    }
}

impl LogSection {
    /// The level as a filter.
    ///
    /// # Errors
    /// When it is none.
    pub fn filter(&self) -> Result<EnvFilter, CommandError> {
        EnvFilter::try_new(&self.level).map_err(|error| {
            let cause = format!("log.level is wrong: {error}; write error, warn, info or debug");
            CommandError::new(Exit::Config, cause)
        })
    }

    /// Begins to log.
    ///
    /// # Errors
    /// When the level is none.
    pub fn install(&self) -> Result<(), CommandError> {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter()?)
            .with_writer(std::io::stderr);
        // A log that is there already stays.
        let _ = match self.json {
            true => lines.json().try_init(),
            false => lines.try_init(),
        };
        Ok(())
    }
}
