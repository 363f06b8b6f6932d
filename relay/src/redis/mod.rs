//! The backplane of a cluster over Redis 7: a single server, Sentinel or Redis Cluster.
//!
//! Every channel belongs to a partition, every partition to one server at a time. Records are
//! placed by one function inside Redis for a call of one partition (`functions.lua`), which also
//! sends them to the nodes that hear their channels. The holes that asynchronous replication and
//! pub/sub leave are closed here:
//!
//! - A promoted replica that lacks what its master placed is another [lineage](lineage) and
//!   starts an epoch. The caller is told and submits the last 60 seconds again; ids that are
//!   known keep their places.
//! - A server that was emptied keeps its lineage. Calls carry the epoch in which their node placed
//!   last, and place nothing when the partition has another one or none; a look at the epochs of
//!   all partitions, made then and every second, tells the caller which have changed.
//! - Every node compares what it hears by offset and chain and reads what is missing once
//!   ([`watch`]). It finds out by the next message, by recently changed tops, which it reads
//!   every second, when it has subscribed anew, and when it had to drop messages.
//! - A subscriber that hears nothing of its node's own probes is replaced.
//!
//! What decides is pure: formats, directory, lineage, errors, ranges and the watch of a channel.
//! The rest moves bytes, as tasks on the runtime that was handed in.
//!
//! Runs on: [`RedisBackplane`] on the caller's thread, everything else on the runtime.

mod config;
mod connect;
mod directory;
mod fault;
mod functions;
mod gate;
mod limits;
mod lineage;
mod memory;
mod message;
mod outcome;
mod range;
mod task;
#[cfg(test)]
mod tests;
mod watch;

pub use config::{Address, Config, ConfigError, Mode};
pub use task::Waker;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use interlink_protocol::ids::{Position, RecordId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch as watch_channel};

use crate::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest,
    Publish,
};
use crate::limits::{PORT_BATCH_MAX, PORT_CALLS_MAX};
use crate::ports::{Busy, Ticket};
use functions::{Batch, Seeds};
use limits::EVENTS_MAX;
use task::{frame_bytes, Core, Ends, Request};

/// The backplane over Redis. Dropping it ends its connections; what was submitted and not
/// answered may or may not have happened.
#[derive(Debug)]
pub struct RedisBackplane {
    requests: mpsc::Sender<(Ticket, Request)>,
    events: mpsc::Receiver<BackplaneEvent>,
    held: Arc<AtomicUsize>,
    /// Answers that are given without asking anybody.
    refused: VecDeque<BackplaneEvent>,
    tickets: u64,
    /// Requests whose answer was not taken.
    waiting: usize,
    /// Changes of lineage that the caller has taken.
    changes: u64,
    memory: watch_channel::Receiver<Memory>,
    partitions: u16,
}

/// What is remembered of servers, and after how many changes of lineage.
type Memory = (u64, Arc<[u8]>);

impl RedisBackplane {
    /// Starts on a runtime; `waker` is called from there when `complete` has something.
    ///
    /// # Errors
    /// Settings that cannot work. Servers that cannot be reached are no error: they are sought
    /// until they are there.
    pub fn new(config: Config, runtime: &Handle, waker: Waker) -> Result<Self, ConfigError> {
        Self::resume(config, &[], runtime, waker)
    }

    /// The same for a node that was down: `memory` is what an earlier process has got of
    /// [`Self::memory`]. Partitions that have another server now are told as changed before
    /// anything is placed there.
    ///
    /// # Errors
    /// As [`Self::new`]. Bytes that say nothing are no error.
    pub fn resume(
        config: Config,
        memory: &[u8],
        runtime: &Handle,
        waker: Waker,
    ) -> Result<Self, ConfigError> {
        let addresses = config.check()?;
        let lineages = memory::decode(memory, config.partitions);
        let partitions = config.partitions;
        let (requests, receiver) = mpsc::channel(PORT_CALLS_MAX);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let held = Arc::new(AtomicUsize::new(0));
        let ends = Ends {
            requests: receiver,
            events: sender,
            held: Arc::clone(&held),
        };
        let (teller, memory) = watch_channel::channel((0, Arc::from(memory::encode(&lineages))));
        let core = Core::new(config, addresses, lineages, ends, (waker, teller));
        runtime.spawn(core.run());
        Ok(Self {
            requests,
            events,
            held,
            refused: VecDeque::new(),
            tickets: 0,
            waiting: 0,
            changes: 0,
            memory,
            partitions,
        })
    }

    /// Which servers the partitions have, as the caller knows of it: to be kept with how far it
    /// has placed, and not before that. Nothing while a change waits to be taken.
    pub fn memory(&self) -> Option<Arc<[u8]>> {
        let (changes, memory) = &*self.memory.borrow();
        (*changes == self.changes).then(|| Arc::clone(memory))
    }

