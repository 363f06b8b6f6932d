//! The subscriptions that the application wants, kept over reconnections.
//!
//! Purpose: asks for each wanted channel on every new connection, continues it from where it
//! was, and judges what arrives.
//! Invariants: a channel is wanted at most once; events count only while its latest request
//! is answered, so that nothing of an earlier subscription of the same channel slips in; a
//! paused channel takes no events and is asked for again when it proceeds; one with a token
//! stays subscribed meanwhile, since its token may be what permits publishing there.
//! Limits: `limits::CHANNELS_PER_REQUEST_MAX`, `limits::SUBSCRIBES_IN_FLIGHT_MAX`, and the
//! number of subscriptions that the server allows.
//! Runs on: any thread; clock and randomness come in as arguments.

mod desired;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;

use crate::error::{Code, Error};
use crate::event::Recovery;
use crate::limits;
use crate::session::track::Verdict;
use desired::{Desired, Phase};

/// How an application wants a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Continue after this position.
    pub recover: Option<Position>,
    /// Subscription token, where the namespace asks for one.
    pub token: Option<Box<str>>,
    /// Also report who comes and leaves.
    pub presence: bool,
}

/// One channel of a request that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Full channel name.
    pub channel: Arc<str>,
    /// Continue after this position.
    pub recover: Option<Position>,
    /// Subscription token.
    pub token: Option<Box<str>>,
    /// Presence wanted.
    pub presence: bool,
}

/// What the server says about one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelAnswer {
    /// The subscription is live.
    Live {
        /// Where it was pinned.
        position: Option<Position>,
        /// What became of the wanted position.
        recovery: Recovery,
    },
    /// The subscription ended.
    Ended {
        /// Why, when it was not asked for; 0 when not named.
        code: u16,
    },
    /// The subscription was refused.
    Refused {
        /// Why.
        code: u16,
        /// Earliest useful retry in milliseconds; 0 when not named.
        retry_after_ms: u32,
    },
}

/// What an answer means for the application.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing: the answer is to an earlier request, or a retry follows.
    Nothing,
    /// Accepted. `first` says that the subscriber waits for this; `recovery` is reported
    /// when a position was wanted.
    Live {
        /// True for the first acceptance.
        first: bool,
        /// What became of the wanted position.
        recovery: Option<Recovery>,
    },
    /// Over. `first` says that it had never been accepted.
    Over {
        /// True when it had never been accepted.
        first: bool,
        /// Why.
        error: Error,
    },
}

/// All subscriptions of a client.
#[derive(Clone, Debug)]
pub struct SubscriptionBook {
    channels: BTreeMap<Arc<str>, Desired>,
    leaving: BTreeSet<Arc<str>>,
    /// Requests without an answer.
    open_requests: BTreeSet<u32>,
    most: usize,
}

impl Default for SubscriptionBook {
    fn default() -> Self {
        Self {
            channels: BTreeMap::new(),
            leaving: BTreeSet::new(),
            open_requests: BTreeSet::new(),
            most: limits::SUBSCRIPTIONS_MAX,
        }
    }
}

impl SubscriptionBook {
    /// Wants a channel.
    pub fn want(
        &mut self,
        channel: &Arc<str>,
        class: Priority,
        options: SubscribeOptions,
    ) -> Result<(), Error> {
        if self.channels.contains_key(channel) {
            return Err(Error::AlreadySubscribed(channel.clone()));
        }
        if self.channels.len() >= self.most {
            return Err(Error::TooManySubscriptions(self.most));
        }
        let desired = Desired::new(class, options);
        self.channels.insert(channel.clone(), desired);
        Ok(())
    }

    /// Ends a subscription. Returns false when there was none.
    pub fn unwant(&mut self, channel: &str) -> bool {
        let Some((name, desired)) = self.channels.remove_entry(channel) else {
            return false;
        };
        if desired.is_there() {
            self.leaving.insert(name);
        }
        true
    }

    /// Stops taking events of a channel until `proceed`, since its subscriber lags. The server
    /// stops sending them, except where the subscription's token may be what lets the
    /// application publish.
    pub fn pause(&mut self, channel: &str) {
        let Some((name, desired)) = self.entry(channel) else {
            return;
        };
        if desired.options.token.is_some() {
            desired.muted = true;
            return;
        }
        let there = desired.is_there();
        desired.phase = Phase::Paused;
        if there {
            self.leaving.insert(name);
        }
    }

