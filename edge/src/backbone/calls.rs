//! What the relay thread asks Redis, and what it answers.

use std::sync::Arc;

use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest, Floor, Publish,
    SkipReason, Standing,
};
use interlink_relay::breaker::Traffic;
use interlink_relay::event_log::LogRecord;
use interlink_relay::lines::{Outcome, Question};
use interlink_relay::ports::{Busy, Ticket};
use interlink_relay::record::{Kind, Sequence};
use interlink_wire as wire;

use super::archive::Ask;
use super::counts::add;
use super::guard::End;
use super::limits::{EVENTS_PER_ROUND, OUTGOING_MAX, TRY_AGAIN_US};
use super::questions::Answered;
use super::reads::Admission;
use super::task::Relay;
use super::watches::Wish;
use crate::shard::files::event_of;
use crate::shard::kept::KeptWish;
use crate::shard::skips::Skip;
use crate::shard::{Foreign, Message};

type Answer = Result<BackplaneAnswer, BackplaneError>;

impl Relay {
    /// Takes what the backplane has to say; says whether more waits.
    pub(super) fn hear_backplane(&mut self, now_us: u64) -> bool {
        for _ in 0..EVENTS_PER_ROUND {
            if self.outgoing.len() >= OUTGOING_MAX {
                // The backplane's own bound holds what comes, and repairs what it drops.
                return false;
            }
            let Some(event) = self.backplane.complete() else {
                return false;
            };
            match event {
                BackplaneEvent::Answer(ticket, answer) => self.on_answer(ticket, answer, now_us),
                BackplaneEvent::Message {
                    channel,
                    placement,
                    frame,
                } => {
                    add(&self.counts.events, 1);
                    let shards = self.watches.advance(&channel, placement.position);
                    let frame: Arc<[u8]> = frame.into();
                    self.send_to_each(shards, &channel, || Message::Event(Arc::clone(&frame)));
                }
                BackplaneEvent::Told { channel, frame } => {
                    if !self.on_node_frame(&channel, &frame) {
                        self.on_told(&channel, &frame);
                    }
                }
                BackplaneEvent::Skipped {
                    channel,
                    position,
                    skipped,
                    reason,
                } => {
                    add(&self.counts.skips, 1);
                    let shards = self.watches.advance(&channel, position);
                    self.send_to_each(shards, &channel, || {
                        Message::Skip(Box::new(Skip {
                            channel: channel.clone(),
                            position,
                            skipped,
                            reason: told_reason(reason),
                        }))
                    });
                }
                BackplaneEvent::LineageChanged { partitions } => {
                    self.lines.rewind(&partitions, now_us);
                    self.nodes.on_forgotten(now_us);
                    self.seeding.begin();
                }
                BackplaneEvent::Standing(standing) => self.on_standing(standing, now_us),
            }
        }
        true
    }

    fn on_standing(&mut self, standing: Standing, now_us: u64) {
        tracing::info!(?standing, "backplane");
        let connected = standing == Standing::Connected;
        self.redis.connected(connected, now_us);
        self.reads.connected(connected, now_us);
        self.standing = standing;
        self.nodes.on_standing(standing, now_us);
        if connected {
            self.seeding.begin_if_done();
            self.lines.resume();
            self.watches.try_again();
        }
    }

