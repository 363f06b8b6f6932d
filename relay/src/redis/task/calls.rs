//! Requests of the caller as calls to servers, and their answers.

use interlink_protocol::ids::{Position, RecordId};
use redis::{RedisError, Value};

use super::{Core, Request};
use crate::backplane::{next_epoch, partition_of, BackplaneAnswer, BackplaneError, Floor, NodeId};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::ports::Ticket;
use crate::redis::fault::Fault;
use crate::redis::functions::{
    published, read_known, read_lease_list, read_leases, read_range, read_seeded, read_tops,
    read_wanted, Batch, Seeds, LEASES,
};
use crate::redis::message::told;
use crate::redis::outcome::Outcome;

impl Core {
    pub(super) fn on_request(&mut self, ticket: Ticket, request: Request) {
        match request {
            Request::Publish(batch, now_us, seen) => {
                // Whoever has not heard that the server may have lost what it placed last would
                // place this before that.
                if seen < self.changed[usize::from(batch.partition)] {
                    return self.answer(ticket, Err(BackplaneError::Away));
                }
                self.publish(ticket, batch, now_us);
            }
            Request::Seed(seeds, now_us, seen) => {
                if seen < self.changed[usize::from(seeds.partition)] {
                    return self.answer(ticket, Err(BackplaneError::Away));
                }
                self.seed(ticket, &seeds, now_us);
            }
            Request::Known(partition, records, seen) => {
                self.ask_known(ticket, partition, &records, seen);
            }
            Request::Tell(channel, frame) => self.tell(ticket, &channel, &frame),
            Request::History(channel, after, limit) => {
                self.history(ticket, &channel, after, limit);
            }
            Request::Top(channel) => self.ask_top(ticket, &channel),
            Request::Subscribe(channel) => self.subscribe(ticket, channel),
            Request::Unsubscribe(channel) => self.unsubscribe(ticket, channel),
            Request::Lease(node, life_ms) => self.lease(ticket, node, life_ms),
            Request::Leases => {
                let command = self.functions.leases();
                self.ask(ticket, LEASES, command, |reply| {
                    Some(BackplaneAnswer::Leases(read_lease_list(reply)?))
                });
            }
        }
    }

    fn publish(&mut self, ticket: Ticket, mut batch: Batch, now_us: u64) {
        for (name, known) in &mut batch.channels {
            let top = self.channels.get(name).and_then(|channel| channel.top());
            let floor = known.position();
            let seen = top.map_or(floor.epoch, |top| top.epoch.max(floor.epoch));
            self.highest_epoch = self.highest_epoch.max(seen);
            // Nothing that was heard says nothing about the archive.
            if let Some(top) = top.filter(|top| top.offset > floor.offset) {
                *known = Floor::At(top);
            }
        }
        let owner = self.owners[usize::from(batch.partition)];
        let link = owner.and_then(|id| Some((id, self.links.get(&id)?.up.as_ref()?)));
        let Some((link, up)) = link else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        let epoch = next_epoch(now_us / 1_000, up.lineage.number(), self.highest_epoch);
        let at = usize::from(batch.partition);
        let partition = (batch.partition, self.changed[at]);
        let known = self.placed_in[at];
        let command = self.functions.publish(&batch, up.lineage, known, epoch);
        let is_urgent = batch.class == interlink_protocol::priority::Priority::P0;
        let mut connection = if is_urgent { &up.urgent } else { &up.bulk }.clone();
        let records = batch.len();
        self.spawn(async move {
            let result = command.query_async(&mut connection).await;
            Outcome::Published {
                link,
                ticket,
                partition,
                records,
                result,
            }
        });
    }

