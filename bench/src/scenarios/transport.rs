//! Over what a run's clients reach the edge: plaintext, or TLS with certificates of the run.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use crate::engine::tls::{client_config, Tickets, DESCRIPTION};
use crate::servers::{Certificates, TlsFiles};
use anyhow::Result;
use rustls::ClientConfig;
use std::sync::Arc;

/// TLS of a run.
pub struct Secure {
    /// The certificates, of which the first is served.
    pub certificates: Certificates,
    /// What clients offer.
    pub client: Arc<ClientConfig>,
    /// Their tickets.
    pub tickets: Arc<Tickets>,
}

impl Secure {
    /// Makes certificates, and notes in the result what is spoken. Clients keep so many tickets.
    pub fn prepare(bench: &mut Bench, certificates: usize, tickets: usize) -> Result<Self> {
        let certificates = Certificates::make(bench.folder(), certificates)?;
        let tickets = Tickets::keeping(tickets);
        bench.report.text("tls", DESCRIPTION);
        Ok(Self {
            client: client_config(&certificates.all(), &tickets)?,
            certificates,
            tickets,
        })
    }
}

/// Over what clients reach the edge.
pub struct Transport(Option<Secure>);

impl Transport {
    /// TLS with one certificate when `tls` is wanted.
    pub fn prepare(bench: &mut Bench, tls: bool) -> Result<Self> {
        let secure = tls.then(|| Secure::prepare(bench, 1, 0));
        secure.transpose().map(Self)
    }

    /// What the edge serves.
    pub fn files(&self) -> Option<TlsFiles> {
        self.0.as_ref().map(|secure| secure.certificates.files())
    }

    /// What clients offer.
    pub fn client(&self) -> Option<Arc<ClientConfig>> {
        self.0.as_ref().map(|secure| Arc::clone(&secure.client))
    }

    /// Whether it is TLS.
    pub fn is_secure(&self) -> bool {
        self.0.is_some()
    }
}