    fn on_answer(&mut self, ticket: Ticket, answer: Answer, now_us: u64) {
        // A call is of one of them or of none.
        self.redis.ended(ticket, End::of(&answer), now_us);
        self.reads.ended(ticket, End::of(&answer), now_us);
        if let Some(line) = self.calls.remove(&ticket) {
            match answer {
                Ok(BackplaneAnswer::TopsWanted(channels)) => {
                    self.archive.ask(Ask::Tops(line, channels));
                    self.seeding.begin_if_done();
                }
                Ok(BackplaneAnswer::Published(published)) => {
                    self.floors.forget(line);
                    for placed in self.lines.placed(line, &published) {
                        let counter = match placed.outcome {
                            Outcome::Placed => &self.counts.placed,
                            _ => &self.counts.placed_again,
                        };
                        add(counter, 1);
                        self.feeder.placed(&placed);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    if !matches!(error, BackplaneError::Away) {
                        tracing::warn!(%error, ?line, "records wait");
                    }
                    add(&self.counts.calls_failed, 1);
                    self.floors.forget(line);
                    self.lines.failed(line, now_us);
                }
            }
        } else if let Some((line, number)) = self.proofs.remove(&ticket) {
            match answer {
                Ok(BackplaneAnswer::Known(places)) => self.lines.known(line, number, &places),
                _ => self.lines.not_known(line, number, now_us),
            }
        } else if self.questions.is_asked(ticket) {
            let page = match answer {
                Ok(BackplaneAnswer::History(page)) => Some(page),
                _ => None,
            };
            let archive = self.archive.is_there();
            let answered = self.questions.answered(ticket, page, archive);
            self.on_answered(answered);
        } else if self.watches.is_asked(ticket) {
            let top = match answer {
                Ok(BackplaneAnswer::Subscribed(position)) => Some(position),
                _ => None,
            };
            if let Some(granted) = self.watches.answered(ticket, top) {
                self.grant(&granted);
            }
        } else if self.seeding.is_asked(ticket) {
            self.on_seed_answer(ticket, answer, now_us);
        } else if self.nodes.is_asked(ticket) {
            self.on_node_answer(ticket, &answer, now_us);
        }
    }

    fn on_answered(&mut self, answered: Answered) {
        match answered {
            Answered::Nothing => {}
            Answered::Reply(shard, reply) => self.peers[usize::from(shard)].reply(reply),
            Answered::Archive(past) => self.archive.ask(Ask::Past(past)),
            Answered::Kept(wish) => {
                add(&self.counts.histories_kept, 1);
                let shards = self.watches.hearing(&wish.channel);
                let channel = wish.channel.clone();
                let mut kept = KeptWish::new(wish, shards);
                // Behind the events of the channel that the shard was sent before.
                let shard = kept.next_shard();
                self.send(shard, &channel, Message::ReadLog(Box::new(kept)));
            }
        }
    }

    /// An event that another node told: the shard that owns its channel counts it.
    fn on_told(&mut self, channel: &str, frame: &[u8]) {
        let Some(event) = event_of(frame) else {
            return;
        };
        let class = event.priority;
        let foreign = Foreign {
            home: self.port.sender.own() as u16,
            kind: Kind::of(class),
            sequence: Sequence::NONE,
            record: event.record,
            durable: false,
            since_us: 0,
            frame: frame.to_vec(),
        };
        let owner = interlink_protocol::ids::placement_hash(channel.as_bytes());
        let owner = (owner % self.peers.len() as u64) as usize;
        // What finds no room is lost, as an event may be that nobody stores.
        let _ = self
            .port
            .sender
            .push(owner, class, Message::Place(Box::new(foreign)));
    }

    /// Asks the backplane for what is next, until it is too busy for more.
    pub(super) fn ask_backplane(&mut self, now_us: u64) {
        let connected = self.standing == Standing::Connected;
        let traffic = self.redis.traffic(now_us);
        self.lines.admit(traffic, self.redis.turn());
        let reads = self.reads.admission(now_us);
        // Nobody waits for a page until it is known which servers are there.
        let questions = match connected {
            true => reads,
            false => Admission::NONE,
        };
        while let Some(answered) = self.questions.next_held(questions, connected) {
            self.on_answered(answered);
        }
        // While the connection is sought, what is reachable is tried at each probe.
        if !connected && traffic == Traffic::None && reads.is_none() {
            return;
        }
        if self.watches.has_failed() && connected && now_us >= self.again_at_us {
            self.again_at_us = now_us + TRY_AGAIN_US;
            self.watches.try_again();
        }
        // Its next answer wakes the thread, which then goes on.
        let _: Result<(), Busy> = self.keep_lease(now_us).and_then(|()| {
            self.prove(now_us)?;
            self.publish(now_us)?;
            self.watch(reads, now_us)?;
            self.inquire(questions, now_us)?;
            self.tell(now_us)?;
            self.send_frames(now_us)?;
            self.seed(now_us)
        });
    }

    /// Asks servers that have taken over how much they have. Lines wait for the answers, so that
    /// they are calls of the lines: a slow read of history does not hold them up.
    fn prove(&mut self, now_us: u64) -> Result<(), Busy> {
        while let Some(question) = self.lines.next_question(now_us) {
            let Question {
                line,
                number,
                records,
            } = question;
            let (partition, records) = (line.partition, records.as_slice());
            let request = BackplaneRequest::Known { partition, records };
            match self.backplane.submit(request, now_us) {
                Ok(ticket) => {
                    self.redis.called(ticket, now_us);
                    self.proofs.insert(ticket, (line, number));
                }
                Err(busy) => {
                    self.lines.not_known(line, number, now_us);
                    return Err(busy);
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, now_us: u64) -> Result<(), Busy> {
        while !self.feeder.is_full() {
            while let Some(record) = self.feeder.next_forgotten() {
                if !self.lines.ask_again(Arc::clone(&record)) {
                    self.feeder.give_up(&record);
                }
            }
            let Some(call) = self.lines.next_call(now_us) else {
                return Ok(());
            };
            if call.doubtful && self.archive.is_there() {
                let records = call.records.iter();
                let records = records.map(|it| (it.channel.clone(), it.record));
                let ask = Ask::Line(call.line, records.collect());
                self.archive.ask(ask);
                continue;
            }
            let (line, can_ask) = (call.line, self.archive.is_there());
            let floor = |channel: &str| {
                let heard = self.watches.top(channel);
                self.floors.of(line, channel, heard, can_ask)
            };
            let records: Vec<Publish<'_>> = call
                .records
                .iter()
                .map(|record| publish_of(record, floor(&record.channel)))
                .collect();
            match self
                .backplane
                .submit(BackplaneRequest::Publish(&records), now_us)
            {
                Ok(ticket) => {
                    self.redis.called(ticket, now_us);
                    self.calls.insert(ticket, call.line);
                }
                Err(busy) => {
                    self.lines.failed(call.line, now_us);
                    return Err(busy);
                }
            }
        }
        Ok(())
    }

    fn watch(&mut self, admission: Admission, now_us: u64) -> Result<(), Busy> {
        while let Some(wish) = self.watches.next_wish(admission) {
            let request = match &wish {
                Wish::Subscribe(channel) => BackplaneRequest::Subscribe { channel },
                Wish::Unsubscribe(channel) => BackplaneRequest::Unsubscribe { channel },
            };
            match self.backplane.submit(request, now_us) {
                Ok(ticket) => {
                    self.reads.called(ticket, now_us);
                    if let Wish::Subscribe(channel) = wish {
                        self.watches.asked(ticket, channel);
                    }
                }
                Err(busy) => {
                    self.watches.put_back(wish);
                    return Err(busy);
                }
            }
        }
        Ok(())
    }

    fn inquire(&mut self, admission: Admission, now_us: u64) -> Result<(), Busy> {
        while let Some(question) = self.questions.next_question(admission) {
            match self.backplane.submit(question.request(), now_us) {
                Ok(ticket) => {
                    self.reads.called(ticket, now_us);
                    self.questions.asked(ticket, question);
                }
                Err(busy) => {
                    self.questions.put_back(question);
                    return Err(busy);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, now_us: u64) -> Result<(), Busy> {
        while let Some(frame) = self.tells.pop_front() {
            if let Some(event) = event_of(&frame) {
                let channel = event.channel;
                let frame = &frame;
                self.backplane
                    .submit(BackplaneRequest::Tell { channel, frame }, now_us)?;
            }
        }
        Ok(())
    }

    fn send_to_each(&mut self, shards: u64, channel: &str, make: impl Fn() -> Message) {
        for shard in (0..self.peers.len() as u16).filter(|shard| shards & (1 << shard) != 0) {
            self.send(shard, channel, make());
        }
    }

    /// Sends a shard something of a channel, in order.
    pub(super) fn send(&mut self, shard: u16, channel: &str, message: Message) {
        let name = interlink_protocol::channel::ChannelName::parse(channel).ok();
        let policy = name.and_then(|name| self.namespaces.lookup(&name));
        let class = policy.map_or(Priority::P1, |policy| policy.priority);
        self.send_as(shard, class, message);
    }

    /// Sends in order; what finds the lane full waits here.
    pub(super) fn send_as(&mut self, shard: u16, class: Priority, message: Message) {
        self.outgoing
            .send(&mut self.port.sender, shard, class, message);
    }
}

fn told_reason(reason: SkipReason) -> wire::PositionReason {
    match reason {
        SkipReason::Lineage => wire::PositionReason::Lineage,
        SkipReason::Retention => wire::PositionReason::Retention,
    }
}

fn publish_of(record: &LogRecord, floor: Floor) -> Publish<'_> {
    Publish {
        channel: &record.channel,
        class: record.class,
        record: record.record,
        accepted_at_us: record.accepted_at_us,
        floor,
        frame: &record.frame,
    }
}
