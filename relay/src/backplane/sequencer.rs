//! Positions: the numbering of one channel, and when a position still holds.
//!
//! A position is always (epoch, offset, chain). Offsets count 1, 2, 3 and so on; the chain
//! is a hash over all record ids so far, so that two histories that differ anywhere before
//! an offset differ in its chain. The epoch names one unbroken numbering.
//!
//! Invariant: under one epoch an offset is issued once. After anything that may have lost
//! issued offsets the caller starts a new epoch, see [`next_epoch`].
//! Runs on: the shard that owns the channel; plain values.

use interlink_protocol::ids::{Position, RecordId};

use crate::record::Placement;

/// Bits of an epoch below its milliseconds; they tell apart epochs of one millisecond.
const LINEAGE_BITS: u32 = 20;

/// The numbering of one channel: 24 bytes, for embedding in a channel table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequencer {
    top: Position,
}

const _: () = assert!(std::mem::size_of::<Sequencer>() == 24);

impl Sequencer {
    /// A channel without events.
    pub fn new(epoch: u64) -> Self {
        Self {
            top: Position {
                epoch,
                ..Position::ZERO
            },
        }
    }

    /// Goes on after `top` in the same epoch.
    pub fn resume(top: Position) -> Self {
        Self { top }
    }

    /// Goes on after `top`, some of whose successors may have been lost: offsets and chain
    /// continue, the epoch is new.
    pub fn resume_in(epoch: u64, top: Position) -> Self {
        Self {
            top: Position { epoch, ..top },
        }
    }

    /// Where the next record would stand; nothing changes until [`Sequencer::commit`], so
    /// that a record that the journal refuses takes no offset.
    pub fn next(&self, record: RecordId) -> Placement {
        Placement {
            position: self.top.after(record),
            previous_chain: self.top.chain,
        }
    }

    /// The same on a channel that keeps nothing: counted, without a chain.
    pub fn next_ephemeral(&self) -> Placement {
        let offset = self.top.offset + 1;
        Placement {
            position: Position { offset, ..self.top },
            previous_chain: self.top.chain,
        }
    }

    /// Takes the place that `next` or `next_ephemeral` gave.
    pub fn commit(&mut self, placement: &Placement) {
        debug_assert_eq!(placement.position.offset, self.top.offset + 1);
        self.top = placement.position;
    }

    /// `next` and `commit` in one.
    pub fn place(&mut self, record: RecordId) -> Placement {
        let placement = self.next(record);
        self.commit(&placement);
        placement
    }

    /// Position of the newest event.
    pub fn top(&self) -> Position {
        self.top
    }
}

/// Whether a stream can go on after `position`: it is the top, or the event `following` it
/// names its chain as the previous one. The epoch alone decides nothing: after a crash it
/// is new although most of the history is the same.
pub fn holds(position: Position, top: Position, following: Option<&Placement>) -> bool {
    if position.offset == top.offset {
        return position.chain == top.chain;
    }
    following.is_some_and(|next| {
        next.position.offset.checked_sub(1) == Some(position.offset)
            && next.previous_chain == position.chain
    })
}

/// An epoch above every one seen before: 44 bits of milliseconds since the Unix epoch and
/// 20 bits of `lineage`, so that epochs sort by time even across nodes.
pub fn next_epoch(now_ms: u64, lineage: u64, highest_seen: u64) -> u64 {
    let epoch = now_ms << LINEAGE_BITS | lineage & ((1 << LINEAGE_BITS) - 1);
    epoch.max(highest_seen.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_one_and_chains_link() {
        let mut sequencer = Sequencer::new(7);
        let first = sequencer.place(RecordId(1));
        let second = sequencer.place(RecordId(2));
        assert_eq!(first.position.offset, 1);
        assert_eq!(first.previous_chain, 0);
        assert_eq!(second.position, first.position.after(RecordId(2)));
        assert_eq!(second.previous_chain, first.position.chain);
        assert_eq!(sequencer.top(), second.position);
    }

    #[test]
    fn a_lost_and_reissued_offset_is_told_apart_by_its_chain() {
        let mut before = Sequencer::new(1);
        let kept = before.place(RecordId(1));
        let lost = before.place(RecordId(2));
        let mut after = Sequencer::resume_in(2, kept.position);
        let reissued = after.place(RecordId(3));
        assert_eq!(lost.position.offset, reissued.position.offset);
        assert!(!holds(lost.position, after.top(), None));
        assert!(
            holds(kept.position, after.top(), Some(&reissued)),
            "in the older epoch"
        );
        assert!(!holds(kept.position, after.top(), None));
    }

    #[test]
    fn the_start_of_a_channel_is_a_position_too() {
        let mut sequencer = Sequencer::new(1);
        assert!(holds(Position::ZERO, sequencer.top(), None));
        let first = sequencer.place(RecordId(1));
        assert!(holds(Position::ZERO, sequencer.top(), Some(&first)));
        assert!(!holds(
            Position {
                offset: 9,
                ..Position::ZERO
            },
            sequencer.top(),
            None
        ));
    }

    #[test]
    fn epochs_grow_even_when_the_clock_goes_back() {
        let first = next_epoch(1_000, 1, 0);
        assert_eq!(first >> LINEAGE_BITS, 1_000);
        assert!(next_epoch(500, 2, first) > first);
    }
}