    fn seed(&mut self, ticket: Ticket, seeds: &Seeds, now_us: u64) {
        self.highest_epoch = self.highest_epoch.max(seeds.highest_epoch());
        let owner = self.owners[usize::from(seeds.partition)];
        let link = owner.and_then(|id| Some((id, self.links.get(&id)?.up.as_ref()?)));
        let Some((link, up)) = link else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        let epoch = next_epoch(now_us / 1_000, up.lineage.number(), self.highest_epoch);
        let at = usize::from(seeds.partition);
        let partition = (seeds.partition, self.changed[at]);
        let known = self.placed_in[at];
        let command = self.functions.seed(seeds, up.lineage, known, epoch);
        let mut connection = up.bulk.clone();
        self.spawn(async move {
            let result = command.query_async(&mut connection).await;
            Outcome::Seeded {
                link,
                ticket,
                partition,
                result,
            }
        });
    }

    fn tell(&mut self, ticket: Ticket, channel: &str, frame: &[u8]) {
        let partition = partition_of(channel, self.config.partitions);
        let owner = self.owners[usize::from(partition)];
        let is_up = self.owner(partition).is_some_and(|link| link.up.is_some());
        let Some(link) = owner.filter(|_| is_up) else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        let (tickets, calls) = self.tells.entry(link).or_default();
        tickets.push(ticket);
        calls
            .cmd(self.functions.publish_command())
            .arg(self.functions.message_channel(partition, channel))
            .arg(told(self.node, frame))
            .ignore();
    }

    /// Sends what was told since the last call.
    pub(super) fn send_tells(&mut self) {
        for (link, (tickets, calls)) in std::mem::take(&mut self.tells) {
            let up = self.links.get(&link).and_then(|link| link.up.as_ref());
            let Some(up) = up else {
                for ticket in tickets {
                    self.answer(ticket, Err(BackplaneError::Away));
                }
                continue;
            };
            let mut connection = up.bulk.clone();
            self.spawn(async move {
                let result = calls.exec_async(&mut connection).await;
                Outcome::Told {
                    link,
                    tickets,
                    result,
                }
            });
        }
    }

    fn history(&mut self, ticket: Ticket, channel: &str, after: Position, limit: usize) {
        let partition = partition_of(channel, self.config.partitions);
        let limit = limit.clamp(1, HISTORY_EVENTS_MAX);
        let command = self.functions.range(
            partition,
            channel,
            after.offset.saturating_add(1),
            limit,
            HISTORY_BYTES_MAX,
        );
        self.ask(ticket, partition, command, move |reply| {
            let page = read_range(reply)?.page(after, limit);
            Some(BackplaneAnswer::History(page))
        });
    }

    fn ask_known(&mut self, ticket: Ticket, partition: u16, records: &[RecordId], seen: u64) {
        let up = self.owner(partition).and_then(|link| link.up.as_ref());
        let is_late = seen < self.changed[usize::from(partition)];
        let Some(lineage) = up.map(|up| up.lineage).filter(|_| !is_late) else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        let (command, count) = (
            self.functions.known(partition, lineage, records),
            records.len(),
        );
        self.ask(ticket, partition, command, move |reply| {
            Some(BackplaneAnswer::Known(read_known(reply, count)?))
        });
    }

    fn ask_top(&mut self, ticket: Ticket, channel: &str) {
        let partition = partition_of(channel, self.config.partitions);
        let command = self.functions.tops(partition, &[channel]);
        self.ask(ticket, partition, command, |reply| {
            let top = read_tops(reply)?.into_iter().next()?;
            Some(BackplaneAnswer::Top(top))
        });
    }

    fn lease(&mut self, ticket: Ticket, node: NodeId, life_ms: u64) {
        let command = self.functions.lease(node, life_ms);
        self.ask(ticket, LEASES, command, |reply| {
            Some(BackplaneAnswer::Leased(read_leases(reply)?))
        });
    }

    fn ask(
        &mut self,
        ticket: Ticket,
        partition: u16,
        command: redis::Cmd,
        read: impl FnOnce(&Value) -> Option<BackplaneAnswer> + Send + 'static,
    ) {
        let owner = self.owners[usize::from(partition)];
        let link = owner.and_then(|id| Some((id, self.links.get(&id)?.up.as_ref()?)));
        let Some((link, up)) = link else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        let mut connection = up.bulk.clone();
        self.spawn(async move {
            let reply: Result<Value, RedisError> = command.query_async(&mut connection).await;
            Outcome::Answered {
                link,
                ticket,
                result: reply.map(|reply| read(&reply)),
            }
        });
    }

