//! What becomes of a client that takes less than is published.
//!
//! A subscription's outbox is its position in the log of its channel, so nothing is queued for
//! a slow client. This file holds the decisions that remain: what becomes of a subscription that
//! the log has overtaken, what a conflated one is told next, and when a socket that takes
//! nothing is given up.
//!
//! Invariants: P0 and P1 are never skipped; what a conflated subscription is given has rising
//! offsets, and every offset is either given or counted once.
//! Runs on: the thread that owns the connection; plain values.

use interlink_wire::PositionReason;

use crate::priority::Priority;

/// What becomes of a subscription whose position left the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overrun {
    /// It becomes a cursor into the history: everything is delivered later, in order.
    Cursor,
    /// Events are skipped; the newest of each conflation key is delivered, the rest is counted
    /// and told by `Position`.
    Conflate,
    /// Events are skipped, counted and told by `Position` with reason `slow`.
    Skip,
}

impl Overrun {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Cursor, Self::Conflate, Self::Skip];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cursor => "history",
            Self::Conflate => "conflated",
            Self::Skip => "skipped",
        }
    }
}

/// Decides what an overrun of a subscription leads to, by the class of its channel.
pub const fn overrun(priority: Priority, conflated: bool) -> Overrun {
    match priority {
        Priority::P0 | Priority::P1 => Overrun::Cursor,
        Priority::P2 | Priority::P3 if conflated => Overrun::Conflate,
        Priority::P2 | Priority::P3 => Overrun::Skip,
    }
}

/// Where a subscription that gets the last values of its channel stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflating {
    /// Offset of the last event that the client has or was told of.
    pub after: u64,
    /// Offset up to which only the last values are left; the log holds what follows.
    pub until: u64,
    /// What is said of events that no later value of their key stands for.
    pub lost: PositionReason,
}

/// What a conflated subscription is told next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// So many events are skipped, and the value at this offset follows.
    Value {
        /// Offset of the value.
        offset: u64,
        /// Events before it that are skipped.
        skipped: u64,
        /// Why they are.
        reason: PositionReason,
    },
    /// So many events are skipped, and the log goes on.
    Live {
        /// Events that are skipped.
        skipped: u64,
        /// Why they are.
        reason: PositionReason,
    },
}

impl Conflating {
    /// Decides what comes next. `value` is the offset of the oldest last value above
    /// [`Self::after`]; `all_kept_above` says above which offset each event is a last value or
    /// was superseded by one.
    pub const fn next(&self, value: Option<u64>, all_kept_above: u64) -> Told {
        let reason = if self.after >= all_kept_above {
            PositionReason::Conflated
        } else {
            self.lost
        };
        match value {
            Some(offset) if offset <= self.until && offset > self.after => Told::Value {
                offset,
                skipped: offset - self.after - 1,
                reason,
            },
            _ => Told::Live {
                skipped: self.until.saturating_sub(self.after),
                reason,
            },
        }
    }
}

/// True when a client that has taken nothing since `blocked_since_ms` is to be closed with
/// `slow_client`. Times are of one millisecond clock that may wrap.
pub const fn write_timed_out(blocked_since_ms: u32, now_ms: u32, timeout_ms: u32) -> bool {
    now_ms.wrapping_sub(blocked_since_ms) >= timeout_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_and_high_events_are_never_skipped() {
        for conflated in [false, true] {
            assert_eq!(overrun(Priority::P0, conflated), Overrun::Cursor);
            assert_eq!(overrun(Priority::P1, conflated), Overrun::Cursor);
        }
        assert_eq!(overrun(Priority::P2, true), Overrun::Conflate);
        assert_eq!(overrun(Priority::P2, false), Overrun::Skip);
        assert_eq!(overrun(Priority::P3, false), Overrun::Skip);
    }

    #[test]
    fn every_offset_is_given_or_counted_once() {
        let mut at = Conflating {
            after: 10,
            until: 20,
            lost: PositionReason::Slow,
        };
        let values = [12, 13, 19, 24];
        let mut counted = 0;
        loop {
            let value = values.into_iter().find(|value| *value > at.after);
            match at.next(value, 0) {
                Told::Value {
                    offset, skipped, ..
                } => {
                    counted += skipped + 1;
                    at.after = offset;
                }
                Told::Live { skipped, .. } => {
                    counted += skipped;
                    break;
                }
            }
        }
        assert_eq!((at.after, counted), (19, 10));
    }

    #[test]
    fn only_what_a_later_value_stands_for_is_called_conflated() {
        let at = Conflating {
            after: 10,
            until: 20,
            lost: PositionReason::Slow,
        };
        let reason = |all_kept_above| match at.next(None, all_kept_above) {
            Told::Live { reason, .. } | Told::Value { reason, .. } => reason,
        };
        assert_eq!(reason(10), PositionReason::Conflated);
        assert_eq!(reason(11), PositionReason::Slow);
    }

    #[test]
    fn the_write_timeout_survives_a_wrap_of_the_clock() {
        let since = u32::MAX - 5;
        let due = since.wrapping_add(20_000);
        assert!(!write_timed_out(since, due.wrapping_sub(1), 20_000));
        assert!(write_timed_out(since, due, 20_000));
    }
}
