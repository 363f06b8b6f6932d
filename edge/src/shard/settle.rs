//! Answers to publishes: acknowledgements, settled ids and refusals.
//!
//! Purpose: what became durable in one batch is answered with as few frames as
//! possible: consecutive ids of a publisher with the same outcome share one
//! `PublishAck`, which also carries what is settled.
//!
//! Thread: the home shard of the publisher.

use interlink_protocol::frame::{PublishAckFields, Settled};
use interlink_protocol::ids::{Position, RecordIdPrefix};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_wire as wire;

use super::backbone::SETTLED_UNTOLD_MAX;
use super::connection::NONE;
use super::journal::PendingAck;
use super::session::{AckRun, Publisher};
use super::Shard;
use crate::telemetry::latency::Stage;

/// Publisher instances of one user that are remembered at one time. Every client object is one
/// and keeps it across reconnects; a client that makes a new one for each publish must not use
/// up the table of all.
const PUBLISHERS_PER_USER: u32 = 256;

impl Shard {
    /// The publisher state of the session's instance, made at its first publish.
    pub(super) fn publisher_of(&mut self, session: u32) -> Option<u32> {
        let entry = &self.sessions[session];
        if entry.publisher != NONE {
            return Some(entry.publisher);
        }
        // Another connection may have published for this instance meanwhile; two memories of
        // its ids would accept one publish twice.
        if let Some(known) = self.find_publisher(entry.user, entry.instance) {
            self.flush_run(known);
            self.bind_publisher(session);
            return Some(known);
        }
        let entry = &self.sessions[session];
        let user = &self.users[entry.user];
        if user.publishers >= PUBLISHERS_PER_USER {
            return None;
        }
        let institution = interlink_protocol::claims::ClaimsView::institution(&user.claims);
        let prefix = RecordIdPrefix::new(institution, &user.name, entry.instance);
        let instance = entry.instance;
        let mut record = Publisher::new(instance, entry.user, prefix);
        if let Some(window) = self.recovered_windows.remove(&instance) {
            record.highest = window.highest();
            record.window = window;
        }
        let publisher = self.publishers.insert(record)?;
        self.users[self.sessions[session].user].publishers += 1;
        self.index_publisher(publisher);
        self.publishers[publisher].session = session;
        self.sessions[session].publisher = publisher;
        Some(publisher)
    }

    /// Connects a session to the publisher state that its instance already has.
    pub(super) fn bind_publisher(&mut self, session: u32) {
        let (user, instance) = (self.sessions[session].user, self.sessions[session].instance);
        let earlier = self.sessions[session].publisher;
        if earlier != NONE && self.publishers[earlier].session == session {
            self.publishers[earlier].session = NONE;
        }
        let publisher = self.find_publisher(user, instance).unwrap_or(NONE);
        self.sessions[session].publisher = publisher;
        if publisher != NONE {
            self.publishers[publisher].session = session;
            self.publishers[publisher].run = AckRun::default();
        }
    }

    /// Highest accepted id and settled ids of the session's instance, for `Welcome`.
    pub(super) fn publisher_standing(&self, session: u32) -> (u64, Option<Settled>) {
        match self.sessions[session].publisher {
            NONE => {
                let instance = &self.sessions[session].instance;
                let window = self.recovered_windows.get(instance);
                (window.map_or(0, |window| window.highest()), None)
            }
            publisher => {
                let entry = &self.publishers[publisher];
                (entry.highest, Some(entry.settled))
            }
        }
    }

    /// A publish is on the disk and numbered, on a node alone.
    pub(super) fn on_durable(&mut self, pending: &PendingAck) {
        if pending.publisher != NONE {
            let entry = &mut self.publishers[pending.publisher];
            entry.settle_durable(pending.class, (pending.id, 1));
        }
        self.give_ack(pending, false);
    }

    /// A publish is as safe as its acknowledgement says, or is `degraded`.
    pub(super) fn give_ack(&mut self, pending: &PendingAck, degraded: bool) {
        let mut level = pending.level;
        if degraded {
            level = wire::AckLevel::Local.0;
        }
        if pending.publisher == NONE {
            return self.on_service_durable(pending, wire::AckLevel(level));
        }
        let entry = &mut self.publishers[pending.publisher];
        let acknowledged = &mut entry.acknowledged[pending.class.index()];
        *acknowledged = pending.id.max(*acknowledged);
        let session = entry.session;
        if session == NONE {
            return;
        }
        let record = &mut self.sessions[session];
        if record.is_attached() {
            // The credit of an earlier connection ended with it.
            if !pending.acked && record.attachment == pending.attachment {
                record.credit.give_back(pending.class);
            }
            if pending.acked {
                self.touch(pending.publisher);
            } else {
                self.samples
                    .note(Stage::Ack(pending.class), pending.since_us, 1);
                let reached = (level, degraded);
                self.acknowledge(pending.publisher, pending.class, pending.id, reached);
            }
        }
    }

