//! One publish without a session: checked, numbered, journaled, kept.
//!
//! Purpose: the steps of `publish` and `mesh` for a publisher that has no session, credit or
//! window of ids; instead of these stand the asker's bound and the memory of keys.
//!
//! Thread: the home shard of the publish's key.

use interlink_protocol::claims::ClaimsView;
use interlink_protocol::frame::EventFields;
use interlink_protocol::session::publish::{check_service, Attempt, PublishDecision, Refusal};
use interlink_protocol::ErrorCode;
use interlink_relay::dedupe::{KeyVerdict, KEY_MESSAGE_ID};
use interlink_relay::record::{Placement, RecordRef, Sequence};
use interlink_wire as wire;

use super::{Outcome, Service, ServicePublish, Submission, Ticket};
use crate::shard::connection::NONE;
use crate::shard::journal::PendingAck;
use crate::shard::judged::Judged;
use crate::shard::Shard;

/// A checked publish.
struct Checked<'a> {
    publish: &'a ServicePublish,
    publisher: &'a str,
    decision: PublishDecision,
    payload_hash: u64,
}

impl Checked<'_> {
    fn event_fields(&self, next: &Placement, server_time_us: u64) -> EventFields<'_> {
        EventFields {
            channel: &self.publish.channel,
            position: next.position,
            previous_chain: next.previous_chain,
            record: self.publish.record,
            publisher: self.publisher,
            priority: self.decision.priority,
            event_type: self.publish.event_type,
            schema_version: self.publish.schema_version,
            server_time_us,
            payload: &self.publish.payload,
            conflation_key: self.publish.conflation_key.as_deref(),
            trace: self.publish.trace_fields(),
        }
    }

    fn record<'a>(
        &'a self,
        placement: Option<Placement>,
        frame: &'a [u8],
        accepted_at_us: u64,
    ) -> RecordRef<'a> {
        RecordRef {
            class: self.decision.priority,
            record: self.publish.record,
            instance: self.publish.instance,
            client_message_id: KEY_MESSAGE_ID,
            payload_hash: self.payload_hash,
            accepted_at_us,
            channel: &self.publish.channel,
            placement,
            frame,
        }
    }
}

impl Shard {
    /// Takes one publish for `waiter`. No outcome: the waiter gets it with a ticket.
    pub(super) fn accept_service(
        &mut self,
        publish: &ServicePublish,
        submission: &Submission,
        (waiter, judged): ((u32, u32), Option<Judged>),
    ) -> Result<Option<Outcome>, Refusal> {
        let claims = submission.claims.as_deref();
        let decision = check_service(
            &publish.fields(),
            &self.shared.namespaces,
            &self.shared.registry,
            claims.map(|claims| claims as &dyn ClaimsView),
        )?;
        // What the system has to say of its end leaves as long as somebody listens.
        if self.drain.refuses_work() && (claims.is_some() || decision.durable) {
            return Err(Refusal::of(ErrorCode::Draining));
        }
        let checked = Checked {
            publish,
            publisher: &submission.publisher,
            decision,
            payload_hash: Submission::payload_hash(publish),
        };
        let class = decision.priority;
        let keyed = claims.is_some();
        if keyed {
            let verdict = self
                .service
                .keys
                .look_up(publish.instance, checked.payload_hash);
            if let Some(known) = self.answer_known(&checked, verdict, waiter)? {
                self.counters.publishes_repeated.add(class, 1);
                return Ok(known);
            }
        }
        if decision.attempt == Attempt::LookUp {
            // Without an archive nobody knows keys of such an age.
            let judged = judged.unwrap_or(Judged::TooOld);
            if let Some(code) = judged.refusal() {
                return Err(Refusal::of(code));
            }
            if judged != Judged::New {
                self.counters.publishes_repeated.add(class, 1);
                return Ok(Some(repeat(&checked)));
            }
        }
        let ticket = self.submit_checked(&checked, waiter)?;
        if keyed {
            let now_s = self.clock.unix_s() as u32;
            let keys = &mut self.service.keys;
            keys.insert(publish.instance, checked.payload_hash, ticket, now_s);
        }
        self.counters.publishes.add(class, 1);
        if ticket != 0 {
            return Ok(None);
        }
        self.counters.publishes_acked.add(class, 1);
        Ok(Some(Outcome::Accepted {
            level: wire::AckLevel::Accepted,
            repeat: false,
        }))
    }

    /// Answers a key that was seen before: at once if it is settled, else together with its
    /// first publish. `None` when it was not seen.
    fn answer_known(
        &mut self,
        checked: &Checked<'_>,
        verdict: KeyVerdict,
        waiter: (u32, u32),
    ) -> Result<Option<Option<Outcome>>, Refusal> {
        match verdict {
            KeyVerdict::New => Ok(None),
            KeyVerdict::Conflict => Err(Refusal::of(ErrorCode::IdempotencyConflict)),
            KeyVerdict::Waiting(ticket) => {
                if let Some(ticket) = self.service.tickets.get_mut(&ticket) {
                    ticket.waiting.push(waiter);
                    return Ok(Some(None));
                }
                Ok(Some(Some(repeat(checked))))
            }
            KeyVerdict::Settled => Ok(Some(Some(repeat(checked)))),
        }
    }