    /// Asks for a paused channel again, from where it stopped.
    pub fn proceed(&mut self, channel: &str) {
        let Some((name, desired)) = self.entry(channel) else {
            return;
        };
        let stale = desired.muted && desired.is_there();
        if desired.muted || desired.phase == Phase::Paused {
            desired.muted = false;
            desired.phase = Phase::Wanted;
        }
        if stale {
            self.leaving.insert(name);
        }
    }

    /// Whether a publish to the channel has to wait, since a token that may permit it is not
    /// granted yet on this connection.
    pub fn awaits_grant(&self, channel: &str) -> bool {
        let desired = self.channels.get(channel);
        desired.is_some_and(Desired::awaits_grant)
    }

    /// Takes the number of subscriptions that the server allows.
    pub fn on_limit(&mut self, most: u32) {
        if most > 0 {
            self.most = most as usize;
        }
    }

    /// The connection is gone: everything has to be asked for again.
    pub fn on_lost(&mut self) {
        self.leaving.clear();
        self.open_requests.clear();
        for desired in self.channels.values_mut() {
            desired.offered = None;
            desired.retry_at_ms = 0;
            desired.retries.reset();
            if desired.is_there() {
                desired.phase = Phase::Wanted;
            }
        }
    }

    /// Positions from which a session can be resumed, most urgent class first; `None` when
    /// there are more than a `Hello` may carry.
    pub fn resume_positions(&mut self) -> Option<Vec<(Arc<str>, Position)>> {
        let mut positions = Vec::new();
        for class in Priority::ALL {
            for (name, desired) in &mut self.channels {
                if desired.class != class || desired.phase == Phase::Paused {
                    continue;
                }
                desired.offered = desired.continue_from();
                if let Some(position) = desired.offered {
                    positions.push((name.clone(), position));
                }
            }
        }
        (positions.len() <= limits::RESUME_POSITIONS_MAX).then_some(positions)
    }

    /// A resumed session still has a subscription to `channel`.
    pub fn on_restored(
        &mut self,
        channel: &str,
        position: Position,
        recovery: Recovery,
    ) -> Outcome {
        let Some((name, desired)) = self.entry(channel) else {
            self.leaving.insert(channel.into());
            return Outcome::Nothing;
        };
        let offered = desired.offered.take();
        if desired.phase != Phase::Wanted || (offered.is_none() && !desired.muted) {
            // The server continued from somewhere else; the channel is asked for anew.
            self.leaving.insert(name);
            return Outcome::Nothing;
        }
        desired.asked_from = offered;
        desired.go_live(Some(position), recovery)
    }

    /// The channels that one `Unsubscribe` names; empty when none waits.
    pub fn take_leaving(&mut self, into: &mut Vec<Arc<str>>) {
        into.clear();
        while into.len() < limits::CHANNELS_PER_REQUEST_MAX {
            let Some(channel) = self.leaving.pop_first() else {
                return;
            };
            into.push(channel);
        }
    }

    /// True when an `Unsubscribe` should leave.
    pub fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// True when an `Unsubscribe` or `Subscribe` should leave.
    pub fn has_requests(&self, now_ms: u64) -> bool {
        let wanted = |desired: &Desired| desired.is_due(now_ms);
        !self.leaving.is_empty() || (self.may_ask() && self.channels.values().any(wanted))
    }

    /// The channels that one `Subscribe` with this id asks for, most urgent class first;
    /// empty when none waits.
    pub fn take_wanted(&mut self, request: u32, now_ms: u64, into: &mut Vec<Ask>) {
        into.clear();
        if !self.may_ask() {
            return;
        }
        for class in Priority::ALL {
            for (name, desired) in &mut self.channels {
                let full = into.len() >= limits::CHANNELS_PER_REQUEST_MAX;
                if full || desired.class != class || !desired.is_due(now_ms) {
                    continue;
                }
                desired.phase = Phase::Asked { request };
                desired.asked_from = desired.continue_from();
                into.push(Ask {
                    channel: name.clone(),
                    recover: desired.asked_from,
                    token: desired.options.token.clone(),
                    presence: desired.options.presence,
                });
            }
        }
        if !into.is_empty() {
            self.open_requests.insert(request);
        }
    }

