//! What the public objects share: the ways into the client's task and what it shows.
//!
//! Invariant: the task ends when all ways in are gone, which is when the last client,
//! subscription and publisher were dropped.
//! Runs on: any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use interlink_protocol::channel::ChannelName;
use interlink_protocol::priority::Priority;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{ClosedBy, Error, Loss};
use crate::event::{Delivery, HistoryPage, PresencePage, PublishReceipt, ServerInfo, State};
use crate::session::{Classes, Draft, HistoryQuery, PresenceQuery, SubscribeOptions};
use crate::signals::{Signals, SubscriptionKey};
use crate::subscription::Lag;

/// A publish on its way to the task.
#[derive(Debug)]
pub(crate) struct PublishCommand {
    pub(crate) draft: Draft,
    pub(crate) answer: oneshot::Sender<Result<PublishReceipt, Error>>,
}

/// A subscription on its way to the task.
#[derive(Debug)]
pub(crate) struct SubscribeCommand {
    pub(crate) channel: Arc<str>,
    pub(crate) options: SubscribeOptions,
    pub(crate) key: SubscriptionKey,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) lag: Arc<Lag>,
    pub(crate) answer: oneshot::Sender<Result<(), Error>>,
}

/// Any other request on its way to the task.
#[derive(Debug)]
pub(crate) enum Request {
    Connect,
    Subscribe(SubscribeCommand),
    History {
        query: HistoryQuery,
        answer: oneshot::Sender<Result<HistoryPage, Error>>,
    },
    Presence {
        query: PresenceQuery,
        answer: oneshot::Sender<Result<PresencePage, Error>>,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// What the task shows beside its watched values.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) last_loss: Option<Loss>,
    pub(crate) attempts: u32,
    pub(crate) closed_by: Option<ClosedBy>,
    pub(crate) server: Option<ServerInfo>,
}

/// Shared by the task and the handles.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) signals: Signals,
    shown: Mutex<Shown>,
}

impl Shared {
    pub(crate) fn show<R>(&self, change: impl FnOnce(&mut Shown) -> R) -> R {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The ways into the task.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) publishes: [mpsc::Sender<PublishCommand>; Priority::COUNT],
    /// Publishes that were handed to the task, by class.
    pub(crate) issued: [AtomicU64; Priority::COUNT],
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) settled: watch::Receiver<[u64; Priority::COUNT]>,
    pub(crate) classes: Classes,
    pub(crate) shared: Arc<Shared>,
    pub(crate) next_key: AtomicU64,
}

impl Handle {
    /// Hands a publish over; waits while its class is full.
    pub(crate) async fn publish(
        &self,
        draft: Draft,
    ) -> Result<oneshot::Receiver<Result<PublishReceipt, Error>>, Error> {
        let class = self
            .classes
            .class_of(&ChannelName::parse(&draft.channel)?)
            .index();
        let room = self.publishes[class]
            .reserve()
            .await
            .map_err(|_| self.closed())?;
        let (answer, receiver) = oneshot::channel();
        self.issued[class].fetch_add(1, Ordering::SeqCst);
        room.send(PublishCommand { draft, answer });
        Ok(receiver)
    }

    /// Hands any other request over.
    pub(crate) async fn request(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| self.closed())
    }

    /// The error of a client that is over.
    pub(crate) fn closed(&self) -> Error {
        let by = self.shared.show(|shown| shown.closed_by.clone());
        Error::Closed(by.unwrap_or(ClosedBy::Application))
    }

    /// A key for the next subscription.
    pub(crate) fn new_key(&self) -> SubscriptionKey {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }
}
