//! What services ask of the node beside publishing, made of questions to single shards.
//!
//! Order: an order for a user is carried out before it is answered; an order that begins after
//! an earlier one was answered finds what that one did.
//!
//! Full: beyond `limits::QUESTIONS_MAX`, or when a lane is full, the answer is `overloaded`.
//!
//! Runs on: the control thread; a [`Gateway`] may be used from any.

use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::PackedClaims;
use interlink_protocol::ids::{placement_hash, Position};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use interlink_relay::presence::PresencePage;
use tokio::sync::oneshot;

use super::limits::{CHANNELS_PER_PAGE_MAX, QUESTIONS_PER_PAGE_MAX};
use super::Gateway;
use crate::server::Phase;
use crate::shard::service::questions::{
    Act, ActiveChannel, Carried, Order, PastEvents, Told, Wish,
};

/// A question on its way to the task.
#[derive(Debug)]
pub(super) struct Asking {
    pub shard: u16,
    pub claims: Arc<PackedClaims>,
    pub wish: Wish,
    pub answer: oneshot::Sender<Result<Told, Refusal>>,
}

/// A place in the tables of channels of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelCursor {
    /// The shard.
    pub shard: u16,
    /// Place in its table.
    pub at: u32,
}

/// A channel with subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCount {
    /// Full name.
    pub name: Box<str>,
    /// Class.
    pub class: Priority,
    /// Sessions that subscribe, those included that are away and may be resumed.
    pub subscribers: u32,
    /// Offset of the newest event.
    pub offset: u64,
}

impl Gateway {
    /// Carries out an act on every session of a user.
    ///
    /// # Errors
    /// A refusal when nothing was done; what was done for some sessions is counted.
    pub async fn order(
        &self,
        caller: &Arc<PackedClaims>,
        user: &str,
        act: Act,
    ) -> Result<Carried, Refusal> {
        let mut order = Order {
            user: user.into(),
            act,
            from: None,
        };
        let shard = self.shard_of(user);
        let mut sum = Carried::default();
        loop {
            let told = self.ask(caller, shard, Wish::Order(order.clone())).await?;
            let Told::Carried(carried) = told else {
                return Err(Refusal::of(ErrorCode::Internal));
            };
            sum.done += carried.done;
            sum.already += carried.already;
            sum.refused += carried.refused;
            sum.code = sum.code.or(carried.code);
            order.from = carried.next;
            if order.from.is_none() {
                break;
            }
        }
        match sum.code {
            Some(code) if sum.done + sum.already == 0 => Err(Refusal::of(code)),
            _ => Ok(sum),
        }
    }

    /// Channels with subscribers whose names begin with `prefix`, and where the next page begins.
    /// A page may have fewer than `limit` channels and yet be followed by others; channels that
    /// come or go meanwhile may be missing.
    ///
    /// # Errors
    /// A refusal.
    pub async fn channels(
        &self,
        caller: &Arc<PackedClaims>,
        prefix: &str,
        from: Option<ChannelCursor>,
        limit: usize,
    ) -> Result<(Vec<ChannelCount>, Option<ChannelCursor>), Refusal> {
        let limit = limit.clamp(1, CHANNELS_PER_PAGE_MAX);
        let mut cursor = from.unwrap_or(ChannelCursor { shard: 0, at: 0 });
        let mut page = Vec::new();
        for _ in 0..QUESTIONS_PER_PAGE_MAX {
            if cursor.shard >= self.shards {
                return Ok((page, None));
            }
            let wish = Wish::Channels {
                prefix: prefix.into(),
                from: cursor.at,
                limit: limit - page.len(),
            };
            let told = self.ask(caller, cursor.shard, wish).await?;
            let Told::Channels(found, next) = told else {
                return Err(Refusal::of(ErrorCode::Internal));
            };
            page.extend(self.count(caller, found).await?);
            cursor = match next {
                Some(at) => ChannelCursor { at, ..cursor },
                None => ChannelCursor {
                    shard: cursor.shard + 1,
                    at: 0,
                },
            };
            if page.len() >= limit {
                break;
            }
        }
        Ok((page, (cursor.shard < self.shards).then_some(cursor)))
    }

