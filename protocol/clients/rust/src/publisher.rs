//! Publishing.
//!
//! Purpose: one publish as a value with settings, awaited for its receipt, or handed over
//! first and awaited later so that many are under way.
//! Limits: `limits::UNSETTLED_PER_CLASS_MAX` and `limits::UNSETTLED_BYTES_PER_CLASS_MAX`;
//! handing over waits while the class is full.
//! Runs on: any task.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::event::{AckLevel, PublishReceipt};
use crate::handle::Handle;
use crate::session::Draft;

/// A publish that is about to be made; `.await` makes it and resolves with its receipt.
#[derive(Debug)]
#[must_use = "a publish is made by awaiting it or its `enqueue`"]
pub struct Publish {
    handle: Arc<Handle>,
    draft: Draft,
}

impl Publish {
    pub(crate) fn new(handle: Arc<Handle>, channel: Arc<str>, payload: Vec<u8>) -> Self {
        let draft = Draft {
            channel,
            event_type: 0,
            schema_version: 1,
            payload,
            time_to_live_ms: 0,
            conflation_key: None,
            ack_level: None,
            traceparent: None,
        };
        Self { handle, draft }
    }

    /// Number of the event type in the registry; without it the payload is opaque.
    pub fn event_type(mut self, number: u16) -> Self {
        self.draft.event_type = number;
        self
    }

    /// Version of the payload schema; 1 without it.
    pub fn schema_version(mut self, version: u16) -> Self {
        self.draft.schema_version = version;
        self
    }

    /// For slow subscribers events of one key supersede each other.
    pub fn conflation_key(mut self, key: impl Into<Box<str>>) -> Self {
        self.draft.conflation_key = Some(key.into());
        self
    }

    /// Time after which the event is worthless. A publish that could not be sent by then
    /// fails with [`Error::Expired`].
    pub fn time_to_live(mut self, limit: Duration) -> Self {
        let milliseconds = limit.as_millis().clamp(1, u128::from(u32::MAX));
        self.draft.time_to_live_ms = milliseconds as u32;
        self
    }

    /// How far the event has to be safe before the receipt; without it the default of the
    /// namespace.
    pub fn ack_level(mut self, level: AckLevel) -> Self {
        self.draft.ack_level = Some(level);
        self
    }

    /// W3C `traceparent` to carry along.
    pub fn traceparent(mut self, value: impl Into<Box<str>>) -> Self {
        self.draft.traceparent = Some(value.into());
        self
    }

    /// Hands the publish over and returns its receipt as a future. Publishes of one task to
    /// one channel keep the order in which this returned.
    pub async fn enqueue(self) -> Result<PendingPublish, Error> {
        let receiver = self.handle.publish(self.draft).await?;
        Ok(PendingPublish {
            handle: self.handle,
            receiver,
        })
    }
}

impl IntoFuture for Publish {
    type Output = Result<PublishReceipt, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.enqueue().await?.await })
    }
}

/// The receipt of a publish that was handed over. Dropping it forgets the receipt, not the
/// publish.
#[derive(Debug)]
pub struct PendingPublish {
    handle: Arc<Handle>,
    receiver: oneshot::Receiver<Result<PublishReceipt, Error>>,
}

impl Future for PendingPublish {
    type Output = Result<PublishReceipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(self.handle.closed())))
    }
}

/// Publishes to one channel with the same settings.
#[derive(Clone, Debug)]
pub struct Publisher {
    handle: Arc<Handle>,
    channel: Arc<str>,
    event_type: u16,
    schema_version: u16,
}

impl Publisher {
    pub(crate) fn new(handle: Arc<Handle>, channel: &str) -> Self {
        Self {
            handle,
            channel: channel.into(),
            event_type: 0,
            schema_version: 1,
        }
    }

    /// Number of the event type of every publish.
    pub fn event_type(mut self, number: u16) -> Self {
        self.event_type = number;
        self
    }

    /// Version of the payload schema of every publish.
    pub fn schema_version(mut self, version: u16) -> Self {
        self.schema_version = version;
        self
    }

    /// Full channel name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Starts a publish.
    pub fn publish(&self, payload: impl Into<Vec<u8>>) -> Publish {
        Publish::new(self.handle.clone(), self.channel.clone(), payload.into())
            .event_type(self.event_type)
            .schema_version(self.schema_version)
    }
}