    /// Lets a new publish go its way; returns its ticket, or 0 when its outcome is known.
    fn submit_checked(
        &mut self,
        checked: &Checked<'_>,
        waiter: (u32, u32),
    ) -> Result<u32, ErrorCode> {
        let owner = self.numberer_of(&checked.publish.channel, checked.decision.durable);
        if !checked.decision.durable {
            self.pass_on(checked, owner)?;
            return Ok(0);
        }
        let (sequence, placed) = if self.is_clustered() {
            self.check_room(checked.decision.priority, checked.decision.level)?;
            (self.journal_for_relay(checked)?, true)
        } else if owner == self.id {
            (self.journal_owned(checked)?, true)
        } else {
            (self.journal_foreign(checked, owner)?, false)
        };
        if checked.decision.level == wire::AckLevel::Accepted {
            return Ok(0);
        }
        let service = &mut self.service;
        let tickets = &service.tickets;
        let ticket = Service::next_number(&mut service.last_ticket, |at| tickets.contains_key(&at));
        let entry = Ticket {
            instance: checked.publish.instance,
            class: checked.decision.priority,
            waiting: vec![waiter],
        };
        service.tickets.insert(ticket, entry);
        self.journal.await_durable(
            sequence,
            PendingAck {
                publisher: NONE,
                attachment: 0,
                id: u64::from(ticket),
                class: checked.decision.priority,
                level: self.reachable(checked.decision.level).0,
                acked: false,
                placed,
                since_us: self.clock.now_us(),
            },
        );
        Ok(ticket)
    }

    /// Numbers, journals and keeps an event of a channel that this shard owns.
    fn journal_owned(&mut self, checked: &Checked<'_>) -> Result<Sequence, ErrorCode> {
        let channel = self.channel_to(&checked.publish.channel, &checked.decision)?;
        let next = self.channels[channel]
            .sequencer
            .next(checked.publish.record);
        let now_us = self.clock.unix_us;
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&checked.event_fields(&next, now_us));
        let appended = self.journal_append(&checked.record(Some(next), frame, now_us));
        if let Ok(sequence) = appended {
            self.channels[channel].sequencer.commit(&next);
            let end = self.keep_event(channel, &next, frame);
            let class = checked.decision.priority;
            let since_us = self.clock.now_us();
            self.journal
                .await_visible(class, sequence, channel, (end, since_us));
        }
        self.encoder = Some(encoder);
        appended
    }

    /// Journals an event of a channel of another owner.
    fn journal_foreign(
        &mut self,
        checked: &Checked<'_>,
        owner: u16,
    ) -> Result<Sequence, ErrorCode> {
        let now_us = self.clock.unix_us;
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&checked.event_fields(&Placement::default(), now_us));
        let appended = self.journal_append(&checked.record(None, frame, now_us));
        if let Ok(sequence) = appended {
            let class = checked.decision.priority;
            self.forward_record(class, sequence, checked.publish.record, (owner, frame));
        }
        self.encoder = Some(encoder);
        appended
    }

    /// Journals an event that the relay thread numbers.
    fn journal_for_relay(&mut self, checked: &Checked<'_>) -> Result<Sequence, ErrorCode> {
        let now_us = self.clock.unix_us;
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&checked.event_fields(&Placement::default(), now_us));
        let appended = self.journal_clustered(&checked.record(None, frame, now_us));
        self.encoder = Some(encoder);
        appended
    }

    /// Lets an event that nobody stores go out.
    fn pass_on(&mut self, checked: &Checked<'_>, owner: u16) -> Result<(), ErrorCode> {
        let now_us = self.clock.unix_us;
        let mut encoder = self.take_encoder();
        if owner != self.id {
            let frame = encoder.event(&checked.event_fields(&Placement::default(), now_us));
            let class = checked.decision.priority;
            self.send_ephemeral(class, checked.publish.record, (owner, frame));
            self.encoder = Some(encoder);
            return Ok(());
        }
        let found = self.channel_to(&checked.publish.channel, &checked.decision);
        if let Ok(channel) = found {
            let next = self.channels[channel].sequencer.next_ephemeral();
            let frame = encoder.event(&checked.event_fields(&next, now_us));
            self.channels[channel].sequencer.commit(&next);
            let end = self.keep_event(channel, &next, frame);
            let since_us = self.clock.now_us();
            self.tell_elsewhere(checked.decision.priority, frame);
            self.make_visible(channel, end, since_us);
        }
        self.encoder = Some(encoder);
        found.map(drop)
    }
}

/// The answer to a key that is settled. One node reaches `local` at most.
fn repeat(checked: &Checked<'_>) -> Outcome {
    let durable = checked.decision.durable && checked.decision.level != wire::AckLevel::Accepted;
    Outcome::Accepted {
        level: match durable {
            true => wire::AckLevel::Local,
            false => wire::AckLevel::Accepted,
        },
        repeat: true,
    }
}
