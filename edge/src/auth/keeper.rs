//! Keeps keys and revocations up to date while the node runs.
//!
//! Purpose: looks at the files, fetches key sets, and replaces what the shards read. SIGHUP
//! reads and fetches everything at once. What the server API revokes goes through a [`Revoker`].
//!
//! Invariants: what cannot be read or parsed changes nothing, is logged once and counted; a
//! fetch never delays the look at a file.
//! Limits: `limits.rs`. Runs on: the control thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::address::KeySource;
use super::error::KeyError;
use super::fetch::fetch;
use super::jwk;
use super::key::Key;
use super::key_set::{Asked, KeySet};
use super::limits::{KEY_FILES_MAX, LOOK_EVERY, REVOKES_WAITING_MAX};
use super::own_list::{OwnList, RevokeError};
use super::published::Published;
use super::revocations::{Revocation, Revocations};
use super::source::{Cause, Source, SourceTimes};
use super::verifier::Verifier;
use crate::watched::Watched;

/// What a keeper is made from.
#[derive(Clone, Debug)]
pub struct KeeperPlan {
    /// `iss` of tokens of the key files.
    pub issuer: String,
    /// `aud` of all tokens.
    pub audience: String,
    /// Files with keys.
    pub key_files: Vec<PathBuf>,
    /// Issuers with a key set by URL.
    pub sources: Vec<KeySource>,
    /// Their times.
    pub times: SourceTimes,
    /// The revocation list of the configuration.
    pub revocation_file: Option<PathBuf>,
    /// The node's own revocation list; it need not exist.
    pub own_list: PathBuf,
}

/// Something to revoke, and who waits for it.
type Revoke = (Vec<Revocation>, oneshot::Sender<Result<usize, RevokeError>>);

/// Revokes tokens and users.
#[derive(Clone, Debug)]
pub struct Revoker(mpsc::Sender<Revoke>);

impl Revoker {
    /// Returns once the entries last over a restart and every shard will find them; how many of
    /// them refuse something that was not refused before.
    ///
    /// # Errors
    /// [`RevokeError`]; nothing is revoked then.
    pub async fn revoke(&self, entries: Vec<Revocation>) -> Result<usize, RevokeError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.try_send((entries, answer));
        sent.map_err(|_| RevokeError::Busy)?;
        answered.await.unwrap_or(Err(RevokeError::Stopped))
    }
}

/// Numbers for the metrics.
#[derive(Debug, Default)]
pub struct KeeperCounts {
    /// Files that were read again.
    pub reloads: AtomicU64,
    /// Files that could not be read again.
    pub reload_failures: AtomicU64,
    /// Key sets that were fetched.
    pub fetches: AtomicU64,
    /// Of the fetches, those for an unknown key.
    pub early_fetches: AtomicU64,
    /// Fetches that failed.
    pub fetch_failures: AtomicU64,
    /// Keys in use.
    pub keys: AtomicU64,
    /// Entries of the revocation list.
    pub revocations: AtomicU64,
    /// Seconds since the oldest key set was fetched; 0 when there is none.
    pub key_set_age_s: AtomicU64,
}

/// The control thread's side of keys and revocations.
#[derive(Debug)]
pub struct Keeper {
    plan: KeeperPlan,
    local: Vec<Key>,
    key_files: Vec<Watched>,
    revocation_file: Option<Watched>,
    /// What the configured list holds.
    listed: Revocations,
    own: OwnList,
    revoker: Revoker,
    wishes: mpsc::Receiver<Revoke>,
    sources: Vec<Source>,
    asked: Arc<Asked>,
    verifier: Arc<Published<Verifier>>,
    revocations: Arc<Published<Revocations>>,
    counts: Arc<KeeperCounts>,
}

type Fetched = (usize, Result<Vec<Key>, String>);

