//! Acknowledgements of delivered events.
//!
//! An acknowledgement is cumulative: it covers every event up to its position. It only moves
//! forward within an epoch. Between epochs the chain decides, since offsets may be given again
//! after a failure: a position of another epoch counts only when the caller has found it valid.
//! Runs on: the thread that owns the session.

use crate::ids::Position;

/// What an acknowledgement leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckDecision {
    /// The cursor moves here.
    Advance,
    /// Nothing new; repeats and late frames are normal after a reconnect.
    Old,
    /// The position lies beyond what was sent to the client and is ignored: a client cannot
    /// have processed it.
    Beyond,
    /// The position is of another epoch and was not found valid; it is ignored, and the client
    /// learns the new position from the server.
    OtherEpoch,
}

/// Decides an acknowledgement of `acked`, when the cursor stands at `cursor` and `sent` is the
/// last position that was sent. `valid_across_epochs` is asked only when the epochs of cursor
/// and acknowledgement differ, and tells whether `acked` equals a position of the channel's
/// present history by its chain.
pub fn decide_ack(
    cursor: Position,
    acked: Position,
    sent: Position,
    valid_across_epochs: impl FnOnce() -> bool,
) -> AckDecision {
    if acked.epoch == sent.epoch && acked.offset > sent.offset {
        return AckDecision::Beyond;
    }
    // A device without any acknowledgement has no epoch to keep to.
    let first = cursor == Position::ZERO && acked.epoch == sent.epoch;
    if acked.epoch == cursor.epoch || first {
        return if acked.offset > cursor.offset {
            AckDecision::Advance
        } else {
            AckDecision::Old
        };
    }
    if acked.epoch < cursor.epoch {
        return AckDecision::Old;
    }
    if valid_across_epochs() {
        AckDecision::Advance
    } else {
        AckDecision::OtherEpoch
    }
}

#[cfg(test)]
mod tests {
    use super::AckDecision::{Advance, Beyond, Old, OtherEpoch};
    use super::*;
    use proptest::prelude::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position {
            epoch,
            offset,
            chain: epoch * 1000 + offset,
        }
    }

    fn never() -> bool {
        panic!("the chain is asked for only when epochs differ")
    }

    #[test]
    fn acknowledgements_move_forward_only() {
        let sent = at(1, 9);
        assert_eq!(decide_ack(at(1, 3), at(1, 5), sent, never), Advance);
        assert_eq!(decide_ack(at(1, 3), at(1, 9), sent, never), Advance);
        assert_eq!(decide_ack(at(1, 3), at(1, 3), sent, never), Old);
        assert_eq!(decide_ack(at(1, 3), at(1, 2), sent, never), Old);
        assert_eq!(decide_ack(at(1, 3), at(1, 10), sent, never), Beyond);
    }

    #[test]
    fn the_first_acknowledgement_of_a_device_needs_no_earlier_epoch() {
        assert_eq!(
            decide_ack(Position::ZERO, at(7, 2), at(7, 9), never),
            Advance
        );
    }

    #[test]
    fn a_new_epoch_counts_when_its_chain_is_known() {
        let sent = at(2, 4);
        assert_eq!(decide_ack(at(1, 8), at(2, 3), sent, || true), Advance);
        assert_eq!(decide_ack(at(1, 8), at(2, 3), sent, || false), OtherEpoch);
        assert_eq!(decide_ack(at(2, 1), at(1, 8), sent, never), Old);
    }

    proptest! {
        /// Whatever comes in, a cursor that follows the decisions never goes back and never
        /// passes what was sent.
        #[test]
        fn a_cursor_never_goes_back(acks in prop::collection::vec((1u64..4, 0u64..20), 1..40)) {
            let sent = at(3, 10);
            let mut cursor = Position::ZERO;
            for (epoch, offset) in acks {
                let acked = at(epoch, offset);
                if decide_ack(cursor, acked, sent, || epoch == 3) == Advance {
                    prop_assert!((acked.epoch, acked.offset) > (cursor.epoch, cursor.offset));
                    prop_assert!(acked.epoch == 3 && acked.offset <= sent.offset);
                    cursor = acked;
                }
            }
        }
    }
}
