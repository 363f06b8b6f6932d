//! Recovery: can a subscription continue from the position that the client names?
//!
//! A position is valid when it equals the channel's top, or when the event after it carries its
//! chain as the previous one. Offsets alone prove nothing: after a failure they can be given
//! again. The answer is complete or it says why not; nothing is recovered in part.
//! Runs on: the thread that owns the channel's log or reads its history.

use interlink_wire::PositionReason;

use crate::frame::RecoveryFields;
use crate::ids::Position;
use crate::priority::Priority;

/// What is known of a channel's history when a subscription is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct History {
    /// Position of the newest event; offset 0 when there was none.
    pub top: Position,
    /// Offset of the oldest event that can be read; above the top's when there is none.
    pub oldest: u64,
    /// True when the channel keeps no history at all.
    pub ephemeral: bool,
}

/// What was found where the event after the wanted position is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextEvent {
    /// The event, with its previous chain.
    PreviousChain(u64),
    /// It should be there, and is not readable yet.
    NotYet,
}

/// The answer to a wanted recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// None was wanted: live from the pinned position.
    NotWanted,
    /// Every event after `after` follows, `following` of them.
    Complete {
        /// Offset of the last event that the client has.
        after: u64,
        /// Events up to the pinned position.
        following: u64,
    },
    /// The stream cannot be continued from there.
    NotRecovered {
        /// Why.
        reason: PositionReason,
        /// `History` after this offset returns the oldest readable event.
        history_after: Option<u64>,
        /// True when the same request may succeed later.
        temporary: bool,
    },
}

/// Decides a recovery. `next_event` is asked at most once, with the offset after the wanted one,
/// and only when that is within the readable history.
pub fn decide_recovery(
    wanted: Option<Position>,
    history: &History,
    next_event: impl FnOnce(u64) -> NextEvent,
) -> Recovery {
    let Some(wanted) = wanted else {
        return Recovery::NotWanted;
    };
    if history.ephemeral {
        return not_recovered(history, PositionReason::Ephemeral);
    }
    let top = history.top;
    if (wanted.offset, wanted.chain) == (top.offset, top.chain) {
        // The epoch may have changed; that the chain is the same proves the same history.
        return Recovery::Complete {
            after: wanted.offset,
            following: 0,
        };
    }
    // A position that is not part of this history: of another epoch it was lost in a failure,
    // of this epoch it was never issued.
    let foreign = if wanted.epoch == top.epoch {
        PositionReason::Unknown
    } else {
        PositionReason::Lineage
    };
    if wanted.offset >= top.offset {
        return not_recovered(history, foreign);
    }
    let next = wanted.offset + 1;
    if next < history.oldest {
        return not_recovered(history, PositionReason::Retention);
    }
    match next_event(next) {
        NextEvent::PreviousChain(chain) if chain == wanted.chain => Recovery::Complete {
            after: wanted.offset,
            following: top.offset - wanted.offset,
        },
        NextEvent::PreviousChain(_) => not_recovered(history, foreign),
        NextEvent::NotYet => not_recovered(history, PositionReason::Lagging),
    }
}

fn not_recovered(history: &History, reason: PositionReason) -> Recovery {
    let readable = !history.ephemeral && history.oldest <= history.top.offset;
    Recovery::NotRecovered {
        reason,
        history_after: readable.then(|| history.oldest.saturating_sub(1)),
        temporary: reason == PositionReason::Lagging,
    }
}

impl Recovery {
    /// The answer as `Subscribed` and `Welcome` carry it. `history_from` is the position at the
    /// offset that `NotRecovered` names, when the caller has read it.
    pub fn fields(&self, history_from: Option<Position>, retry_after_ms: u32) -> RecoveryFields {
        match *self {
            Self::NotWanted => RecoveryFields::default(),
            Self::Complete { following, .. } => RecoveryFields {
                recovered: true,
                following: u32::try_from(following).unwrap_or(u32::MAX),
                ..RecoveryFields::default()
            },
            Self::NotRecovered {
                reason, temporary, ..
            } => RecoveryFields {
                reason,
                history_from,
                retry_after_ms: if temporary { retry_after_ms } else { 0 },
                ..RecoveryFields::default()
            },
        }
    }
}

