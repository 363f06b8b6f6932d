//! The newest events of every channel, gathered while segments are read in order.

use std::collections::{HashMap, VecDeque};

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;

use crate::limits::RECENT_EVENTS_MAX;
use crate::record::{Mark, Placement, RecordRef};
use crate::recovery::RecoveredEvent;

/// A record that waits for its mark.
#[derive(Debug)]
struct Waiting {
    class: Priority,
    accepted_at_us: u64,
    channel: Box<str>,
    frame: Box<[u8]>,
}

/// Rings of recent events.
#[derive(Debug, Default)]
pub(crate) struct RecentEvents {
    rings: HashMap<Box<str>, VecDeque<RecoveredEvent>>,
    waiting: HashMap<RecordId, Waiting>,
}

impl RecentEvents {
    /// Notes a record without a position; all of them come before any mark.
    pub fn add_unplaced(&mut self, record: &RecordRef<'_>) {
        let waiting = Waiting {
            class: record.class,
            accepted_at_us: record.accepted_at_us,
            channel: record.channel.into(),
            frame: record.frame.into(),
        };
        self.waiting.insert(record.record, waiting);
    }

    /// Adds an event that was journaled with its position.
    pub fn add_placed(&mut self, record: &RecordRef<'_>, placement: Placement) {
        self.add(
            record.channel,
            RecoveredEvent {
                placement,
                record: record.record,
                class: record.class,
                accepted_at_us: record.accepted_at_us,
                frame: record.frame.into(),
            },
        );
    }

    /// Adds the event that a mark places, if its record was read.
    pub fn add_mark(&mut self, mark: &Mark) {
        let Some(waiting) = self.waiting.remove(&mark.record) else {
            return;
        };
        let placement = Placement {
            position: mark.position,
            previous_chain: mark.previous_chain,
        };
        let mut frame = waiting.frame;
        // Frames that are no events are only in tests of the journal.
        let _ = patch_position(&mut frame, mark.position, mark.previous_chain);
        let event = RecoveredEvent {
            placement,
            record: mark.record,
            class: waiting.class,
            accepted_at_us: waiting.accepted_at_us,
            frame,
        };
        self.add(&waiting.channel, event);
    }

    /// The events of a channel up to and including the one at `chain`.
    pub fn take(&mut self, channel: &str, offset: u64, chain: u64) -> Vec<RecoveredEvent> {
        let Some(ring) = self.rings.remove(channel) else {
            return Vec::new();
        };
        let top = ring.back().map(|event| event.placement.position);
        if top.is_none_or(|top| top.offset != offset || top.chain != chain) {
            return Vec::new();
        }
        ring.into()
    }

    fn add(&mut self, channel: &str, event: RecoveredEvent) {
        if !self.rings.contains_key(channel) {
            self.rings.insert(channel.into(), VecDeque::new());
        }
        let Some(ring) = self.rings.get_mut(channel) else {
            return;
        };
        if let Some(last) = ring.back() {
            let next = &event.placement;
            let repeated = next.position.offset <= last.placement.position.offset
                && next.position.epoch <= last.placement.position.epoch;
            if repeated {
                return;
            }
            let joins = next.position.offset == last.placement.position.offset + 1
                && next.previous_chain == last.placement.position.chain;
            if !joins {
                ring.clear();
            }
        }
        if ring.len() == RECENT_EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(event);
    }
}
