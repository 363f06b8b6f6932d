//! What subscriptions tell the client's task without waiting.
//!
//! Purpose: acknowledgements, ends and drained queues of subscriptions. They come from
//! `poll_next` and `drop`, which cannot wait for room in a queue.
//! Invariant: bounded without a limit of its own, since each kind holds at most one entry for
//! each subscription: acknowledgements are cumulative and the others happen once.
//! Runs on: any thread; a lock is held for one map operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use interlink_protocol::ids::Position;
use tokio::sync::Notify;

/// Identity of one subscription object; a channel that is subscribed again gets a new one.
pub(crate) type SubscriptionKey = u64;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Newest acknowledged position of each subscription.
    pub(crate) acknowledged: BTreeMap<SubscriptionKey, Position>,
    /// Lagging subscriptions whose queue has room again.
    pub(crate) drained: Vec<SubscriptionKey>,
    /// Subscriptions that were dropped.
    pub(crate) dropped: Vec<SubscriptionKey>,
}

/// Shared by all subscriptions of a client and its task.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pending: Mutex<Pending>,
    news: Notify,
}

impl Signals {
    /// Acknowledges everything up to `position`.
    pub(crate) fn acknowledge(&self, key: SubscriptionKey, position: Position) {
        self.tell(|pending| {
            pending.acknowledged.insert(key, position);
        });
    }

    /// A lagging subscription has room again.
    pub(crate) fn drained(&self, key: SubscriptionKey) {
        self.tell(|pending| pending.drained.push(key));
    }

    /// A subscription was dropped.
    pub(crate) fn dropped(&self, key: SubscriptionKey) {
        self.tell(|pending| pending.dropped.push(key));
    }

    /// Waits until something was told.
    pub(crate) async fn wait(&self) {
        self.news.notified().await;
    }

    /// Takes what was told.
    pub(crate) fn take(&self) -> Pending {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending)
    }

    fn tell(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pending);
        drop(pending);
        // One permit is kept when nobody waits, so that no news is missed.
        self.news.notify_one();
    }
}
