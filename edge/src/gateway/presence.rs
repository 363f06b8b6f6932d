//! Who is present in a channel, for callers that are no session.
//!
//! Purpose: the question goes to the owner of the channel, the page comes back by number.
//!
//! Full: beyond [`CALLS_WAITING_MAX`] questions that wait for the task, or what an owner keeps,
//! the answer is `overloaded` at once.
//!
//! Runs on: the control thread; [`Gateway::presence`] on any.

use std::collections::HashMap;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::PackedClaims;
use interlink_protocol::ids::placement_hash;
use interlink_protocol::limits::PAGE_TOKEN_BYTES;
use interlink_protocol::namespace::{permit_publish, permit_subscribe};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
pub use interlink_relay::presence::{PresencePage, Present};
use tokio::sync::{mpsc, oneshot};

use super::limits::CALLS_WAITING_MAX;
use super::Gateway;
use crate::lanes::Sender;
use crate::server::Phase;
use crate::shard::presence::messages::{Answer, Ask, Asker, PresenceMessage};
use crate::shard::Message;

/// Where a page is waited for.
type Waiting = oneshot::Sender<Result<PresencePage, ErrorCode>>;

/// A question on its way to the task.
#[derive(Debug)]
pub(super) struct Look {
    shard: u16,
    channel: Box<str>,
    after: Option<Box<str>>,
    answer: Waiting,
}

/// The queue of questions and its end for the task.
pub(super) fn looks() -> (mpsc::Sender<Look>, mpsc::Receiver<Look>) {
    mpsc::channel(CALLS_WAITING_MAX)
}

/// The task's part.
#[derive(Debug)]
pub(super) struct Looks {
    waiting: HashMap<u32, Waiting>,
    last: u32,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            last: 0,
        }
    }

    /// Asks the owner.
    pub(super) fn ask(&mut self, look: Look, lanes: &mut Sender<Message>) {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.waiting.contains_key(&self.last) {
                break;
            }
        }
        let ask = PresenceMessage::Ask(Ask {
            from: lanes.own() as u16,
            asker: Asker::Call(self.last),
            scope: look.channel,
            after: look.after,
        });
        let message = Message::Presence(Box::new(ask));
        let pushed = lanes.push(usize::from(look.shard), Priority::P2, message);
        if pushed.is_ok() {
            self.waiting.insert(self.last, look.answer);
        } else {
            // The caller may have gone.
            let _ = look.answer.send(Err(ErrorCode::Overloaded));
        }
    }

    /// An owner has answered.
    pub(super) fn on_message(&mut self, message: PresenceMessage) {
        let PresenceMessage::Answer(Answer { asker, page, .. }) = message else {
            return;
        };
        let Asker::Call(number) = asker else {
            return;
        };
        if let Some(answer) = self.waiting.remove(&number) {
            // The caller may have gone.
            let _ = answer.send(page);
        }
    }
}

impl Gateway {
    /// A page of who is present in a channel: the users behind `after` in the order of names, as
    /// the service with these claims may know, or as the system without any. A service may know
    /// it of channels to which it may subscribe or publish. `next` of a page is `after` of the
    /// following one.
    ///
    /// # Errors
    /// The refusal: the channel has no presence, is not permitted, or there is no room for now.
    pub async fn presence(
        &self,
        caller: Option<&PackedClaims>,
        channel: &str,
        after: Option<&str>,
    ) -> Result<PresencePage, Refusal> {
        match self.node.phase() {
            Phase::Ready => {}
            Phase::Draining | Phase::Stopped => return Err(Refusal::of(ErrorCode::Draining)),
            Phase::Starting | Phase::Recovering => {
                return Err(Refusal::of(ErrorCode::Unavailable));
            }
        }
        self.check_presence(caller, channel, after)?;
        let (answer, answered) = oneshot::channel();
        let look = Look {
            shard: (placement_hash(channel.as_bytes()) % u64::from(self.shards)) as u16,
            channel: channel.into(),
            after: after.map(Into::into),
            answer,
        };
        if self.looks.try_send(look).is_err() {
            return Err(Refusal::of(ErrorCode::Overloaded));
        }
        match answered.await {
            Ok(page) => page.map_err(Refusal::of),
            // The node stops.
            Err(_) => Err(Refusal::of(ErrorCode::Draining)),
        }
    }

    fn check_presence(
        &self,
        caller: Option<&PackedClaims>,
        channel: &str,
        after: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.namespaces.lookup(&name);
        let policy = policy.ok_or(ErrorCode::NamespaceUnknown)?;
        if !policy.presence {
            return Err(ErrorCode::PresenceUnavailable);
        }
        if after.is_some_and(|after| after.len() > PAGE_TOKEN_BYTES) {
            return Err(ErrorCode::MalformedFrame);
        }
        let Some(claims) = caller else {
            return Ok(());
        };
        let may_publish = permit_publish(policy, &name, claims, false);
        may_publish.or_else(|_| permit_subscribe(policy, &name, claims, false))
    }
}
