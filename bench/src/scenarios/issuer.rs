//! Who signs the tokens of a run, and how the edge learns the key.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use crate::cli::Tokens;
use crate::engine::signing_key::{key_set, SigningKey};
use crate::engine::token::{Signer, ISSUER};
use crate::servers::certificates::replace;
use crate::servers::{EdgeServer, KeyServer, KeysOf};
use anyhow::Result;
use std::path::PathBuf;

/// Value of `iss` of tokens whose keys are fetched.
const REMOTE: &str = "https://login.example.com";
/// Counts key sets that the edge has fetched.
const FETCHES: &str = "interlink_edge_key_set_fetches_total";

/// Who signs.
pub enum Issuer {
    /// The edge's own development key.
    Edge,
    /// A key in a file of the edge.
    File(SigningKey, PathBuf),
    /// A key in a set that the edge fetches.
    Served(SigningKey, KeyServer),
}

impl Issuer {
    /// Makes what signing needs before the edge starts.
    pub fn prepare(bench: &mut Bench, tokens: Tokens) -> Result<Self> {
        bench.report.text("tokens", tokens.to_string());
        if tokens == Tokens::Hs256 {
            return Ok(Self::Edge);
        }
        let key = SigningKey::make("bench")?;
        let set = key_set(&[&key]);
        if tokens == Tokens::Jwks {
            let server = KeyServer::start(bench.keys_address(), set)?;
            return Ok(Self::Served(key, server));
        }
        let path = bench.folder().join("keys.json");
        replace(&path, &set)?;
        Ok(Self::File(key, path))
    }

    /// What the edge is configured with.
    pub fn keys(&self) -> KeysOf {
        match self {
            Self::Edge => KeysOf::Itself,
            Self::File(_, path) => KeysOf::File(path.clone()),
            Self::Served(_, server) => KeysOf::Issuer {
                name: REMOTE.to_owned(),
                url: format!("http://{}/jwks.json", server.address),
            },
        }
    }

    /// Signs tokens that the edge takes, once it has the key.
    pub fn signer(&self, edge: &mut EdgeServer) -> Result<Signer> {
        match self {
            Self::Edge => edge.signer(),
            Self::File(key, _) => key.signer(ISSUER),
            Self::Served(key, _) => {
                edge.wait_for_metric(FETCHES, 1.0)?;
                key.signer(REMOTE)
            }
        }
    }

    /// Fetches of the key set that were answered.
    pub fn fetches(&self) -> Option<u64> {
        match self {
            Self::Served(_, server) => Some(server.requests()),
            _ => None,
        }
    }
}
