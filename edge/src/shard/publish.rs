//! From a `Publish` frame to a numbered event on its way to disk and subscribers.
//!
//! Purpose: the hot path of the server. Checks come first and cost no memory; then
//! the event is encoded once, numbered by its channel's owner, journaled if the
//! channel is durable, and kept in the channel's log for the pass that sends it.
//!
//! Order: while an id is refused for now, every later id of its class is refused
//! too, so that a retry cannot fall behind what followed it
//! ([`Barrier`](interlink_protocol::session::barrier::Barrier)).
//!
//! Thread: the home shard of the publisher. Channels of other owners: `mesh`.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::frame::{EventFields, TraceFields};
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::{check_publish, Attempt, PublishDecision, Refusal};
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_relay::dedupe::Verdict;
use interlink_relay::record::{Placement, RecordRef};
use interlink_wire as wire;

use super::connection::NONE;
use super::journal::PendingAck;
use super::judged::Judged;
use super::Shard;
use crate::memory::{AppendError, EventMeta};
use crate::telemetry::latency::Stage;

/// Logs that one event frees while memory is scarce.
const LOGS_RECLAIMED: usize = 4;

/// A publish that passed every check, with what the next steps need.
pub(super) struct Checked<'a> {
    pub frame: &'a wire::Publish<'a>,
    pub decision: PublishDecision,
    pub session: u32,
    pub publisher: u32,
    pub record: RecordId,
    pub payload_hash: u64,
}

impl Checked<'_> {
    fn class(&self) -> Priority {
        self.decision.priority
    }
}

impl Shard {
    /// A client publishes; `excess` is the answer if it does so too fast and this is new.
    pub(super) fn on_publish(
        &mut self,
        connection: u32,
        frame: &wire::Publish<'_>,
        excess: Option<Refusal>,
    ) {
        self.publish(connection, frame, excess, None);
    }

