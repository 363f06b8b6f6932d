//! Cumulative acknowledgement of deliveries.
//!
//! Purpose: tells the server how far the application came in each channel, in few frames.
//! Invariants: a channel's acknowledged position moves only forward within an epoch; what is
//! sent is always the newest, and only for channels that are live on this connection; when a
//! channel becomes live again its newest position is sent again, since nothing confirms an
//! acknowledgement.
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
    /// Channels whose subscription ended and whose last position has to leave first.
    ended: BTreeSet<Arc<str>>,
    events_unsent: u32,
    oldest_unsent_ms: Option<u64>,
}

impl AckBook {
    /// Notes that the application processed everything up to `position`; false when it said
    /// so before. `live` says whether the server may be told now.
    pub fn acknowledge(
        &mut self,
        channel: &Arc<str>,
        position: Position,
        live: bool,
        now_ms: u64,
    ) -> bool {
        if let Some(known) = self.newest.get(channel) {
            let forward = position.epoch != known.epoch || position.offset > known.offset;
            if !forward {
                return false;
            }
        }
        self.newest.insert(channel.clone(), position);
        if live {
            self.events_unsent = self.events_unsent.saturating_add(1);
            self.mark_unsent(channel, now_ms);
        }
        true
    }

    /// A channel is live on this connection: what is known of it is sent.
    pub fn on_live(&mut self, channel: &Arc<str>, now_ms: u64) {
        self.ended.remove(channel);
        if self.newest.contains_key(channel) {
            self.mark_unsent(channel, now_ms);
        }
    }

    /// A subscription ended; what it acknowledged still leaves on this connection.
    pub fn forget(&mut self, channel: &str) {
        match self.unsent.get(channel) {
            Some(name) => drop(self.ended.insert(name.clone())),
            None => drop(self.newest.remove(channel)),
        }
    }

    /// The connection is gone; channels are told again when they are live again.
    pub fn on_lost(&mut self) {
        for channel in std::mem::take(&mut self.ended) {
            self.newest.remove(&channel);
        }
        self.unsent.clear();
        self.note_sent();
    }

    /// Nothing more is acknowledged: what waits is due.
    pub fn hasten(&mut self) {
        if let Some(oldest_ms) = &mut self.oldest_unsent_ms {
            *oldest_ms = 0;
            self.events_unsent = limits::ACK_COUNT;
        }
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
            let position = match self.ended.remove(&channel) {
                true => self.newest.remove(&channel),
                false => self.newest.get(&channel).copied(),
            };
            if let Some(position) = position {
                into.push((channel, position));
            }
        }
        if self.unsent.is_empty() {
            self.note_sent();
        }
    }

    fn mark_unsent(&mut self, channel: &Arc<str>, now_ms: u64) {
        self.unsent.insert(channel.clone());
        self.oldest_unsent_ms.get_or_insert(now_ms);
    }

    fn note_sent(&mut self) {
        self.events_unsent = 0;
        self.oldest_unsent_ms = None;
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
        assert!(book.acknowledge(&a, at(1, 4), true, 100));
        assert!(book.acknowledge(&a, at(1, 6), true, 150));
        assert!(!book.acknowledge(&a, at(1, 5), true, 160));
        assert!(book.acknowledge(&b, at(1, 1), true, 170));
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
        assert!(book.acknowledge(&channel, at(1, 90), true, 0));
        assert!(book.acknowledge(&channel, at(2, 3), true, 0));
        assert_eq!(taken(&mut book), [("user.a".to_string(), 3)]);
    }

    #[test]
    fn many_acknowledgements_leave_without_delay() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        for offset in 1..=u64::from(limits::ACK_COUNT) {
            assert!(!book.is_due(50));
            book.acknowledge(&channel, at(1, offset), true, 50);
        }
        assert!(book.is_due(50));
    }

    #[test]
    fn before_a_close_nothing_waits_for_company() {
        let mut book = AckBook::default();
        book.hasten();
        assert!(!book.is_due(0), "there is nothing to send");
        book.acknowledge(&"user.a".into(), at(1, 4), true, 50);
        assert!(!book.is_due(50));
        book.hasten();
        assert!(book.is_due(50));
    }

    #[test]
    fn the_newest_position_is_sent_again_when_the_channel_is_live_again() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        book.acknowledge(&channel, at(1, 9), true, 0);
        taken(&mut book);
        book.on_lost();
        book.acknowledge(&channel, at(1, 10), false, 5);
        assert!(
            !book.has_unsent(),
            "a channel that is not live is not acknowledged"
        );
        book.on_live(&channel, 500);
        assert_eq!(taken(&mut book), [("user.a".to_string(), 10)]);
    }

    #[test]
    fn an_ended_subscription_is_acknowledged_once_more_and_forgotten() {
        let mut book = AckBook::default();
        let channel: Arc<str> = "user.a".into();
        book.acknowledge(&channel, at(1, 9), true, 0);
        book.forget("user.a");
        assert_eq!(taken(&mut book), [("user.a".to_string(), 9)]);
        book.on_live(&channel, 900);
        assert!(!book.has_unsent());
    }

    #[test]
    fn a_frame_is_bounded_and_the_rest_follows() {
        let mut book = AckBook::default();
        for index in 0..=limits::ACK_POSITIONS_MAX {
            let channel: Arc<str> = format!("user.u{index:04}").into();
            book.acknowledge(&channel, at(1, 1), true, 0);
        }
        assert_eq!(taken(&mut book).len(), limits::ACK_POSITIONS_MAX);
        assert!(book.is_due(limits::ACK_DELAY_MS));
        assert_eq!(taken(&mut book).len(), 1);
    }
}
