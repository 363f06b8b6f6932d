//! Section `[edge]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::edge_api::ApiConfig;
use crate::exit::{CommandError, Exit};

/// How the server API of edges is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeSection {
    /// Addresses of server APIs with their ports; `http` on this host, `https` elsewhere.
    pub api: Vec<String>,
    /// The file with a token of the role `service`; it is read again when it is replaced.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities that vouch for edges; those of the host when absent.
    pub authorities: Option<PathBuf>,
}

impl EdgeSection {
    /// What a caller of the API is made of.
    ///
    /// # Errors
    /// When the section says too little.
    pub fn client(&self) -> Result<ApiConfig, CommandError> {
        let missing = |what: &str| {
            let cause = format!("the role needs {what}; add it to the section [edge]");
            CommandError::new(Exit::Config, cause)
        };
        if self.api.is_empty() {
            return Err(missing("edge.api, addresses of server APIs"));
        }
        let token_file = self.token_file.clone();
        Ok(ApiConfig {
            addresses: self.api.clone(),
            token_file: token_file.ok_or_else(|| missing("edge.token_file"))?,
            authorities: self.authorities.clone(),
        })
    }
}