impl Keeper {
    /// Reads all files. Key sets are fetched when it runs.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be used; nothing is taken over then.
    pub fn open(plan: KeeperPlan) -> Result<Self, KeyError> {
        if plan.key_files.len() > KEY_FILES_MAX {
            return Err(KeyError::TooMany(plan.key_files.len()));
        }
        let mut key_files: Vec<Watched> = plan.key_files.iter().map(Watched::new).collect();
        let mut revocation_file = plan.revocation_file.as_ref().map(Watched::new);
        // The stamp is taken before the content, so that a change between is seen later.
        key_files.iter_mut().for_each(|file| {
            file.changed();
        });
        let listed = match revocation_file.as_mut() {
            Some(file) => {
                file.changed();
                Revocations::read(file.path())?
            }
            None => Revocations::default(),
        };
        let own = OwnList::open(&plan.own_list)?;
        let local = read_keys(&plan.key_files)?;
        let sources: Vec<Source> = plan.sources.iter().cloned().map(Source::new).collect();
        let asked = Arc::<Asked>::default();
        let counts = Arc::<KeeperCounts>::default();
        let (revoker, wishes) = mpsc::channel(REVOKES_WAITING_MAX);
        let none = Verifier::new(Vec::new(), &plan.audience, Arc::clone(&asked));
        let keeper = Self {
            plan,
            local,
            key_files,
            revocation_file,
            listed,
            own,
            revoker: Revoker(revoker),
            wishes,
            sources,
            asked,
            verifier: Published::new(none),
            revocations: Published::new(Revocations::default()),
            counts,
        };
        keeper.publish();
        keeper.publish_revocations();
        Ok(keeper)
    }

    /// Where the verifier stands.
    pub fn verifier(&self) -> Arc<Published<Verifier>> {
        Arc::clone(&self.verifier)
    }

    /// Where the revocation list stands.
    pub fn revocations(&self) -> Arc<Published<Revocations>> {
        Arc::clone(&self.revocations)
    }

    /// Revokes while the keeper runs.
    pub fn revoker(&self) -> Revoker {
        self.revoker.clone()
    }

    /// The numbers for the metrics.
    pub fn counts(&self) -> Arc<KeeperCounts> {
        Arc::clone(&self.counts)
    }

    /// The first key of the files that signs.
    pub fn signer(&self) -> Option<&Key> {
        self.local.iter().find(|key| key.signing().is_some())
    }

