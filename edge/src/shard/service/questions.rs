//! What services ask beside publishing: about channels, and for the sessions of users.
//!
//! Purpose: the control thread asks a shard by value through its lane and gets one reply by
//! number. The home shard of a user acts on the user's sessions (`orders`), the owner of a channel
//! tells who subscribes, who is present, and reads its history (`inspect`).
//!
//! Invariants: a question is answered once, or the node ends; nothing is done for a service of an
//! institution to users and channels that are not its own.
//!
//! Limits: askers bound the questions under way (`gateway::limits`). A question costs a turn at
//! most [`SESSIONS_PER_QUESTION`] sessions, [`CHANNELS_PER_QUESTION`] looked-at channels, or one
//! request to the files thread; for more the asker asks on from where the reply ended.
//!
//! Thread: the shard.

use std::sync::Arc;

use interlink_protocol::claims::PackedClaims;
use interlink_protocol::ids::{Position, SessionKey};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use interlink_relay::presence::PresencePage;

use crate::shard::mesh::Message;
use crate::shard::Shard;

/// Sessions of a user that one question acts on. Users have a handful; a close or a subscription
/// costs a microsecond or less.
pub const SESSIONS_PER_QUESTION: usize = 128;

/// Channels that one question looks at: some tens of microseconds.
pub const CHANNELS_PER_QUESTION: usize = 1_024;

/// Class of questions and replies in the lanes: what an application waits for.
pub const QUESTION_CLASS: Priority = Priority::P1;

/// A question of a service.
#[derive(Debug)]
pub struct Question {
    /// Thread that asks.
    pub from: u16,
    /// Number of the question there; no submission under way has the same.
    pub number: u32,
    /// Claims of the service.
    pub claims: Arc<PackedClaims>,
    /// What it wants.
    pub wish: Wish,
}

/// What a service wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Something done to the sessions of a user of this shard.
    Order(Order),
    /// Channels that this shard owns and that have subscribers.
    Channels {
        /// What their names begin with.
        prefix: Box<str>,
        /// Place in the shard's table at which to begin.
        from: u32,
        /// Most channels.
        limit: usize,
    },
    /// Subscribers that each of these channels has on this shard.
    Members(Arc<[Box<str>]>),
    /// Past events of a channel that this shard owns.
    History {
        /// Full channel name.
        channel: Box<str>,
        /// Events after this position; zero is from the oldest.
        after: Position,
        /// Most events.
        limit: usize,
    },
    /// Users who are present in a channel that this shard owns.
    Presence {
        /// Full channel name.
        channel: Box<str>,
        /// Users behind this one in the order of names.
        after: Option<Box<str>>,
    },
}

/// What is to be done to the sessions of a user.
#[derive(Clone, Debug)]
pub struct Order {
    /// The user.
    pub user: Box<str>,
    /// What is to be done.
    pub act: Act,
    /// Where an earlier reply ended.
    pub from: Option<Walked>,
}

/// An act on sessions.
#[derive(Clone, Debug)]
pub enum Act {
    /// Close every connection.
    Disconnect {
        /// Close code.
        code: u16,
        /// Close reason, at most 123 bytes.
        reason: Box<str>,
        /// Whether clients may come back and continue their sessions.
        may_resume: bool,
    },
    /// Subscribe the connected sessions to a channel.
    Subscribe(Box<str>),
    /// End the subscriptions to a channel.
    Unsubscribe(Box<str>),
}

/// A session in the list of a user's sessions, where a later question goes on.
pub type Walked = (u32, SessionKey);

/// What became of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Sessions to which it was done.
    pub done: u32,
    /// Sessions that were so already.
    pub already: u32,
    /// Sessions to which it could not be done.
    pub refused: u32,
    /// Why, for the first of them.
    pub code: Option<ErrorCode>,
    /// Where the next question goes on.
    pub next: Option<Walked>,
}

/// A channel with subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveChannel {
    /// Full name.
    pub name: Box<str>,
    /// Class.
    pub class: Priority,
    /// Subscribers on the owner's shard.
    pub members: u32,
    /// Other shards that have some, one bit each.
    pub elsewhere: u64,
    /// Offset of the newest event.
    pub offset: u64,
}

/// Past events of a channel.
#[derive(Debug)]
pub struct PastEvents {
    /// Encoded events in order.
    pub frames: Vec<Box<[u8]>>,
    /// Position of the last one; the wanted position when there is none.
    pub last: Position,
    /// Whether more follow.
    pub more: bool,
    /// Newest position of the channel, if it had events since the start.
    pub top: Option<Position>,
    /// Whether they are what the node keeps itself, since the backplane could not be asked.
    pub stale: bool,
}

/// An answer.
#[derive(Debug)]
pub enum Told {
    /// To [`Wish::Order`].
    Carried(Carried),
    /// To [`Wish::Channels`], and the place at which a later question goes on.
    Channels(Vec<ActiveChannel>, Option<u32>),
    /// To [`Wish::Members`].
    Members(Vec<u32>),
    /// To [`Wish::History`].
    History(PastEvents),
    /// To [`Wish::Presence`].
    Presence(PresencePage),
}

/// The reply to a [`Question`].
#[derive(Debug)]
pub struct Reply {
    /// Number of the question.
    pub number: u32,
    /// The answer.
    pub told: Result<Told, Refusal>,
}

impl Shard {
    /// A thread asks for a service.
    pub(in crate::shard) fn on_question(&mut self, question: Question) {
        let told = match &question.wish {
            Wish::Order(order) => match self.carry_out_order(&question.claims, order) {
                Ok(Some(carried)) => Ok(Told::Carried(carried)),
                Ok(None) => {
                    // The owner of the channel tells its position; then it is asked again.
                    self.service.questions.push(question);
                    return;
                }
                Err(code) => Err(code),
            },
            Wish::Channels {
                prefix,
                from,
                limit,
            } => Ok(self.owned_channels(&question.claims, prefix, *from, *limit)),
            Wish::Members(names) => Ok(self.members_of(names)),
            Wish::History {
                channel,
                after,
                limit,
            } => match self.ask_history(&question, channel, *after, *limit) {
                Ok(()) => return,
                Err(code) => Err(code),
            },
            Wish::Presence { channel, after } => {
                match self.ask_presence(&question, channel, after.as_deref()) {
                    Ok(()) => return,
                    Err(code) => Err(code),
                }
            }
        };
        if let Err(code) = told {
            self.counters.refusals.add(code);
        }
        self.reply_question(question.from, question.number, told.map_err(Refusal::of));
    }

    /// Takes up the questions that waited for the position of a channel.
    pub(in crate::shard) fn retry_questions(&mut self) {
        for question in std::mem::take(&mut self.service.questions) {
            self.on_question(question);
        }
    }

    pub(in crate::shard) fn reply_question(
        &mut self,
        to: u16,
        number: u32,
        told: Result<Told, Refusal>,
    ) {
        let message = Message::Reply(Box::new(Reply { number, told }));
        self.mesh.send(to, QUESTION_CLASS, message);
    }
}
