//! Subscriptions: ordered streams of deliveries.
//!
//! Purpose: the application's end of one channel. A subscription outlives connections: what
//! was missed is recovered, repeats are suppressed, and what cannot be recovered is reported.
//! Limits: `limits::DELIVERY_QUEUE` deliveries wait here. When the application lags behind
//! that, the channel alone is stopped (at the server, unless its token may be what permits
//! publishing there) and continued from the same position once half of the queue is free; other
//! channels and heartbeats go on.
//! Runs on: any task.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use interlink_protocol::ids::Position;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::event::{Delivery, Event};
use crate::handle::{Handle, Request, SubscribeCommand};
use crate::limits;
use crate::session::SubscribeOptions;
use crate::signals::SubscriptionKey;

/// Set by the task when deliveries no longer fit; cleared by whoever makes room.
#[derive(Debug, Default)]
pub(crate) struct Lag(AtomicBool);

impl Lag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Clears the mark; true for the one who did.
    pub(crate) fn clear(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// True when a lagging queue with so much room may take deliveries again.
pub(crate) fn is_drained(room: usize) -> bool {
    room >= limits::DELIVERY_QUEUE / 2
}

/// A subscription that is about to be made; `.await` makes it.
#[derive(Debug)]
#[must_use = "a subscription is made by awaiting it"]
pub struct Subscribe {
    handle: Arc<Handle>,
    channel: Arc<str>,
    options: SubscribeOptions,
    automatic: bool,
}

impl Subscribe {
    pub(crate) fn new(handle: Arc<Handle>, channel: &str) -> Self {
        Self {
            handle,
            channel: channel.into(),
            options: SubscribeOptions::default(),
            automatic: true,
        }
    }

    /// Continues after `position`: everything since then is delivered first, or the first
    /// delivery says that and why it is not.
    pub fn recover_from(mut self, position: Position) -> Self {
        self.options.recover = Some(position);
        self
    }

    /// Subscription token, for channels that are granted one by one.
    pub fn token(mut self, token: impl Into<Box<str>>) -> Self {
        self.options.token = Some(token.into());
        self
    }

    /// Also delivers who comes and leaves.
    pub fn presence(mut self) -> Self {
        self.options.presence = true;
        self
    }

    /// Leaves acknowledging to [`Subscription::ack`]. Otherwise an event counts as processed
    /// when the next delivery is asked for.
    pub fn manual_ack(mut self) -> Self {
        self.automatic = false;
        self
    }

    async fn make(self) -> Result<Subscription, Error> {
        let (deliveries, queue) = mpsc::channel(limits::DELIVERY_QUEUE);
        let (answer, answered) = oneshot::channel();
        let lag = Arc::new(Lag::default());
        let key = self.handle.new_key();
        let command = SubscribeCommand {
            channel: self.channel.clone(),
            options: self.options,
            key,
            deliveries,
            lag: lag.clone(),
            answer,
        };
        self.handle.request(Request::Subscribe(command)).await?;
        answered.await.map_err(|_| self.handle.closed())??;
        Ok(Subscription {
            handle: self.handle,
            channel: self.channel,
            key,
            queue,
            lag,
            automatic: self.automatic,
            handed_out: None,
        })
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

/// A live subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    handle: Arc<Handle>,
    channel: Arc<str>,
    key: SubscriptionKey,
    queue: mpsc::Receiver<Delivery>,
    lag: Arc<Lag>,
    automatic: bool,
    /// Position of the event that the application has, until it is acknowledged.
    handed_out: Option<Position>,
}

impl Subscription {
    /// Full channel name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The next delivery; `None` when the subscription is over.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|context| self.poll_delivery(context)).await
    }

    /// Says that everything up to `event` is processed. The server learns it within
    /// `limits::ACK_DELAY_MS`; channels with a cursor continue there on another connection.
    pub fn ack(&self, event: &Event) {
        self.ack_position(event.position);
    }

    /// Says that everything up to `position` is processed.
    pub fn ack_position(&self, position: Position) {
        self.handle.shared.signals.acknowledge(self.key, position);
    }

    fn poll_delivery(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if let Some(position) = self.handed_out.take() {
            self.ack_position(position);
        }
        let polled = self.queue.poll_recv(context);
        if let Poll::Ready(Some(Delivery::Event(event))) = &polled {
            if self.automatic {
                self.handed_out = Some(event.position);
            }
        }
        let room = limits::DELIVERY_QUEUE - self.queue.len().min(limits::DELIVERY_QUEUE);
        if self.lag.is_set() && is_drained(room) && self.lag.clear() {
            self.handle.shared.signals.drained(self.key);
        }
        polled
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_delivery(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.handle.shared.signals.dropped(self.key);
    }
}