    /// Adds the subscribers on other shards than the owner's.
    async fn count(
        &self,
        caller: &Arc<PackedClaims>,
        found: Vec<ActiveChannel>,
    ) -> Result<Vec<ChannelCount>, Refusal> {
        let mut sums: Vec<u32> = found.iter().map(|channel| channel.members).collect();
        for shard in 0..self.shards {
            let here = |channel: &ActiveChannel| channel.elsewhere & (1 << shard) != 0;
            let places: Vec<usize> = (0..found.len()).filter(|at| here(&found[*at])).collect();
            if places.is_empty() {
                continue;
            }
            let names = places.iter().map(|&at| found[at].name.clone()).collect();
            let told = self.ask(caller, shard, Wish::Members(names)).await?;
            let Told::Members(members) = told else {
                return Err(Refusal::of(ErrorCode::Internal));
            };
            for (at, members) in places.into_iter().zip(members) {
                sums[at] += members;
            }
        }
        let counted = found.into_iter().zip(sums);
        let counted = counted.filter(|(_, subscribers)| *subscribers > 0);
        Ok(counted
            .map(|(channel, subscribers)| ChannelCount {
                name: channel.name,
                class: channel.class,
                subscribers,
                offset: channel.offset,
            })
            .collect())
    }

    /// Past events of a channel after a position; zero is from the oldest that is kept.
    ///
    /// # Errors
    /// A refusal; `position_unknown` when it is not certain what follows the position.
    pub async fn history(
        &self,
        caller: &Arc<PackedClaims>,
        channel: &str,
        after: Position,
        limit: usize,
    ) -> Result<PastEvents, Refusal> {
        ChannelName::parse(channel).map_err(|_| Refusal::of(ErrorCode::ChannelInvalid))?;
        let wish = Wish::History {
            channel: channel.into(),
            after,
            limit,
        };
        match self.ask(caller, self.shard_of(channel), wish).await? {
            Told::History(events) => Ok(events),
            _ => Err(Refusal::of(ErrorCode::Internal)),
        }
    }

    /// The users who are present in a channel, behind `after` in the order of names. `next` of a
    /// page is `after` of the following one.
    ///
    /// # Errors
    /// A refusal.
    pub async fn presence(
        &self,
        caller: &Arc<PackedClaims>,
        channel: &str,
        after: Option<&str>,
    ) -> Result<PresencePage, Refusal> {
        ChannelName::parse(channel).map_err(|_| Refusal::of(ErrorCode::ChannelInvalid))?;
        let wish = Wish::Presence {
            channel: channel.into(),
            after: after.map(Into::into),
        };
        match self.ask(caller, self.shard_of(channel), wish).await? {
            Told::Presence(page) => Ok(page),
            _ => Err(Refusal::of(ErrorCode::Internal)),
        }
    }

    /// Home of a user, owner of a channel.
    fn shard_of(&self, name: &str) -> u16 {
        (placement_hash(name.as_bytes()) % u64::from(self.shards)) as u16
    }

    /// Asks one shard and waits for its reply.
    async fn ask(
        &self,
        caller: &Arc<PackedClaims>,
        shard: u16,
        wish: Wish,
    ) -> Result<Told, Refusal> {
        match self.node.phase() {
            Phase::Ready => {}
            Phase::Draining | Phase::Stopped => return Err(Refusal::of(ErrorCode::Draining)),
            Phase::Starting | Phase::Recovering => {
                return Err(Refusal::of(ErrorCode::Unavailable));
            }
        }
        let Ok(_room) = self.question_room.try_acquire() else {
            return Err(Refusal::of(ErrorCode::Overloaded));
        };
        let (answer, answered) = oneshot::channel();
        let asking = Asking {
            shard,
            claims: Arc::clone(caller),
            wish,
            answer,
        };
        if self.questions.try_send(asking).is_err() {
            return Err(Refusal::of(ErrorCode::Overloaded));
        }
        // Without an answer the node stops.
        let answered = answered.await;
        answered.unwrap_or_else(|_| Err(Refusal::of(ErrorCode::Draining)))
    }
}
