//! What leaves a connection, and what happens when it cannot.
//!
//! A subscription's outbox is its position in the log of its channel, so nothing is queued for
//! a slow client. This file holds the two decisions that remain: whether the socket may be
//! written to, and what becomes of a subscription that the log has overtaken.
//! Runs on: the thread that owns the connection; one byte.

use crate::limits;
use crate::priority::Priority;
use crate::transitions;

transitions! {
    /// Whether the socket takes bytes.
    pub states OutboxState {
        /// It took everything so far.
        Open,
        /// It took less than it was given; a writable notice is awaited.
        Blocked,
        /// It became writable and took nothing; the next attempt waits for a timer.
        Waiting,
    }
    /// What happens to the socket.
    events OutboxEvent {
        /// A send was taken whole.
        SentWhole,
        /// A send was taken in part or not at all.
        SentShort,
        /// The kernel says that the socket is writable, or the timer fired.
        Writable,
        /// After two notices in a row, sends took nothing.
        FoundFutile,
    }
    SentWhole(Open => Open);
    SentShort(Open => Blocked);
    Writable(Blocked | Waiting => Open);
    FoundFutile(Open | Blocked => Waiting);
}

/// What becomes of a subscription whose position left the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overrun {
    /// It becomes a cursor into the history: everything is delivered later, in order.
    Cursor,
    /// Events are skipped; the newest of each conflation key is delivered, the rest is counted
    /// and told by `Position` with reason `conflated`.
    Conflate,
    /// Events are skipped, counted and told by `Position` with reason `slow`.
    Skip,
}

/// Decides what an overrun of a subscription leads to, by the class of its channel.
pub const fn overrun(priority: Priority, conflated: bool) -> Overrun {
    match priority {
        Priority::P0 | Priority::P1 => Overrun::Cursor,
        Priority::P2 | Priority::P3 if conflated => Overrun::Conflate,
        Priority::P2 | Priority::P3 => Overrun::Skip,
    }
}

/// True when a client that has taken nothing since `blocked_since_ms` is to be closed with
/// `slow_client`. Times are of one millisecond clock that may wrap.
pub const fn write_timed_out(blocked_since_ms: u32, now_ms: u32) -> bool {
    now_ms.wrapping_sub(blocked_since_ms) >= limits::WRITE_TIMEOUT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_to_a_blocked_socket_before_it_is_writable() {
        let mut state = OutboxState::Open;
        assert_eq!(
            state.apply(OutboxEvent::SentShort),
            Ok(OutboxState::Blocked)
        );
        assert!(state.apply(OutboxEvent::SentWhole).is_err());
        assert!(state.apply(OutboxEvent::SentShort).is_err());
        assert_eq!(state.apply(OutboxEvent::Writable), Ok(OutboxState::Open));
    }

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
    fn the_write_timeout_survives_a_wrap_of_the_clock() {
        let since = u32::MAX - 5;
        let due = since.wrapping_add(limits::WRITE_TIMEOUT_MS);
        assert!(!write_timed_out(since, due.wrapping_sub(1)));
        assert!(write_timed_out(since, due));
    }
}