/// In which order the channels of a resumed session are served: P0 first, then P1, then the
/// rest; live events come after all of them.
pub const fn recovery_rank(priority: Priority) -> u8 {
    match priority {
        Priority::P0 => 0,
        Priority::P1 => 1,
        Priority::P2 | Priority::P3 => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RecordId;
    use proptest::prelude::*;

    /// A channel of `count` events, of which the ones from `oldest` on can be read.
    struct Channel {
        positions: Vec<Position>,
        oldest: u64,
    }

    impl Channel {
        fn new(epoch: u64, count: u64, oldest: u64) -> Self {
            let mut positions = vec![Position {
                epoch,
                offset: 0,
                chain: 0,
            }];
            for number in 1..=count {
                let last = positions[positions.len() - 1];
                positions.push(last.after(RecordId(u128::from(number))));
            }
            Self { positions, oldest }
        }

        fn decide(&self, wanted: Position) -> Recovery {
            let top = self.positions[self.positions.len() - 1];
            let history = History {
                top,
                oldest: self.oldest,
                ephemeral: false,
            };
            decide_recovery(Some(wanted), &history, |offset| {
                assert!(
                    (self.oldest..=top.offset).contains(&offset),
                    "{offset} is not kept"
                );
                NextEvent::PreviousChain(self.positions[offset as usize - 1].chain)
            })
        }
    }

    fn reason(recovery: Recovery) -> Option<PositionReason> {
        match recovery {
            Recovery::NotRecovered { reason, .. } => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn every_retained_position_recovers_completely() {
        let channel = Channel::new(1, 10, 4);
        for position in &channel.positions {
            let decided = channel.decide(*position);
            if position.offset + 1 >= 4 {
                let (after, following) = (position.offset, 10 - position.offset);
                assert_eq!(decided, Recovery::Complete { after, following });
            } else {
                let expected = Recovery::NotRecovered {
                    reason: PositionReason::Retention,
                    history_after: Some(3),
                    temporary: false,
                };
                assert_eq!(decided, expected);
            }
        }
    }

    #[test]
    fn a_new_epoch_with_the_same_chain_goes_on() {
        let before = Channel::new(1, 10, 1);
        let after = Channel::new(2, 10, 1);
        for position in &before.positions {
            assert!(
                matches!(after.decide(*position), Recovery::Complete { .. }),
                "{position:?}"
            );
        }
    }

    #[test]
    fn a_position_of_a_lost_history_is_not_mistaken_for_the_new_one() {
        let channel = Channel::new(2, 10, 1);
        let lost = Position {
            epoch: 1,
            offset: 7,
            chain: 0xbad,
        };
        assert_eq!(reason(channel.decide(lost)), Some(PositionReason::Lineage));
        let beyond = Position {
            epoch: 1,
            offset: 12,
            chain: 0xbad,
        };
        assert_eq!(
            reason(channel.decide(beyond)),
            Some(PositionReason::Lineage)
        );
        let same_offset = Position {
            epoch: 1,
            offset: 10,
            chain: 0xbad,
        };
        assert_eq!(
            reason(channel.decide(same_offset)),
            Some(PositionReason::Lineage)
        );
    }

    #[test]
    fn an_invented_position_is_unknown() {
        let channel = Channel::new(1, 10, 1);
        for offset in [0, 5, 10, 11, u64::MAX] {
            let invented = Position {
                epoch: 1,
                offset,
                chain: 0xbad,
            };
            assert_eq!(
                reason(channel.decide(invented)),
                Some(PositionReason::Unknown)
            );
        }
    }

    #[test]
    fn an_ephemeral_channel_and_a_lagging_archive_say_so() {
        let top = Position {
            epoch: 1,
            offset: 3,
            chain: 0,
        };
        let history = History {
            top,
            oldest: 4,
            ephemeral: true,
        };
        let never = |_| panic!("there is no history to look at");
        let decided = decide_recovery(Some(top), &history, never);
        assert_eq!(reason(decided), Some(PositionReason::Ephemeral));
        assert!(matches!(
            decided,
            Recovery::NotRecovered {
                history_after: None,
                ..
            }
        ));

        let history = History {
            top,
            oldest: 1,
            ephemeral: false,
        };
        let wanted = Position {
            epoch: 1,
            offset: 1,
            chain: 9,
        };
        let decided = decide_recovery(Some(wanted), &history, |_| NextEvent::NotYet);
        assert_eq!(decided.fields(None, 250).retry_after_ms, 250);
        assert_eq!(decide_recovery(None, &history, never), Recovery::NotWanted);
    }

    #[test]
    fn critical_channels_are_served_first() {
        let mut order = [Priority::P3, Priority::P1, Priority::P2, Priority::P0];
        order.sort_by_key(|priority| recovery_rank(*priority));
        assert_eq!(order[..2], [Priority::P0, Priority::P1]);
    }

    proptest! {
        /// Complete exactly when the wanted position is in the history and what follows it can
        /// be read; the count is then exact.
        #[test]
        fn recovery_agrees_with_the_history(
            count in 0u64..20, oldest in 1u64..25, epoch in 1u64..3, offset in 0u64..25,
            genuine: bool,
        ) {
            let channel = Channel::new(1, count, oldest);
            let chain = channel.positions.get(offset as usize).map_or(1, |at| at.chain);
            let chain = if genuine { chain } else { chain ^ 0x55 };
            let wanted = Position { epoch, offset, chain };
            let known = genuine && offset <= count;
            let readable = offset == count || offset + 1 >= oldest;
            match channel.decide(wanted) {
                Recovery::Complete { after, following } => {
                    prop_assert!(known && readable);
                    prop_assert_eq!((after, following), (offset, count - offset));
                }
                Recovery::NotRecovered { .. } => prop_assert!(!(known && readable)),
                Recovery::NotWanted => prop_assert!(false, "a recovery was wanted"),
            }
        }
    }
}
