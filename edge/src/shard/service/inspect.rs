//! What services may know of channels: who subscribes, who is present, and what was published.
//!
//! Thread: the owner of the channel; of members any shard that has some.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::PackedClaims;
use interlink_protocol::ids::Position;
use interlink_protocol::limits::{HISTORY_PAGE_EVENTS, PAGE_TOKEN_BYTES};
use interlink_protocol::namespace::permit_inspect;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;

use super::questions::{ActiveChannel, PastEvents, Question, Told, CHANNELS_PER_QUESTION};
use crate::shard::behind::HISTORIES_PER_SHARD;
use crate::shard::files::{FilesRequest, HistoryAnswer, HistoryFor, HistoryWish};
use crate::shard::presence::messages::{Ask, Asker, PresenceMessage};
use crate::shard::Shard;

impl Shard {
    /// Channels that this shard owns, that have subscribers and that the service may look at.
    pub(super) fn owned_channels(
        &self,
        service: &PackedClaims,
        prefix: &str,
        from: u32,
        limit: usize,
    ) -> Told {
        let mut found = Vec::new();
        let mut next = from;
        for _ in 0..CHANNELS_PER_QUESTION {
            let Some(channel) = self.channels.next_live(next) else {
                return Told::Channels(found, None);
            };
            if found.len() >= limit {
                return Told::Channels(found, Some(channel));
            }
            next = channel + 1;
            let entry = &self.channels[channel];
            let elsewhere = self.interest.get(&channel).copied().unwrap_or_default();
            let is_active = entry.member_count > 0 || elsewhere != 0;
            if is_active
                && entry.name.starts_with(prefix)
                && self.owner_of(&entry.name) == self.id
                && self.may_inspect(service, &entry.name)
            {
                found.push(ActiveChannel {
                    name: entry.name.clone(),
                    class: entry.priority,
                    members: entry.member_count,
                    elsewhere,
                    offset: entry.sequencer.top().offset,
                });
            }
        }
        Told::Channels(found, Some(next))
    }

    fn may_inspect(&self, service: &PackedClaims, name: &str) -> bool {
        let Ok(name) = ChannelName::parse(name) else {
            return false;
        };
        let policy = self.shared.namespaces.lookup(&name);
        policy.is_some_and(|policy| permit_inspect(policy, &name, service).is_ok())
    }

    /// Subscribers that channels have on this shard.
    pub(super) fn members_of(&self, names: &[Box<str>]) -> Told {
        let members = names.iter().map(|name| {
            let found = self.find_channel(name);
            found.map_or(0, |channel| self.channels[channel].member_count)
        });
        Told::Members(members.collect())
    }

    /// Asks the files thread for past events; the reply follows with its answer.
    pub(super) fn ask_history(
        &mut self,
        question: &Question,
        channel: &str,
        after: Position,
        limit: usize,
    ) -> Result<(), ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.shared.namespaces.lookup(&name);
        let policy = policy.ok_or(ErrorCode::NamespaceUnknown)?;
        permit_inspect(policy, &name, &*question.claims)?;
        if !policy.durable {
            return Err(ErrorCode::HistoryUnavailable);
        }
        if self.files.histories >= HISTORIES_PER_SHARD {
            return Err(ErrorCode::RateLimited);
        }
        self.files.histories += 1;
        self.files.request(FilesRequest::History(HistoryWish {
            shard: self.id,
            channel: channel.into(),
            after,
            limit: limit.clamp(1, HISTORY_PAGE_EVENTS),
            floor: self.history_floor(policy),
            purpose: HistoryFor::Service {
                from: question.from,
                number: question.number,
            },
        }));
        Ok(())
    }

    /// Asks for a page of who is present; the reply follows when the scope is ready.
    pub(super) fn ask_presence(
        &mut self,
        question: &Question,
        channel: &str,
        after: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.shared.namespaces.lookup(&name);
        let policy = policy.ok_or(ErrorCode::NamespaceUnknown)?;
        permit_inspect(policy, &name, &*question.claims)?;
        if !policy.presence {
            return Err(ErrorCode::PresenceUnavailable);
        }
        if after.is_some_and(|after| after.len() > PAGE_TOKEN_BYTES) {
            return Err(ErrorCode::PageInvalid);
        }
        self.on_presence(PresenceMessage::Ask(Ask {
            from: question.from,
            asker: Asker::Service(question.number),
            scope: channel.into(),
            after: after.map(Into::into),
        }));
        Ok(())
    }

    /// The files thread has read past events for a service.
    pub(in crate::shard) fn answer_service_history(
        &mut self,
        (from, number): (u16, u32),
        answer: HistoryAnswer,
    ) {
        let top = self
            .find_channel(&answer.wish.channel)
            .map(|channel| self.channels[channel].sequencer.top());
        let is_gone = !answer.complete && answer.frames.is_empty();
        let told = match (answer.later, is_gone) {
            (Some(code), _) => Err(code),
            // From the beginning everything that is left follows, unless it cannot be read.
            (None, true) if answer.wish.after == Position::ZERO => Err(ErrorCode::Unavailable),
            (None, true) => Err(ErrorCode::PositionUnknown),
            (None, false) => Ok(Told::History(PastEvents {
                frames: answer.frames,
                last: answer.last,
                more: answer.more,
                top,
                stale: answer.stale,
            })),
        };
        self.reply_question(from, number, told.map_err(Refusal::of));
    }
}
