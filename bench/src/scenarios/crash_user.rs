//! One client of the crash scenario: what it published, what it was promised, what it got.
//!
//! It behaves as an SDK does: it keeps unanswered publishes and sends them again, in order and
//! before new ones, remembers the last position of each channel, and asks to continue there.
//!
//! Runs on: the generator's thread.

use crate::engine::publisher::Publisher;
use interlink_protocol::ids::{InstanceId, Position, SessionKey};

/// The stream of one channel as its subscriber sees it.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// Full channel name.
    pub channel: String,
    /// Last position that arrived; `None` before the first answer of the server.
    pub position: Option<Position>,
}

/// What is wrong with an event's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionFault {
    /// The subscriber has this one already.
    Repeated,
    /// Events before it are missing and nobody said so.
    Gap,
}

impl Subscription {
    /// Moves to the position of an event; says what is wrong with it.
    pub fn advance(&mut self, next: Position, previous_chain: u64) -> Option<PositionFault> {
        let fault = self.position.and_then(|last| {
            if next.epoch != last.epoch {
                return Some(PositionFault::Gap);
            }
            if next.offset <= last.offset {
                return Some(PositionFault::Repeated);
            }
            let follows = next.offset == last.offset + 1 && previous_chain == last.chain;
            (!follows).then_some(PositionFault::Gap)
        });
        if fault != Some(PositionFault::Repeated) {
            self.position = Some(next);
        }
        fault
    }

    /// Takes over a position that the server announced.
    pub fn announce(&mut self, position: Position) {
        self.position = Some(position);
    }
}

/// A client: publisher, subscriber or both.
#[derive(Clone, Debug, Default)]
pub struct CrashUser {
    /// The user's name.
    pub name: String,
    /// The user's token.
    pub token: String,
    /// Publisher instance; it lives as long as the client.
    pub instance: InstanceId,
    /// The session to continue.
    pub session: Option<SessionKey>,
    /// Channels with their positions.
    pub subscriptions: Vec<Subscription>,
    /// Ids and what is unanswered.
    pub publisher: Publisher,
    /// The server continued the session with its subscriptions.
    pub is_resumed: bool,
}

impl CrashUser {
    /// The subscription to a channel.
    pub fn subscription(&mut self, channel: &str) -> Option<&mut Subscription> {
        self.subscriptions
            .iter_mut()
            .find(|subscription| subscription.channel == channel)
    }

    /// Channels of which a position is known.
    pub fn positions(&self) -> Vec<(&str, Position)> {
        self.subscriptions
            .iter()
            .filter_map(|entry| Some((entry.channel.as_str(), entry.position?)))
            .collect()
    }
}

/// What became of one event.
const ACKED: u8 = 1;
const SEEN: u8 = 2;
const REFUSED: u8 = 4;

/// Every event of one route, by sequence.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By sequence less one: what is known of the event.
    events: Vec<u8>,
    /// By sequence less one: its client message id.
    ids: Vec<u64>,
    highest_seen: u64,
}

impl Ledger {
    /// Notes the next event; its sequence.
    pub fn publish(&mut self, id: u64) -> u64 {
        self.events.push(0);
        self.ids.push(id);
        self.events.len() as u64
    }

    /// The sequence of a client message id.
    pub fn sequence_of(&self, id: u64) -> Option<u64> {
        self.ids
            .binary_search(&id)
            .ok()
            .map(|place| place as u64 + 1)
    }

    /// Notes an answer.
    pub fn answer(&mut self, id: u64, is_accepted: bool) {
        if let Ok(place) = self.ids.binary_search(&id) {
            self.events[place] |= if is_accepted { ACKED } else { REFUSED };
        }
    }

    /// Notes an arrival; false when a later event of the route came before it.
    pub fn see(&mut self, sequence: u64) -> bool {
        if let Some(event) = self.events.get_mut((sequence as usize).wrapping_sub(1)) {
            *event |= SEEN;
        }
        let is_in_order = sequence > self.highest_seen;
        self.highest_seen = self.highest_seen.max(sequence);
        is_in_order
    }

    /// Events published.
    pub fn count(&self) -> u64 {
        self.events.len() as u64
    }

    /// Acknowledged events that never arrived.
    pub fn acked_unseen(&self) -> u64 {
        self.events
            .iter()
            .filter(|&&event| event & (ACKED | SEEN) == ACKED)
            .count() as u64
    }

    /// Acknowledged events.
    pub fn acked(&self) -> u64 {
        self.events
            .iter()
            .filter(|&&event| event & ACKED != 0)
            .count() as u64
    }

    /// Client message ids of acknowledged events.
    pub fn acked_ids(&self) -> impl Iterator<Item = u64> + '_ {
        let acked = |pair: &(&u8, &u64)| pair.0 & ACKED != 0;
        self.events
            .iter()
            .zip(&self.ids)
            .filter(acked)
            .map(|(_, &id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64, chain: u64) -> Position {
        Position {
            epoch,
            offset,
            chain,
        }
    }

    #[test]
    fn a_subscription_tells_repeats_from_gaps() {
        let mut subscription = Subscription::default();
        assert_eq!(subscription.advance(at(1, 4, 40), 30), None);
        assert_eq!(subscription.advance(at(1, 5, 50), 40), None);
        assert_eq!(
            subscription.advance(at(1, 5, 50), 40),
            Some(PositionFault::Repeated)
        );
        assert_eq!(
            subscription.advance(at(1, 7, 70), 60),
            Some(PositionFault::Gap)
        );
        assert_eq!(subscription.advance(at(1, 8, 80), 70), None);
        assert_eq!(
            subscription.advance(at(1, 9, 90), 81),
            Some(PositionFault::Gap)
        );
        assert_eq!(
            subscription.advance(at(2, 10, 1), 90),
            Some(PositionFault::Gap)
        );
    }

    #[test]
    fn an_announced_position_is_no_gap() {
        let mut subscription = Subscription::default();
        subscription.announce(at(1, 10, 100));
        assert_eq!(subscription.advance(at(1, 11, 110), 100), None);
    }

    #[test]
    fn lost_is_acknowledged_and_not_seen() {
        let mut ledger = Ledger::default();
        for id in [3, 4, 9, 12] {
            ledger.publish(id);
        }
        ledger.answer(3, true);
        ledger.answer(4, true);
        ledger.answer(9, false);
        ledger.answer(77, true);
        assert!(ledger.see(1));
        assert_eq!((ledger.acked(), ledger.acked_unseen()), (2, 1));
        assert!(ledger.see(4) && !ledger.see(2));
        assert_eq!(ledger.acked_unseen(), 0);
        assert_eq!(ledger.acked_ids().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(ledger.sequence_of(9), Some(3));
    }
}
