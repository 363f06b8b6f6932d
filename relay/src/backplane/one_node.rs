//! The backplane of a single node: maps in memory, filled again by a recovery.
//!
//! Durability is the journal's; this holds the numbering, the recent events and, for ten
//! minutes, the placements of record ids. All channels are one partition.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::ids::{Position, RecordId};

use crate::backplane::{
    holds, Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest, Lease,
    Leases, NodeId, Publish, Published, Sequencer, Standing,
};
use crate::files::{Gap, HistoryPage};
use crate::limits::{NODES_MAX, PORT_BATCH_MAX, PORT_CALLS_MAX, RECENT_EVENTS_MAX};
use crate::ports::{Busy, Ticket};
use crate::record::Placement;
use crate::recovery::{RecoveredEvent, RecoveredNode};

/// Half of the time that record ids are remembered at least: two sets take turns.
const TURN_US: u64 = 300_000_000;

#[derive(Debug)]
struct Channel {
    sequencer: Sequencer,
    recent: VecDeque<RecoveredEvent>,
}

/// The backplane of a single node.
#[derive(Debug)]
pub struct OneNodeBackplane {
    epoch: u64,
    channels: HashMap<Box<str>, Channel>,
    /// Placements of the running and the previous turn.
    placed: [HashMap<RecordId, Placement>; 2],
    turn_since_us: u64,
    subscribed: HashSet<Box<str>>,
    /// When leases end, in microseconds.
    leases: BTreeMap<NodeId, u64>,
    /// Answers and messages in their order; at first the standing.
    events: VecDeque<BackplaneEvent>,
    tickets: u64,
    /// Answers among the events.
    answers: usize,
}