    /// The partition of records that one call may hold.
    fn partition(&self, records: &[Publish<'_>]) -> Result<u16, BackplaneError> {
        if records.len() > PORT_BATCH_MAX {
            return Err(BackplaneError::TooMany {
                records: records.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        let mut partitions = records
            .iter()
            .map(|record| partition_of(record.channel, self.partitions));
        let first = partitions.next().unwrap_or(0);
        if partitions.all(|partition| partition == first) {
            Ok(first)
        } else {
            Err(BackplaneError::Partitions)
        }
    }

    fn check_seeds(
        &self,
        partition: u16,
        tops: &[(Box<str>, Position)],
    ) -> Result<(), BackplaneError> {
        if tops.len() > PORT_BATCH_MAX {
            return Err(BackplaneError::TooMany {
                records: tops.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        let of = |(channel, _): &(Box<str>, _)| partition_of(channel, self.partitions);
        let is_one = partition < self.partitions && tops.iter().all(|top| of(top) == partition);
        is_one.then_some(()).ok_or(BackplaneError::Partitions)
    }

    /// What is answered at once to a question about records, if anything.
    fn check_known(
        &self,
        partition: u16,
        records: &[RecordId],
    ) -> Result<(), Result<BackplaneAnswer, BackplaneError>> {
        match records.len() {
            0 => Err(Ok(BackplaneAnswer::Known(Vec::new()))),
            records if records > PORT_BATCH_MAX => Err(Err(BackplaneError::TooMany {
                records,
                limit: PORT_BATCH_MAX,
            })),
            _ if partition >= self.partitions => Err(Err(BackplaneError::Partitions)),
            _ => Ok(()),
        }
    }

    /// A request as the task takes it, or the answer that needs nobody.
    fn request(
        &self,
        request: BackplaneRequest<'_>,
        now_us: u64,
    ) -> Result<Request, Result<BackplaneAnswer, BackplaneError>> {
        Ok(match request {
            BackplaneRequest::Publish([]) => {
                return Err(Ok(BackplaneAnswer::Published(Vec::new())));
            }
            BackplaneRequest::Publish(records) => {
                let partition = self.partition(records).map_err(Err)?;
                Request::Publish(Batch::new(partition, records), now_us, self.changes)
            }
            BackplaneRequest::Seed {
                partition,
                tops,
                is_all,
            } => {
                self.check_seeds(partition, tops).map_err(Err)?;
                let seeds = Seeds {
                    partition,
                    tops: tops.into(),
                    is_all,
                };
                Request::Seed(seeds, now_us, self.changes)
            }
            BackplaneRequest::Tell { channel, frame } => {
                Request::Tell(channel.into(), frame.into())
            }
            BackplaneRequest::History {
                channel,
                after,
                limit,
            } => Request::History(channel.into(), after, limit),
            BackplaneRequest::Known { partition, records } => {
                self.check_known(partition, records)?;
                Request::Known(partition, records.into(), self.changes)
            }
            BackplaneRequest::Top { channel } => Request::Top(channel.into()),
            BackplaneRequest::Subscribe { channel } => Request::Subscribe(channel.into()),
            BackplaneRequest::Unsubscribe { channel } => Request::Unsubscribe(channel.into()),
            BackplaneRequest::Lease { node, life_ms } => Request::Lease(node, life_ms),
            BackplaneRequest::Leases => Request::Leases,
        })
    }
}

impl Backplane for RedisBackplane {
    fn submit(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> Result<Ticket, Busy> {
        if self.waiting >= PORT_CALLS_MAX {
            return Err(Busy);
        }
        let ticket = Ticket(self.tickets + 1);
        let answer = match self.request(request, now_us) {
            Ok(request) => match self.requests.try_send((ticket, request)) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Busy),
                // The runtime has ended.
                Err(mpsc::error::TrySendError::Closed(_)) => Some(Err(BackplaneError::Away)),
            },
            Err(answer) => Some(answer),
        };
        if let Some(answer) = answer {
            self.refused
                .push_back(BackplaneEvent::Answer(ticket, answer));
        }
        self.tickets += 1;
        self.waiting += 1;
        Ok(ticket)
    }

    fn complete(&mut self) -> Option<BackplaneEvent> {
        let event = match self.refused.pop_front() {
            Some(event) => event,
            None => self.events.try_recv().ok()?,
        };
        if matches!(event, BackplaneEvent::Answer(..)) {
            self.waiting = self.waiting.saturating_sub(1);
        }
        if matches!(event, BackplaneEvent::LineageChanged { .. }) {
            self.changes += 1;
        }
        let bytes = frame_bytes(&event);
        self.held.fetch_sub(bytes, Ordering::AcqRel);
        Some(event)
    }
}
