//! Keeps certificates and ticket keys up to date while the node runs.
//!
//! Purpose: looks at the files and at the time, and replaces what the shards serve new
//! connections with. SIGHUP reads everything at once.
//!
//! Invariant: what cannot be read changes nothing, is logged and counted; a certificate
//! that was replaced before its key is tried again when the key follows.
//! Limits: `limits.rs`. Runs on: the control thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{signal, SignalKind};
use tracing::{info, warn};

use super::error::TlsError;
use super::limits::FILES_LOOK_EVERY;
use super::material::{server_config, Certificates};
use super::tickets::{TicketKeys, TicketSecret};
use super::Serving;
use crate::auth::Published;
use crate::server::unix_seconds;
use crate::watched::Watched;

/// What a keeper is made from.
#[derive(Clone, Debug)]
pub struct TlsPlan {
    /// Files of each certificate chain and its key.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// The secret of the tickets; without one it is made for this process.
    pub ticket_secret: Option<PathBuf>,
    /// Life of a ticket key.
    pub ticket_rotation: Duration,
}

/// Numbers for the metrics.
#[derive(Debug, Default)]
pub struct TlsCounts {
    /// Times that certificates were read again.
    pub reloads: AtomicU64,
    /// Times that they could not be read again.
    pub reload_failures: AtomicU64,
}

/// The control thread's side of TLS.
#[derive(Debug)]
pub struct TlsKeeper {
    plan: TlsPlan,
    files: Vec<Watched>,
    certificates: Certificates,
    secret: TicketSecret,
    period: u32,
    serving: Arc<Serving>,
    counts: Arc<TlsCounts>,
}

impl TlsKeeper {
    /// Reads all files.
    ///
    /// # Errors
    /// [`TlsError`] when one cannot be used.
    pub fn open(plan: TlsPlan) -> Result<Self, TlsError> {
        let pairs = plan.pairs.iter().flat_map(|(chain, key)| [chain, key]);
        let paths = pairs.chain(&plan.ticket_secret);
        let mut files: Vec<Watched> = paths.map(Watched::new).collect();
        // The stamp is taken before the content, so that a change between is seen later.
        files.iter_mut().for_each(|file| {
            file.changed();
        });
        let certificates = Certificates::read(&plan.pairs)?;
        let secret = match &plan.ticket_secret {
            Some(path) => TicketSecret::read(path)?,
            None => TicketSecret::random()?,
        };
        let now_s = unix_seconds();
        let tickets = TicketKeys::at(&secret, now_s, plan.ticket_rotation);
        let serving = Published::new(server_config(certificates.clone(), tickets)?);
        let period = TicketKeys::period(now_s, plan.ticket_rotation);
        Ok(Self {
            plan,
            files,
            certificates,
            secret,
            period,
            serving,
            counts: Arc::default(),
        })
    }

    /// Where shards find what they serve new connections with.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving)
    }

    /// The numbers for the metrics.
    pub fn counts(&self) -> Arc<TlsCounts> {
        Arc::clone(&self.counts)
    }

    /// Runs for ever; returns only when signals cannot be received.
    ///
    /// # Errors
    /// What the operating system says about that.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(FILES_LOOK_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(unix_seconds(), false),
                _ = hangups.recv() => self.look(unix_seconds(), true),
            }
        }
    }

    /// Looks at the files and at the time.
    pub(super) fn look(&mut self, now_s: u64, anyway: bool) {
        let mut changed = anyway;
        self.files
            .iter_mut()
            .for_each(|file| changed |= file.changed());
        if changed {
            self.reload(now_s);
        } else if TicketKeys::period(now_s, self.plan.ticket_rotation) != self.period {
            match self.publish(now_s) {
                Ok(()) => info!(period = self.period, "ticket keys were rotated"),
                Err(error) => self.on_failed(&error),
            }
        }
    }

    fn reload(&mut self, now_s: u64) {
        match self.read_again(now_s) {
            Ok(()) => {
                self.counts.reloads.fetch_add(1, Ordering::Relaxed);
                info!(
                    certificates = self.plan.pairs.len(),
                    "certificates were read"
                );
            }
            Err(error) => self.on_failed(&error),
        }
    }

    fn read_again(&mut self, now_s: u64) -> Result<(), TlsError> {
        let certificates = Certificates::read(&self.plan.pairs)?;
        if let Some(path) = &self.plan.ticket_secret {
            self.secret = TicketSecret::read(path)?;
        }
        self.certificates = certificates;
        self.publish(now_s)
    }

    fn on_failed(&self, error: &TlsError) {
        self.counts.reload_failures.fetch_add(1, Ordering::Relaxed);
        warn!(%error, "certificates and ticket keys stay as they were");
    }

    fn publish(&mut self, now_s: u64) -> Result<(), TlsError> {
        let rotation = self.plan.ticket_rotation;
        let tickets = TicketKeys::at(&self.secret, now_s, rotation);
        let config = server_config(self.certificates.clone(), tickets)?;
        self.serving.replace(config);
        self.period = TicketKeys::period(now_s, rotation);
        Ok(())
    }
}