impl OneNodeBackplane {
    /// A backplane without channels; new ones get `epoch`.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            channels: HashMap::new(),
            placed: Default::default(),
            turn_since_us: 0,
            subscribed: HashSet::new(),
            leases: BTreeMap::new(),
            // A node that is alone reaches itself.
            events: VecDeque::from([BackplaneEvent::Standing(Standing::Connected)]),
            tickets: 0,
            answers: 0,
        }
    }

    /// A backplane that goes on where earlier boots ended.
    pub fn restore(recovered: &RecoveredNode, now_us: u64) -> Self {
        let mut backplane = Self::new(recovered.epoch);
        backplane.turn_since_us = now_us;
        for channel in &recovered.channels {
            for event in &channel.events {
                backplane.placed[0].insert(event.record, event.placement);
            }
            let restored = Channel {
                sequencer: channel.sequencer(recovered.epoch),
                recent: channel.events.iter().cloned().collect(),
            };
            backplane.channels.insert(channel.name.clone(), restored);
        }
        backplane
    }

    fn publish(&mut self, records: &[Publish<'_>]) -> Result<BackplaneAnswer, BackplaneError> {
        if records.len() > PORT_BATCH_MAX {
            return Err(BackplaneError::TooMany {
                records: records.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        let published = records.iter().map(|record| self.place(record)).collect();
        Ok(BackplaneAnswer::Published(published))
    }

    fn seed(&mut self, tops: &[(Box<str>, Position)]) -> Result<BackplaneAnswer, BackplaneError> {
        if tops.len() > PORT_BATCH_MAX {
            return Err(BackplaneError::TooMany {
                records: tops.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        for (channel, top) in tops {
            self.channel(channel, *top);
        }
        Ok(BackplaneAnswer::Seeded { lacks: false })
    }

    fn known(&self, records: &[RecordId]) -> Result<BackplaneAnswer, BackplaneError> {
        if records.len() > PORT_BATCH_MAX {
            return Err(BackplaneError::TooMany {
                records: records.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        let known = records.iter().map(|record| self.place_of(*record));
        Ok(BackplaneAnswer::Known(known.collect()))
    }

    fn place_of(&self, record: RecordId) -> Option<Placement> {
        let mut turns = self.placed.iter();
        turns.find_map(|placed| placed.get(&record)).copied()
    }

    fn place(&mut self, publish: &Publish<'_>) -> Published {
        if let Some(placement) = self.place_of(publish.record) {
            return Published {
                placement,
                repeated: true,
            };
        }
        // A recovery finds every channel: nothing is ever lost that an archive would have.
        let channel = self.channel(publish.channel, publish.floor.position());
        let placement = channel.sequencer.place(publish.record);
        let mut frame: Box<[u8]> = publish.frame.into();
        // A caller's bytes that are no event are carried as they are.
        let _ = patch_position(&mut frame, placement.position, placement.previous_chain);
        if channel.recent.len() == RECENT_EVENTS_MAX {
            channel.recent.pop_front();
        }
        channel.recent.push_back(RecoveredEvent {
            placement,
            record: publish.record,
            class: publish.class,
            accepted_at_us: publish.accepted_at_us,
            frame: frame.clone(),
        });
        self.placed[0].insert(publish.record, placement);
        if self.subscribed.contains(publish.channel) {
            self.events.push_back(BackplaneEvent::Message {
                channel: publish.channel.into(),
                placement,
                frame,
            });
        }
        Published {
            placement,
            repeated: false,
        }
    }

    fn history(&self, name: &str, after: Position, limit: usize) -> HistoryPage {
        let mut page = HistoryPage {
            events: Vec::new(),
            last: after,
            gap: None,
            more: false,
        };
        let channel = self.channels.get(name);
        let top = self.top(name);
        let recent = channel.into_iter().flat_map(|channel| &channel.recent);
        let mut later = recent.filter(|event| event.placement.position.offset > after.offset);
        let first = later.next();
        if after != Position::ZERO && !holds(after, top, first.map(|event| &event.placement)) {
            let known = after.offset < top.offset
                && first.is_none_or(|first| {
                    first.placement.position.offset > after.offset.saturating_add(1)
                });
            page.gap = Some(if known { Gap::Retention } else { Gap::Unknown });
            return page;
        }
        page.events = first
            .into_iter()
            .chain(later.by_ref())
            .take(limit)
            .cloned()
            .collect();
        if let Some(last) = page.events.last() {
            page.last = last.placement.position;
            page.more = last.placement.position.offset < top.offset;
        }
        page
    }

    fn channel(&mut self, name: &str, floor: Position) -> &mut Channel {
        let epoch = self.epoch;
        let channel = self.channels.entry(name.into());
        let channel = channel.or_insert_with(|| Channel {
            sequencer: Sequencer::resume_in(epoch, floor),
            recent: VecDeque::new(),
        });
        if channel.recent.is_empty() && floor.offset > channel.sequencer.top().offset {
            channel.sequencer = Sequencer::resume_in(epoch, floor);
        }
        channel
    }

    fn top(&self, name: &str) -> Position {
        let channel = self.channels.get(name);
        let new = Position {
            epoch: self.epoch,
            ..Position::ZERO
        };
        channel.map_or(new, |channel| channel.sequencer.top())
    }

    fn lease(&mut self, node: NodeId, life_ms: u64, now_us: u64) -> Leases {
        self.leases.retain(|_, ends_us| *ends_us > now_us);
        let was_held = self.leases.contains_key(&node);
        if life_ms == 0 {
            self.leases.remove(&node);
        } else if was_held || self.leases.len() < NODES_MAX {
            let ends_us = now_us.saturating_add(life_ms.saturating_mul(1_000));
            self.leases.insert(node, ends_us);
        }
        Leases {
            was_held,
            nodes: self.leases.keys().copied().collect(),
        }
    }

    fn leases(&self, now_us: u64) -> Vec<Lease> {
        let leases = self.leases.iter().filter(|(_, ends_us)| **ends_us > now_us);
        let leases = leases.map(|(node, ends_us)| Lease {
            node: *node,
            left_ms: (ends_us - now_us).div_ceil(1_000),
        });
        leases.collect()
    }

    fn take_turns(&mut self, now_us: u64) {
        while now_us.saturating_sub(self.turn_since_us) >= TURN_US {
            self.placed.swap(0, 1);
            self.placed[0].clear();
            let behind = now_us - self.turn_since_us;
            let turns = if behind >= 2 * TURN_US {
                behind / TURN_US - 1
            } else {
                1
            };
            self.turn_since_us += turns * TURN_US;
        }
    }
}

impl Backplane for OneNodeBackplane {
    fn submit(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> Result<Ticket, Busy> {
        let full = self.events.len() >= PORT_CALLS_MAX * PORT_BATCH_MAX;
        if full || self.answers >= PORT_CALLS_MAX {
            return Err(Busy);
        }
        self.take_turns(now_us);
        let answer = match request {
            BackplaneRequest::Publish(records) => self.publish(records),
            BackplaneRequest::Seed { tops, .. } => self.seed(tops),
            // There is no other node.
            BackplaneRequest::Tell { .. } => Ok(BackplaneAnswer::Sent),
            BackplaneRequest::History {
                channel,
                after,
                limit,
            } => Ok(BackplaneAnswer::History(
                self.history(channel, after, limit),
            )),
            BackplaneRequest::Known { records, .. } => self.known(records),
            BackplaneRequest::Top { channel } => Ok(BackplaneAnswer::Top(self.top(channel))),
            BackplaneRequest::Subscribe { channel } => {
                self.subscribed.insert(channel.into());
                Ok(BackplaneAnswer::Subscribed(self.top(channel)))
            }
            BackplaneRequest::Unsubscribe { channel } => {
                self.subscribed.remove(channel);
                Ok(BackplaneAnswer::Unsubscribed)
            }
            BackplaneRequest::Lease { node, life_ms } => {
                Ok(BackplaneAnswer::Leased(self.lease(node, life_ms, now_us)))
            }
            BackplaneRequest::Leases => Ok(BackplaneAnswer::Leases(self.leases(now_us))),
        };
        self.tickets += 1;
        self.answers += 1;
        let ticket = Ticket(self.tickets);
        self.events
            .push_back(BackplaneEvent::Answer(ticket, answer));
        Ok(ticket)
    }

    fn complete(&mut self) -> Option<BackplaneEvent> {
        let event = self.events.pop_front()?;
        if matches!(event, BackplaneEvent::Answer(..)) {
            self.answers -= 1;
        }
        Some(event)
    }
}