    /// Runs for ever; returns only when signals cannot be received.
    ///
    /// # Errors
    /// What the operating system says about that.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut fetches: JoinSet<Fetched> = JoinSet::new();
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(false),
                _ = hangups.recv() => {
                    info!("reading keys and revocations again");
                    self.sources.iter_mut().for_each(Source::hurry);
                    self.look(true);
                }
                Some(Ok((source, result))) = fetches.join_next() => {
                    self.on_fetched(source, result);
                }
                Some((entries, answer)) = self.wishes.recv() => {
                    let result = self.revoke(&entries).await;
                    // Who asked may have gone.
                    let _ = answer.send(result);
                }
            }
            self.begin_fetches(&mut fetches);
        }
    }

    /// Looks at the files and at what the shards ask for.
    fn look(&mut self, anyway: bool) {
        let mut changed = anyway;
        self.key_files
            .iter_mut()
            .for_each(|file| changed |= file.changed());
        if changed {
            self.reload_keys();
        }
        let list = self.revocation_file.as_mut();
        if list.is_some_and(|file| file.changed() || anyway) {
            self.reload_revocations();
        }
        match self.own.look(anyway) {
            Ok(false) => {}
            Ok(true) => self.publish_revocations(),
            Err(error) => self.on_reload_failed(&error),
        }
        while let Some(kid) = self.asked.pop() {
            self.sources.iter_mut().for_each(|source| source.want(kid));
        }
        let (now, times) = (Instant::now(), self.plan.times);
        let aged = self.sources.iter_mut().filter_map(|source| {
            let changed = source.age(now, &times);
            changed.then_some(())
        });
        if aged.count() > 0 {
            self.publish();
        }
        let ages = self.sources.iter().filter_map(Source::fetched_at);
        let oldest = ages.map(|since| now.duration_since(since).as_secs()).max();
        let age = oldest.unwrap_or_default();
        self.counts.key_set_age_s.store(age, Ordering::Relaxed);
    }

    fn reload_keys(&mut self) {
        match read_keys(&self.plan.key_files) {
            Ok(keys) => {
                self.local = keys;
                self.publish();
                count(&self.counts.reloads);
                info!(keys = self.local.len(), "key files were read");
            }
            Err(error) => self.on_reload_failed(&error),
        }
    }

    fn reload_revocations(&mut self) {
        let Some(file) = &self.revocation_file else {
            return;
        };
        match Revocations::read(file.path()) {
            Ok(list) => {
                let entries = list.len();
                self.listed = list;
                self.publish_revocations();
                count(&self.counts.reloads);
                info!(entries, "the revocation list was read");
            }
            Err(error) => self.on_reload_failed(&error),
        }
    }

    async fn revoke(&mut self, entries: &[Revocation]) -> Result<usize, RevokeError> {
        let added = self.own.add(entries, self.listed.len()).await;
        match &added {
            Ok(0) => {}
            Ok(_) => self.publish_revocations(),
            Err(error) => warn!(%error, "nothing was revoked"),
        }
        added
    }

    /// Replaces what tokens are compared with.
    fn publish_revocations(&self) {
        let mut list = self.listed.clone();
        list.merge(self.own.list());
        let entries = list.len() as u64;
        self.counts.revocations.store(entries, Ordering::Relaxed);
        self.revocations.replace(list);
    }

    fn on_reload_failed(&self, error: &KeyError) {
        count(&self.counts.reload_failures);
        warn!(%error, "keys and revocations stay as they were");
    }

    fn begin_fetches(&mut self, fetches: &mut JoinSet<Fetched>) {
        let now = Instant::now();
        for (index, source) in self.sources.iter_mut().enumerate() {
            let Some(cause) = source.begin(now, &self.plan.times) else {
                continue;
            };
            if cause == Cause::UnknownKey {
                count(&self.counts.early_fetches);
            }
            let address = source.address().clone();
            fetches.spawn(async move {
                let result = match fetch(&address).await {
                    Ok(body) => jwk::keys_of_issuer(&body).map_err(str::to_owned),
                    Err(error) => Err(error.to_string()),
                };
                (index, result)
            });
        }
    }

    fn on_fetched(&mut self, index: usize, result: Result<Vec<Key>, String>) {
        let source = &mut self.sources[index];
        match result {
            Ok(keys) => {
                let count_of_keys = keys.len();
                source.on_fetched(keys, Instant::now());
                count(&self.counts.fetches);
                info!(address = %source.address(), keys = count_of_keys, "key set was fetched");
                self.publish();
            }
            Err(error) => {
                source.on_failed();
                count(&self.counts.fetch_failures);
                warn!(address = %source.address(), error, "key set was not fetched");
            }
        }
    }

    /// Replaces what the shards check with.
    fn publish(&self) {
        let local = KeySet::local(&self.plan.issuer, self.local.clone());
        let remote = self.sources.iter().map(Source::key_set);
        let sets = std::iter::once(local).chain(remote).collect();
        let verifier = Verifier::new(sets, &self.plan.audience, Arc::clone(&self.asked));
        let keys = verifier.key_count() as u64;
        self.counts.keys.store(keys, Ordering::Relaxed);
        self.verifier.replace(verifier);
    }
}

fn read_keys(files: &[PathBuf]) -> Result<Vec<Key>, KeyError> {
    let keys: Result<Vec<Vec<Key>>, KeyError> =
        files.iter().map(|path| Key::read_all(path)).collect();
    Ok(keys?.into_iter().flatten().collect())
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
