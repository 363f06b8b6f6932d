//! Where deliveries go: one bounded queue for each subscription.
//!
//! Purpose: hands deliveries to subscribers without ever waiting for one of them.
//! Invariants: a subscriber gets its deliveries in order and without holes: when its queue is
//! full the session stops taking the channel's events, and what had been taken waits here.
//! Limits: `limits::DELIVERY_QUEUE` for each queue; what waits here is what one read brought.
//! Runs on: the client's task.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::event::Delivery;
use crate::handle::SubscribeCommand;
use crate::signals::{Signals, SubscriptionKey};
use crate::subscription::{is_drained, Lag};

/// What a delivery led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Nothing to do.
    Taken,
    /// The subscriber lags: pause the channel.
    Lagging,
    /// There is no subscriber: end the subscription.
    Gone,
}

struct Outlet {
    key: SubscriptionKey,
    queue: mpsc::Sender<Delivery>,
    lag: Arc<Lag>,
    held: VecDeque<Delivery>,
    /// Waits for the server's first answer.
    answer: Option<oneshot::Sender<Result<(), Error>>>,
    ended: bool,
}

/// All outlets of a client.
#[derive(Default)]
pub(crate) struct Outlets {
    by_channel: HashMap<Arc<str>, Outlet>,
    channels: HashMap<SubscriptionKey, Arc<str>>,
}

impl Outlets {
    /// Adds the outlet of a new subscription.
    pub(crate) fn insert(&mut self, command: SubscribeCommand) {
        let outlet = Outlet {
            key: command.key,
            queue: command.deliveries,
            lag: command.lag,
            held: VecDeque::new(),
            answer: Some(command.answer),
            ended: false,
        };
        self.channels.insert(command.key, command.channel.clone());
        self.by_channel.insert(command.channel, outlet);
    }

    /// True when nobody waits for the answer of this channel's subscription any more.
    pub(crate) fn is_abandoned(&self, channel: &str) -> bool {
        let answer = self
            .by_channel
            .get(channel)
            .and_then(|outlet| outlet.answer.as_ref());
        answer.is_some_and(|answer| answer.is_closed())
    }

    /// Answers the subscriber; false when it is gone.
    pub(crate) fn answer(&mut self, channel: &str, result: Result<(), Error>) -> bool {
        let refused = result.is_err();
        let outlet = self.by_channel.get_mut(channel);
        let answer = outlet.and_then(|outlet| outlet.answer.take());
        let heard = answer.is_some_and(|answer| answer.send(result).is_ok());
        if refused || !heard {
            self.remove(channel);
        }
        heard
    }

    /// Hands a delivery over.
    pub(crate) fn deliver(
        &mut self,
        channel: &str,
        delivery: Delivery,
        signals: &Signals,
    ) -> Delivered {
        let Some(outlet) = self.by_channel.get_mut(channel) else {
            return Delivered::Gone;
        };
        outlet.ended |= matches!(delivery, Delivery::Ended(_));
        outlet.held.push_back(delivery);
        let was_held = outlet.held.len() > 1;
        if was_held {
            // The channel is paused already; this came with the same read.
            return Delivered::Taken;
        }
        self.flush(channel, signals)
    }

    /// A lagging subscription has room: hands over what waits. Names the channel when it may
    /// proceed.
    pub(crate) fn on_drained(
        &mut self,
        key: SubscriptionKey,
        signals: &Signals,
    ) -> Option<(Arc<str>, Delivered)> {
        let channel = self.channels.get(&key)?.clone();
        let delivered = self.flush(&channel, signals);
        Some((channel, delivered))
    }

    /// The channel of a subscription.
    pub(crate) fn channel(&self, key: SubscriptionKey) -> Option<&Arc<str>> {
        self.channels.get(&key)
    }

    /// Forgets an outlet; its subscriber sees the end of the stream.
    pub(crate) fn remove(&mut self, channel: &str) {
        if let Some(outlet) = self.by_channel.remove(channel) {
            self.channels.remove(&outlet.key);
        }
    }

    fn flush(&mut self, channel: &str, signals: &Signals) -> Delivered {
        let Some(outlet) = self.by_channel.get_mut(channel) else {
            return Delivered::Gone;
        };
        while let Some(delivery) = outlet.held.pop_front() {
            match outlet.queue.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Full(delivery)) => {
                    outlet.held.push_front(delivery);
                    outlet.lag.set();
                    // The subscriber may have emptied the queue before it saw the mark.
                    if is_drained(outlet.queue.capacity()) && outlet.lag.clear() {
                        signals.drained(outlet.key);
                    }
                    return Delivered::Lagging;
                }
                Err(TrySendError::Closed(_)) => {
                    self.remove(channel);
                    return Delivered::Gone;
                }
            }
        }
        if outlet.ended {
            self.remove(channel);
        }
        Delivered::Taken
    }
}