    /// As [`Self::on_publish`], with what the archive has said of an old one.
    pub(super) fn publish(
        &mut self,
        connection: u32,
        frame: &wire::Publish<'_>,
        excess: Option<Refusal>,
        judged: Option<Judged>,
    ) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let id = frame.client_message_id();
        let checked = match self.check(session, frame) {
            Ok(checked) => checked,
            Err(refusal) => {
                self.note_refused_channel(session, refusal.code);
                if !refusal.code.is_temporary() {
                    self.forget_refused(session, id);
                }
                self.count_refused(frame.channel());
                return self.refuse(connection, id, refusal);
            }
        };
        let (publisher, class) = (checked.publisher, checked.class());
        self.note_publish(publisher);
        let entry = &mut self.publishers[publisher];
        let known = entry.window.look_up(class, id, checked.payload_hash);
        if let (Verdict::New | Verdict::TooOld, Some(Judged::Repeat(position))) = (known, judged) {
            return self.answer_archived(connection, &checked, position);
        }
        let unjudged = checked.decision.attempt == Attempt::LookUp && judged.is_none();
        let refusal = match known {
            Verdict::New if excess.is_some() => excess,
            // Without an archive nobody knows ids of such an age.
            Verdict::New if unjudged => Some(ErrorCode::OutcomeUnknown.into()),
            Verdict::New if judged.is_some_and(|judged| judged.refusal().is_some()) => {
                judged.and_then(Judged::refusal).map(Refusal::of)
            }
            Verdict::New if entry.barrier[class.index()].admits(id) => None,
            Verdict::New => Some(ErrorCode::Overloaded.into()),
            Verdict::Repeat => return self.answer_repeat(connection, publisher, class, id),
            Verdict::Conflict => Some(ErrorCode::IdempotencyConflict.into()),
            Verdict::TooOld => Some(ErrorCode::OutcomeUnknown.into()),
        };
        if let Some(refusal) = refusal {
            return self.refuse_of(connection, publisher, class, (id, refusal));
        }
        match self.accept(&checked) {
            Ok(()) => {
                let now_s = self.clock.unix_s() as u32;
                let now_ms = self.clock.now_ms;
                let entry = &mut self.publishers[publisher];
                entry.window.insert(class, id, checked.payload_hash, now_s);
                entry.accepted(class, id, now_ms);
                self.counters.publishes.add(class, 1);
            }
            Err(code) => self.refuse_of(connection, publisher, class, (id, code.into())),
        }
    }

    /// A publish that the archive knows: it is in Kafka and numbered, or will be.
    fn answer_archived(
        &mut self,
        connection: u32,
        checked: &Checked<'_>,
        position: Option<Position>,
    ) {
        let (class, id) = (checked.class(), checked.frame.client_message_id());
        let now_s = self.clock.unix_s() as u32;
        self.counters.publishes_repeated.add(class, 1);
        let entry = &mut self.publishers[checked.publisher];
        entry.window.insert(class, id, checked.payload_hash, now_s);
        if entry.barrier[class.index()].admits(id) {
            entry.settle_now(class, id);
        }
        entry.barrier[class.index()].passed(id);
        let settled = entry.settled;
        self.answer_known_id(connection, id, (position, settled));
    }

    /// Refuses a publish and notes whether it has to come again before later ones.
    pub(super) fn refuse_of(
        &mut self,
        connection: u32,
        publisher: u32,
        class: Priority,
        (id, refusal): (u64, Refusal),
    ) {
        self.counters.publishes_refused.add(class, 1);
        let barrier = &mut self.publishers[publisher].barrier[class.index()];
        if !refusal.code.is_temporary() {
            barrier.passed(id);
        } else if barrier.refused(id).is_err() {
            return self.close_with(connection, CloseCode::Overloaded);
        }
        self.refuse(connection, id, refusal);
    }

    /// Counts a publish that was refused before its class was known to be right; names that no
    /// namespace has are of no class.
    fn count_refused(&mut self, channel: &str) {
        let name = ChannelName::parse(channel).ok();
        let policy = name.and_then(|name| self.shared.namespaces.lookup(&name));
        if let Some(policy) = policy {
            self.counters.publishes_refused.add(policy.priority, 1);
        }
    }

    /// An id that was refused for now came again and was refused for good: nothing waits for it.
    fn forget_refused(&mut self, session: u32, id: u64) {
        let publisher = self.sessions[session].publisher;
        if publisher != NONE {
            let barriers = &mut self.publishers[publisher].barrier;
            // Ids are unique across classes, and one that no class awaits changes nothing.
            barriers.iter_mut().for_each(|barrier| barrier.passed(id));
        }
    }

    pub(super) fn check<'a>(
        &mut self,
        session: u32,
        frame: &'a wire::Publish<'a>,
    ) -> Result<Checked<'a>, Refusal> {
        let user = &self.users[self.sessions[session].user];
        let decision = check_publish(
            frame,
            &self.shared.namespaces,
            &self.shared.registry,
            &user.claims,
            || self.holds_grant(session, frame.channel()),
        )?;
        let publisher = self
            .publisher_of(session)
            .ok_or_else(|| Refusal::of(ErrorCode::Overloaded))?;
        let record = self.publishers[publisher]
            .prefix
            .id(frame.client_message_id());
        let payload_hash = xxhash_rust::xxh3::xxh3_64(frame.payload().bytes());
        Ok(Checked {
            frame,
            decision,
            session,
            publisher,
            record,
            payload_hash,
        })
    }

    fn accept(&mut self, checked: &Checked<'_>) -> Result<(), ErrorCode> {
        if self.drain.refuses_work() {
            return Err(ErrorCode::Draining);
        }
        let owner = self.numberer_of(checked.frame.channel(), checked.decision.durable);
        if !checked.decision.durable {
            return self.accept_ephemeral(checked, owner);
        }
        let class = checked.class();
        let credit = &mut self.sessions[checked.session].credit;
        credit.take(class).map_err(|_| ErrorCode::Overloaded)?;
        let result = if self.is_clustered() {
            self.accept_clustered(checked)
        } else if owner == self.id {
            self.accept_owned(checked)
        } else {
            self.accept_foreign(checked, owner)
        };
        if result.is_err() {
            self.sessions[checked.session].credit.give_back(class);
        }
        result
    }

    /// Numbers, journals and keeps an event of a channel that this shard owns.
    fn accept_owned(&mut self, checked: &Checked<'_>) -> Result<(), ErrorCode> {
        let channel = self.channel_for(
            checked.publisher,
            checked.frame.channel(),
            &checked.decision,
        )?;
        let next = self.channels[channel].sequencer.next(checked.record);
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&self.event_fields(checked, &next));
        let record = self.record_ref(checked, Some(next), frame);
        let appended = self.journal_append(&record);
        let result = appended.map(|sequence| {
            self.channels[channel].sequencer.commit(&next);
            let end = self.keep_event(channel, &next, frame);
            let class = checked.class();
            let since_us = self.clock.now_us();
            self.journal
                .await_visible(class, sequence, channel, (end, since_us));
            self.await_ack(checked, sequence, true);
        });
        self.encoder = Some(encoder);
        result
    }

    /// Numbers an event that nobody stores and lets it go out at once.
    fn accept_ephemeral(&mut self, checked: &Checked<'_>, owner: u16) -> Result<(), ErrorCode> {
        if owner != self.id {
            self.forward_ephemeral(checked, owner)?;
        } else {
            let channel = self.channel_for(
                checked.publisher,
                checked.frame.channel(),
                &checked.decision,
            )?;
            let next = self.channels[channel].sequencer.next_ephemeral();
            let mut encoder = self.take_encoder();
            let frame = encoder.event(&self.event_fields(checked, &next));
            self.channels[channel].sequencer.commit(&next);
            let end = self.keep_event(channel, &next, frame);
            self.tell_elsewhere(checked.class(), frame);
            self.encoder = Some(encoder);
            self.make_visible(channel, end, self.clock.now_us());
        }
        let id = checked.frame.client_message_id();
        self.publishers[checked.publisher].settle_now(checked.class(), id);
        self.samples
            .note(Stage::Ack(checked.class()), self.clock.now_us(), 1);
        self.acknowledge(
            checked.publisher,
            checked.class(),
            id,
            (wire::AckLevel::Accepted.0, false),
        );
        Ok(())
    }

    /// Waits for the disk before the acknowledgement, or acknowledges now where the channel's
    /// level is `accepted`.
    pub(super) fn await_ack(
        &mut self,
        checked: &Checked<'_>,
        sequence: interlink_relay::record::Sequence,
        placed: bool,
    ) {
        let id = checked.frame.client_message_id();
        let level = checked.decision.level;
        let acked = level == wire::AckLevel::Accepted;
        let class = checked.class();
        let attachment = self.sessions[checked.session].attachment;
        let publisher = checked.publisher;
        let level = self.reachable(level);
        self.journal.await_durable(
            sequence,
            PendingAck {
                publisher,
                attachment,
                id,
                since_us: self.clock.now_us(),
                class,
                level: level.0,
                acked,
                placed,
            },
        );
        self.publishers[publisher].in_flight[class.index()] += 1;
        if acked {
            self.sessions[checked.session].credit.give_back(class);
            self.samples.note(Stage::Ack(class), self.clock.now_us(), 1);
            self.publishers[publisher].acknowledged[class.index()] = id;
            self.acknowledge(publisher, class, id, (level.0, false));
        }
    }

    pub(super) fn event_fields<'a>(
        &'a self,
        checked: &Checked<'a>,
        next: &Placement,
    ) -> EventFields<'a> {
        let frame = checked.frame;
        EventFields {
            channel: frame.channel(),
            position: next.position,
            previous_chain: next.previous_chain,
            record: checked.record,
            publisher: &self.users[self.sessions[checked.session].user].name,
            priority: checked.decision.priority,
            event_type: frame.event_type(),
            schema_version: frame.schema_version(),
            server_time_us: self.clock.unix_us,
            payload: frame.payload().bytes(),
            conflation_key: frame.conflation_key(),
            trace: TraceFields::of(frame.trace()),
        }
    }

    pub(super) fn record_ref<'a>(
        &self,
        checked: &Checked<'a>,
        placement: Option<Placement>,
        frame: &'a [u8],
    ) -> RecordRef<'a> {
        RecordRef {
            class: checked.decision.priority,
            record: checked.record,
            instance: self.publishers[checked.publisher].instance,
            client_message_id: checked.frame.client_message_id(),
            payload_hash: checked.payload_hash,
            accepted_at_us: self.clock.unix_us,
            channel: checked.frame.channel(),
            placement,
            frame,
        }
    }

    /// Appends an event to its channel's log and returns the log's end.
    pub(super) fn keep_event(&mut self, channel: u32, next: &Placement, frame: &[u8]) -> u64 {
        let before = Position {
            epoch: next.position.epoch,
            offset: next.position.offset - 1,
            chain: next.previous_chain,
        };
        let now_ms = self.clock.now_ms;
        let meta = EventMeta {
            position: next.position,
            previous_chain: next.previous_chain,
            time_s: now_ms / 1_000,
        };
        self.make_room(channel);
        if self.logs.is_scarce() {
            self.reclaim_logs();
        }
        let entry = &mut self.channels[channel];
        let parts = (before, &meta, frame);
        let mut appended = self.logs.append(channel, entry, parts, now_ms);
        if appended == Err(AppendError::PoolEmpty) {
            self.note_members(channel);
            let entry = &mut self.channels[channel];
            self.logs.trim_scarce(entry);
            appended = self.logs.append(channel, entry, parts, now_ms);
        }
        if appended.is_err() {
            self.counters.pool_empty += 1;
            self.give_up_log(channel, before, before);
            let entry = &mut self.channels[channel];
            appended = self.logs.append(channel, entry, parts, now_ms);
        }
        self.keep_value(channel, next.position, frame);
        appended.unwrap_or_else(|_| {
            // The log goes on after the event, which is missing in it.
            self.give_up_log(channel, before, next.position);
            self.logs.visible_end(&self.channels[channel])
        })
    }

    /// Frees memory of the logs that were looked at least recently: what they keep beyond a few
    /// events is for those who come back, and history serves these too. A few for each event are
    /// enough, since one log gives back more than one event takes.
    fn reclaim_logs(&mut self) {
        let now_ms = self.clock.now_ms;
        for _ in 0..LOGS_RECLAIMED {
            let Some(channel) = self.logs.next_reclaimed(now_ms) else {
                return;
            };
            let entry = &self.channels[channel];
            if entry.priority == Priority::P0 {
                continue;
            }
            if entry.flags & super::channel::DIRTY != 0 {
                self.note_members(channel);
            }
            self.logs.trim_scarce(&self.channels[channel]);
        }
    }

    /// Drops what the channel's log need not keep. While a pass is due only a log that has
    /// grown far is cut.
    fn make_room(&mut self, channel: u32) {
        let entry = &self.channels[channel];
        let in_pass = entry.flags & super::channel::DIRTY != 0;
        if !self.logs.is_beyond_retention(entry, in_pass) {
            return;
        }
        if in_pass {
            self.note_members(channel);
        }
        self.logs.trim(&self.channels[channel]);
    }

    /// Lets the channel's events up to byte position `end` be sent; the last was published at
    /// `since_us`.
    pub(super) fn make_visible(&mut self, channel: u32, end: u64, since_us: u32) {
        let (class, members) = {
            let entry = &self.channels[channel];
            (entry.priority, entry.member_count)
        };
        let Some(visible) = self.logs.visible_mut(&self.channels[channel]) else {
            return self.tell_of_missing(channel);
        };
        let from = visible.end;
        visible.end = from.max(end);
        if end <= from {
            return self.tell_of_missing(channel);
        }
        if members > 0 {
            visible.coming.add(since_us, 1);
        }
        self.samples.note(Stage::Visible(class), since_us, 1);
        self.mark_dirty(channel);
        self.spread(channel, from);
        if self.channels[channel].flags & super::channel::DIRTY == 0 {
            self.note_spent(channel);
        }
    }
}