    /// Takes the report of a task.
    pub(super) fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Located(directory) => self.on_located(directory),
            Outcome::Connected { link, result } => self.on_connected(link, result),
            Outcome::Published {
                link,
                ticket,
                partition,
                records,
                result,
            } => {
                let answer = self.on_published(link, partition, records, result);
                self.answer(ticket, answer);
            }
            Outcome::Seeded {
                link,
                ticket,
                partition,
                result,
            } => {
                let answer = self.on_seeded(link, partition, result);
                self.answer(ticket, answer);
            }
            Outcome::Told {
                link,
                tickets,
                result,
            } => {
                let answer = self.fate(link, result).map(|()| BackplaneAnswer::Sent);
                for ticket in tickets {
                    self.answer(ticket, answer.clone());
                }
            }
            Outcome::Answered {
                link,
                ticket,
                result,
            } => {
                let answer = self.fate(link, result);
                let answer = answer.and_then(|answer| answer.ok_or(BackplaneError::Refused));
                self.answer(ticket, answer);
            }
            Outcome::Tops { link, tops } => self.on_tops(link, tops),
            Outcome::SubscriberFailed { link, error } => {
                // Whatever it was, a subscriber that has ended is replaced with its link.
                if self.on_fault(link, &error) != Fault::Lost {
                    self.reset(link);
                }
            }
            Outcome::Ranged {
                link,
                channel,
                result,
            } => {
                let range = self.fate(link, result).ok().flatten();
                self.on_ranged(link, channel, range);
            }
            Outcome::Recent { link, result } => {
                self.on_polled(link);
                if let Ok(found) = self.fate(link, result) {
                    self.on_recent(link, found);
                }
            }
            Outcome::Probed { link, result } => self.on_probed(link, result),
        }
    }

    fn on_published(
        &mut self,
        link: u64,
        (partition, changed): (u16, u64),
        records: usize,
        result: Result<Value, RedisError>,
    ) -> Result<BackplaneAnswer, BackplaneError> {
        let reply = self.fate(link, result)?;
        if let Some(channels) = read_wanted(&reply) {
            return Ok(BackplaneAnswer::TopsWanted(channels));
        }
        let published = published(&reply, records);
        let (epoch, places) = published.ok_or(BackplaneError::Refused)?;
        self.entered(partition, changed, epoch);
        Ok(BackplaneAnswer::Published(places))
    }

    fn on_seeded(
        &mut self,
        link: u64,
        (partition, changed): (u16, u64),
        result: Result<Value, RedisError>,
    ) -> Result<BackplaneAnswer, BackplaneError> {
        let reply = self.fate(link, result)?;
        let (epoch, lacks) = read_seeded(&reply).ok_or(BackplaneError::Refused)?;
        self.entered(partition, changed, epoch);
        Ok(BackplaneAnswer::Seeded { lacks })
    }

    /// A partition has taken something in an epoch.
    fn entered(&mut self, partition: u16, changed: u64, epoch: u64) {
        self.highest_epoch = self.highest_epoch.max(epoch);
        let at = usize::from(partition);
        // What was placed before a change says nothing about the time after it.
        if self.changed[at] == changed {
            self.placed_in[at] = epoch;
        }
    }

    /// What an error means for the caller, after its link was looked after.
    fn fate<T>(&mut self, link: u64, result: Result<T, RedisError>) -> Result<T, BackplaneError> {
        result.map_err(|error| match self.on_fault(link, &error) {
            Fault::Refused => BackplaneError::Refused,
            Fault::Lost | Fault::NoWrites | Fault::EpochChanged | Fault::EpochBehind(_) => {
                BackplaneError::Away
            }
        })
    }
}