    /// Adds one acknowledgement to the publisher's run. Those of P0 leave before all other
    /// answers.
    pub(super) fn acknowledge(
        &mut self,
        publisher: u32,
        class: Priority,
        id: u64,
        (level, degraded): (u8, bool),
    ) {
        self.counters.publishes_acked.add(class, 1);
        let one = AckRun {
            first: id,
            count: 1,
            level,
            degraded,
        };
        if !self.publishers[publisher].run.extend(&one) {
            self.flush_run(publisher);
            self.publishers[publisher].run = one;
        }
        if class == Priority::P0 {
            let session = self.publishers[publisher].session;
            if session != NONE && self.sessions[session].is_attached() {
                self.mark_ready_first(self.sessions[session].connection);
            }
        }
        self.touch(publisher);
    }

    pub(super) fn touch(&mut self, publisher: u32) {
        let entry = &mut self.publishers[publisher];
        if !entry.touched {
            entry.touched = true;
            self.journal.touched.push(publisher);
        }
    }

    /// Sends the acknowledgements of this batch.
    pub(super) fn send_acks(&mut self) {
        while let Some(publisher) = self.journal.touched.pop() {
            self.publishers[publisher].touched = false;
            self.flush_run(publisher);
        }
    }

    fn flush_run(&mut self, publisher: u32) {
        let entry = &mut self.publishers[publisher];
        let run = std::mem::take(&mut entry.run);
        let (session, settled) = (entry.session, entry.settled);
        if session == NONE {
            return;
        }
        if run.count == 0 {
            return self.tell_settled_ids(publisher);
        }
        entry.told = settled;
        let connection = self.sessions[session].connection;
        if connection == NONE {
            return;
        }
        let mut encoder = self.take_encoder();
        let frame = encoder.publish_ack(&PublishAckFields {
            client_message_id: run.first,
            count: run.count,
            status: wire::PublishStatus::Accepted,
            level: wire::AckLevel(run.level),
            degraded: run.degraded,
            position: None,
            settled_through: Some(settled),
            code: 0,
            retry_after_ms: 0,
        });
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }

    /// Tells a client what is settled when there is nothing to acknowledge, by the answer to the
    /// last settled id once more.
    fn tell_settled_ids(&mut self, publisher: u32) {
        let entry = &mut self.publishers[publisher];
        if entry.untold() < SETTLED_UNTOLD_MAX {
            return;
        }
        let connection = self.sessions[entry.session].connection;
        if connection == NONE {
            return;
        }
        let settled = entry.settled;
        let classes = settled.iter().zip(entry.told);
        let newest = classes.max_by_key(|(settled, told)| *settled - told);
        let id = newest.map_or(0, |(settled, _)| *settled);
        entry.told = settled;
        self.answer_known_id(connection, id, (None, settled));
    }

    /// Answers an id that was accepted before: at once if it is settled, else with the
    /// acknowledgement that is still to come.
    pub(super) fn answer_repeat(
        &mut self,
        connection: u32,
        publisher: u32,
        class: Priority,
        id: u64,
    ) {
        self.counters.publishes_repeated.add(class, 1);
        let entry = &self.publishers[publisher];
        if entry.is_pending(class, id) {
            return;
        }
        let settled = entry.settled;
        self.answer_known_id(connection, id, (None, settled));
    }

    /// Answers a repeat, with its position where that is known.
    pub(super) fn answer_known_id(
        &mut self,
        connection: u32,
        id: u64,
        (position, settled): (Option<Position>, Settled),
    ) {
        let mut encoder = self.take_encoder();
        let frame = encoder.publish_ack(&PublishAckFields {
            client_message_id: id,
            count: 1,
            status: wire::PublishStatus::Duplicate,
            level: wire::AckLevel::Local,
            degraded: false,
            position,
            settled_through: Some(settled),
            code: 0,
            retry_after_ms: 0,
        });
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }

    /// Refuses a publish; nothing of it was kept.
    pub(super) fn refuse(&mut self, connection: u32, id: u64, refusal: Refusal) {
        self.counters.refusals.add(refusal.code);
        let mut encoder = self.take_encoder();
        let frame = encoder.publish_ack(&PublishAckFields {
            client_message_id: id,
            count: 1,
            status: wire::PublishStatus::Refused,
            level: wire::AckLevel::Default,
            degraded: false,
            position: None,
            settled_through: None,
            code: refusal.code.number(),
            retry_after_ms: refusal.retry_after_ms,
        });
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }
}
