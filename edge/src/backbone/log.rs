//! What the relay thread feeds to Kafka, and what Kafka answers.

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::priority::Priority;
use interlink_relay::breaker::Traffic;
use interlink_relay::event_log::{Append, AppendKind, EventLog, LogRequest};
use interlink_relay::kafka::LogStanding;
use interlink_relay::lines::{Fed, FeedBatch, BATCHES_MAX};
use interlink_relay::ports::Busy;
use interlink_relay::record::{Placement, RecordRef};

use super::counts::add;
use super::guard::End;
use super::limits::{APPEND_US, LOG_AWAY_AFTER_US};
use super::task::{Relay, Sent};
use crate::shard::Message;

impl Relay {
    /// Takes answers of Kafka.
    pub(super) fn hear_log(&mut self, now_us: u64) {
        while let Some((ticket, answer)) = self.log.complete() {
            let Some(Sent {
                class,
                number,
                records,
            }) = self.batches.remove(&ticket)
            else {
                continue;
            };
            let end = match &answer {
                Ok(_) => End::Answered,
                Err(_) => End::Failed,
            };
            self.kafka.ended(ticket, end, now_us);
            if let Err(error) = answer {
                tracing::error!(%error, ?class, "Kafka does not take a batch; it goes again");
                self.feeder.failed(class, number);
                // What was to follow it goes after it.
                self.held[class.index()] = None;
                continue;
            }
            add(&self.counts.fed, records);
            self.feeder.appended(class, number);
            if class == Priority::P0 {
                self.critical_since_us = Some(now_us);
            }
        }
        if !self.feeder.is_under_way(Priority::P0) {
            self.critical_since_us = None;
        }
        self.tell_replicated();
        let late = self
            .critical_since_us
            .is_some_and(|since_us| now_us > since_us.saturating_add(LOG_AWAY_AFTER_US));
        let reachable = self.log.standing() == LogStanding::Connected;
        self.kafka.connected(reachable, now_us);
        self.kafka.give_up_overdue(APPEND_US, now_us);
        let away = late || !reachable || self.kafka.is_open();
        if away != self.log_away {
            self.log_away = away;
            tracing::info!(away, "Kafka");
            for shard in 0..self.peers.len() as u16 {
                self.send_as(shard, Priority::P0, Message::LogAway(away));
            }
        }
    }

    /// Tells shards what `replicated` may be said of, before they hear of what was fed.
    fn tell_replicated(&mut self) {
        let replicated = Priority::ALL.map(|class| self.log.is_replicated(class));
        if replicated != self.replicated {
            self.replicated = replicated;
            for shard in 0..self.peers.len() as u16 {
                self.send_as(shard, Priority::P0, Message::Replicated(replicated));
            }
        }
    }

    /// Gives Kafka what is next.
    pub(super) fn feed(&mut self, now_us: u64) {
        let window = window_of(self.kafka.traffic(now_us));
        for class in Priority::ALL {
            let under_way = self.batches.values().filter(|sent| sent.class == class);
            let mut room = window.saturating_sub(under_way.count());
            while room > 0 {
                room -= 1;
                let held = self.held[class.index()].take();
                let lines = &self.lines;
                let batch = held.or_else(|| {
                    self.feeder
                        .next_batch(class, now_us, |it| lines.is_placed(it))
                });
                let Some(batch) = batch else {
                    break;
                };
                if class == Priority::P0 {
                    self.critical_since_us.get_or_insert(now_us);
                }
                if !self.append(&batch, now_us) {
                    self.held[class.index()] = Some(batch);
                    break;
                }
            }
        }
    }

    fn append(&mut self, batch: &FeedBatch, now_us: u64) -> bool {
        let frames: Vec<Vec<u8>> = batch.records.iter().map(frame_of).collect();
        let appends: Vec<Append<'_>> = batch
            .records
            .iter()
            .zip(&frames)
            .map(|(fed, frame)| append_of(fed, frame))
            .collect();
        match self.log.submit(LogRequest::Append(&appends), now_us) {
            Ok(ticket) => {
                let sent = Sent {
                    class: batch.class,
                    number: batch.number,
                    records: batch.records.len() as u64,
                };
                self.kafka.called(ticket, now_us);
                self.batches.insert(ticket, sent);
                true
            }
            Err(Busy) => false,
        }
    }
}

/// Batches of a class that may be under way: a class is one line, whose share is of its window.
fn window_of(traffic: Traffic) -> usize {
    match traffic {
        Traffic::All => BATCHES_MAX,
        Traffic::Share(percent) => (BATCHES_MAX * usize::from(percent) / 100).max(1),
        Traffic::None => 0,
    }
}

/// The event as Kafka keeps it: with its position when that is known.
fn frame_of(fed: &Fed) -> Vec<u8> {
    let mut frame = fed.record.frame.to_vec();
    if let Some(Placement {
        position,
        previous_chain,
    }) = fed.placement
    {
        // Only events are journaled; a frame that is none keeps its bytes.
        let _ = patch_position(&mut frame, position, previous_chain);
    }
    frame
}

fn append_of<'a>(fed: &'a Fed, frame: &'a [u8]) -> Append<'a> {
    let record = &fed.record;
    Append {
        from: record.at,
        kind: match fed.positioned {
            true => AppendKind::Positioned,
            false => AppendKind::Event,
        },
        record: RecordRef {
            placement: fed.placement,
            frame,
            ..record.borrowed()
        },
    }
}
