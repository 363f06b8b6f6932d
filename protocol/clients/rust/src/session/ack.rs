//! Cumulative acknowledgement of deliveries.
//!
//! Purpose: tells the server how far the application came in each channel, in few frames.
//! Invariants: a channel's acknowledged position moves only forward within an epoch; what is
//! sent is always the newest; after a reconnection the newest of each channel is sent again,
//! since nothing confirms an acknowledgement.
//! Limits: `limits::ACK_DELAY_MS`, `limits::ACK_COUNT`, `limits::ACK_POSITIONS_MAX`.
//! Runs on: any thread; the clock comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlink_protocol::ids::Position;

use crate::limits;

/// Acknowledgements of all channels.
#[derive(Clone, Debug, Default)]
pub struct AckBook {
    newest: BTreeMap<Arc<str>, Position>,
    unsent: BTreeSet<Arc<str>>,
    events_unsent: u32,
    oldest_unsent_ms: Option<u64>,
}

impl AckBook {
    /// Notes that the application processed everything up to `position`; false when it said
    /// so before.
    pub fn acknowledge(&mut self, channel: &Arc<str>, position: Position, now_ms: u64) -> bool {
        if let Some(known) = self.newest.get(channel) {
            let forward = position.epoch != known.epoch || position.offset > known.offset;
            if !forward {
                return false;
            }
        }
        self.newest.insert(channel.clone(), position);
        self.unsent.insert(channel.clone());
        self.events_unsent = self.events_unsent.saturating_add(1);
        self.oldest_unsent_ms.get_or_insert(now_ms);
        true
    }

    /// Forgets a channel whose subscription ended, once what it acknowledged has left.
    pub fn forget(&mut self, channel: &str) {
        if !self.unsent.contains(channel) {
            self.newest.remove(channel);
        }
    }

    /// Everything counts as unsent again on a new connection.
    pub fn on_welcome(&mut self, now_ms: u64) {
        self.unsent = self.newest.keys().cloned().collect();
        self.oldest_unsent_ms = (!self.unsent.is_empty()).then_some(now_ms);
    }

    /// When an `Ack` frame has to leave by itself.
    pub fn deadline_ms(&self) -> Option<u64> {
        let oldest = self.oldest_unsent_ms?;
        if self.events_unsent >= limits::ACK_COUNT {
            return Some(oldest);
        }
        Some(oldest + limits::ACK_DELAY_MS)
    }

    /// True when an `Ack` frame should leave now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.deadline_ms()
            .is_some_and(|deadline| deadline <= now_ms)
    }

    /// True when something waits, due or not.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes the positions of one frame; the rest stays due.
    pub fn take(&mut self, into: &mut Vec<(Arc<str>, Position)>) {
        into.clear();
        while into.len() < limits::ACK_POSITIONS_MAX {
            let Some(channel) = self.unsent.pop_first() else {
                break;
            };
            if let Some(position) = self.newest.get(&channel) {
                into.push((channel, *position));
            }
        }
        if self.unsent.is_empty() {
            self.events_unsent = 0;
            self.oldest_unsent_ms = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position {
            epoch,
            offset,
            chain: 0,
        }
    }

    fn taken(book: &mut AckBook) -> Vec<(String, u64)> {
        let mut positions = Vec::new();
        book.take(&mut positions);
        positions
            .into_iter()
            .map(|(channel, position)| (channel.to_string(), position.offset))
            .collect()
    }

    #[test]
    fn one_frame_carries_the_newest_position_of_each_channel() {
        let mut book = AckBook::default();
        let (a, b): (Arc<str>, Arc<str>) = ("chat.a~b".into(), "user.a".into());
        assert!(book.acknowledge(&a, at(1, 4), 100));
        assert!(book.acknowledge(&a, at(1, 6), 150));
        assert!(!book.acknowledge(&a, at(1, 5), 160));
        assert!(book.acknowledge(&b, at(1, 1), 170));
        assert!(!book.is_due(299));
        assert!(book.is_due(300));
        assert_eq!(
            taken(&mut book),
            [("chat.a~b".to_string(), 6), ("user.a".to_string(), 1)]
        );
        assert_eq!(book.deadline_ms(), None);
    }

    #[test]
    fn a_new_epoch_may_start_lower() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        assert!(book.acknowledge(&channel, at(1, 90), 0));
        assert!(book.acknowledge(&channel, at(2, 3), 0));
        assert_eq!(taken(&mut book), [("user.a".to_string(), 3)]);
    }

    #[test]
    fn many_acknowledgements_leave_without_delay() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        for offset in 1..=u64::from(limits::ACK_COUNT) {
            book.acknowledge(&channel, at(1, offset), 50);
        }
        assert!(book.is_due(50));
    }

    #[test]
    fn the_newest_positions_are_sent_again_after_a_reconnection() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        book.acknowledge(&channel, at(1, 9), 0);
        taken(&mut book);
        book.on_welcome(500);
        assert_eq!(taken(&mut book), [("user.a".to_string(), 9)]);
        book.forget("user.a");
        book.on_welcome(900);
        assert!(!book.has_unsent());
    }

    #[test]
    fn a_frame_is_bounded_and_the_rest_follows() {
        let mut book = AckBook::default();
        for index in 0..=limits::ACK_POSITIONS_MAX {
            let channel: Arc<str> = format!("user.u{index:04}").into();
            book.acknowledge(&channel, at(1, 1), 0);
        }
        assert_eq!(taken(&mut book).len(), limits::ACK_POSITIONS_MAX);
        assert!(book.is_due(limits::ACK_DELAY_MS));
        assert_eq!(taken(&mut book).len(), 1);
    }
}