    /// Takes the answer for one channel of request `request`.
    pub fn on_answer(
        &mut self,
        request: u32,
        channel: &str,
        answer: ChannelAnswer,
        now_ms: u64,
        random: u64,
    ) -> Outcome {
        let Some((name, desired)) = self.entry(channel) else {
            return Outcome::Nothing;
        };
        let first = !desired.accepted_once;
        if let (Phase::Live, ChannelAnswer::Ended { code }) = (desired.phase, &answer) {
            // Nothing is asked for a live channel, so the server ended it by itself.
            let code = if *code == 0 {
                ErrorCode::NotPermitted.into()
            } else {
                Code(*code)
            };
            self.channels.remove(channel);
            return Outcome::Over {
                first,
                error: Error::refused(code),
            };
        }
        if desired.phase != (Phase::Asked { request }) {
            return Outcome::Nothing;
        }
        let (code, retry_after_ms) = match answer {
            ChannelAnswer::Live { position, recovery } => {
                return desired.go_live(position, recovery);
            }
            ChannelAnswer::Ended { code } => (code, 0),
            ChannelAnswer::Refused {
                code,
                retry_after_ms,
            } => (code, retry_after_ms),
        };
        if Code(code) == ErrorCode::AlreadySubscribed {
            // The server holds an older subscription of this session; start over.
            desired.phase = Phase::Wanted;
            self.leaving.insert(name);
            return Outcome::Nothing;
        }
        if Code(code).is_temporary() {
            desired.retry(retry_after_ms, now_ms, random);
            return Outcome::Nothing;
        }
        self.channels.remove(channel);
        Outcome::Over {
            first,
            error: Error::refused(Code(code)),
        }
    }

    /// The channels of a request that failed as a whole.
    pub fn channels_of(&self, request: u32) -> Vec<Arc<str>> {
        let asked = |desired: &Desired| desired.phase == Phase::Asked { request };
        let channels = self.channels.iter().filter(|(_, desired)| asked(desired));
        channels.map(|(name, _)| name.clone()).collect()
    }

    /// The whole of a request is answered.
    pub fn close_request(&mut self, request: u32) {
        self.open_requests.remove(&request);
    }

    /// Judges an event; `None` when the channel is not live here.
    pub fn on_event(
        &mut self,
        channel: &str,
        at: Position,
        previous_chain: u64,
        record: RecordId,
    ) -> Option<(Arc<str>, Verdict)> {
        let (name, desired) = self.entry(channel)?;
        if !desired.takes() {
            return None;
        }
        Some((name, desired.track.on_event(at, previous_chain, record)))
    }

    /// Moves a live channel as the server says; its name when that is news.
    pub fn on_position(&mut self, channel: &str, at: Position) -> Option<Arc<str>> {
        let (name, desired) = self.entry(channel)?;
        let news = desired.takes() && desired.track.on_position(at);
        news.then_some(name)
    }

    /// The name of a live channel.
    pub fn live_name(&self, channel: &str) -> Option<Arc<str>> {
        let (name, desired) = self.channels.get_key_value(channel)?;
        desired.takes().then(|| name.clone())
    }

    /// The last position of a wanted channel.
    pub fn position(&self, channel: &str) -> Option<Position> {
        self.channels.get(channel)?.track.position()
    }

    /// When a temporarily refused channel is due.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let later = self
            .channels
            .values()
            .filter(|desired| desired.phase == Phase::Wanted && desired.retry_at_ms > now_ms);
        later.map(|desired| desired.retry_at_ms).min()
    }

    /// Forgets everything; the names, and whether each was ever accepted.
    pub fn drain(&mut self) -> Vec<(Arc<str>, bool)> {
        self.leaving.clear();
        self.open_requests.clear();
        let channels = std::mem::take(&mut self.channels).into_iter();
        let named = channels.map(|(name, desired)| (name, desired.accepted_once));
        named.collect()
    }

    fn may_ask(&self) -> bool {
        self.open_requests.len() < limits::SUBSCRIBES_IN_FLIGHT_MAX
    }

    fn entry(&mut self, channel: &str) -> Option<(Arc<str>, &mut Desired)> {
        let name = self.channels.get_key_value(channel)?.0.clone();
        Some((name, self.channels.get_mut(channel)?))
    }
}

#[cfg(test)]
mod tests;
