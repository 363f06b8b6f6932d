//! Heartbeats: is the client still there?
//!
//! The server sends one every interval and expects a `Pong` within the timeout. The state is
//! one byte; time lives in the caller's timer wheel, with one timer for each connection.
//!
//! A `Pong` only flips the state and leaves the timer alone, since answers are as frequent as
//! heartbeats and a wheel entry costs more than a byte. The timer then fires after the timeout,
//! finds the answer and rests for what remains of the interval, so that heartbeats keep their
//! period whatever the round trip.
//! Runs on: the thread that owns the connection.

use crate::limits;
use crate::transitions;

transitions! {
    /// Where the exchange stands.
    pub states HeartbeatState {
        /// The next heartbeat is not due.
        Resting,
        /// A heartbeat was sent and not answered.
        Awaiting,
        /// It was answered; the timer still runs.
        Answered,
        /// It was not answered in time.
        Expired,
    }
    /// What happens.
    events HeartbeatEvent {
        /// The connection's timer fired.
        TimerFired,
        /// A `Pong` came.
        PongReceived,
    }
    TimerFired(Resting => Awaiting);
    TimerFired(Awaiting => Expired);
    TimerFired(Answered => Resting);
    PongReceived(Awaiting => Answered);
}

/// Times of the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatTimes {
    /// From one heartbeat to the next, in milliseconds.
    pub interval_ms: u32,
    /// Time for the answer in milliseconds; less than the interval.
    pub timeout_ms: u32,
}

impl Default for HeartbeatTimes {
    fn default() -> Self {
        Self {
            interval_ms: limits::HEARTBEAT_MS,
            timeout_ms: limits::HEARTBEAT_TIMEOUT_MS,
        }
    }
}

/// What the caller does when the timer has fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerAction {
    /// Send a heartbeat; set the timer again after `next_ms`.
    Send {
        /// Milliseconds until the timer fires again.
        next_ms: u32,
    },
    /// Set the timer again after `next_ms`.
    Rest {
        /// Milliseconds until the timer fires again.
        next_ms: u32,
    },
    /// Close the connection with `heartbeat_timeout`.
    Close,
}

impl HeartbeatState {
    /// The connection's timer fired. `paused` is true while the server itself does not read the
    /// connection: an answer could not have arrived, so the deadline moves along.
    pub fn on_timer(&mut self, times: HeartbeatTimes, paused: bool) -> TimerAction {
        if paused && *self == Self::Awaiting {
            return TimerAction::Rest {
                next_ms: times.timeout_ms,
            };
        }
        match self.apply(HeartbeatEvent::TimerFired) {
            Ok(Self::Awaiting) => TimerAction::Send {
                next_ms: times.timeout_ms,
            },
            Ok(Self::Resting) => TimerAction::Rest {
                next_ms: times.interval_ms - times.timeout_ms,
            },
            // Once expired, a timer that fires again changes nothing.
            Ok(_) | Err(_) => TimerAction::Close,
        }
    }

    /// A `Pong` came. False when none was awaited; such a one proves nothing and is ignored.
    pub fn on_pong(&mut self) -> bool {
        self.apply(HeartbeatEvent::PongReceived).is_ok()
    }

    /// First delay of a connection's timer: spread over the interval by the session's id, so
    /// that clients that came together are not asked together.
    pub fn first_delay_ms(times: HeartbeatTimes, spread: u64) -> u32 {
        // The product of 32-bit values fits, and the high half is even over the interval.
        ((u64::from(times.interval_ms) * (spread & 0xffff_ffff)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: HeartbeatTimes = HeartbeatTimes {
        interval_ms: 30_000,
        timeout_ms: 5_000,
    };

    #[test]
    fn heartbeats_keep_their_period() {
        let mut state = HeartbeatState::default();
        let mut now_ms = 0;
        let mut sent_at = Vec::new();
        while sent_at.len() < 4 {
            match state.on_timer(TIMES, false) {
                TimerAction::Send { next_ms } => {
                    sent_at.push(now_ms);
                    assert!(state.on_pong());
                    now_ms += next_ms;
                }
                TimerAction::Rest { next_ms } => now_ms += next_ms,
                TimerAction::Close => panic!("an answered heartbeat expired"),
            }
        }
        assert_eq!(sent_at, [0, 30_000, 60_000, 90_000]);
    }

    #[test]
    fn silence_ends_the_connection_after_the_timeout() {
        let mut state = HeartbeatState::default();
        assert_eq!(
            state.on_timer(TIMES, false),
            TimerAction::Send { next_ms: 5_000 }
        );
        assert_eq!(state.on_timer(TIMES, false), TimerAction::Close);
        assert!(!state.on_pong(), "too late");
        assert_eq!(state.on_timer(TIMES, false), TimerAction::Close);
    }

    #[test]
    fn a_pong_that_nobody_asked_for_does_not_count() {
        let mut state = HeartbeatState::default();
        assert!(!state.on_pong());
        assert_eq!(
            state.on_timer(TIMES, false),
            TimerAction::Send { next_ms: 5_000 }
        );
        assert!(state.on_pong());
        assert!(!state.on_pong(), "one answer for one heartbeat");
    }

    #[test]
    fn a_client_that_is_not_read_is_not_blamed() {
        let mut state = HeartbeatState::Awaiting;
        assert_eq!(
            state.on_timer(TIMES, true),
            TimerAction::Rest { next_ms: 5_000 }
        );
        assert_eq!(state, HeartbeatState::Awaiting);
        assert!(state.on_pong());
    }

    #[test]
    fn first_heartbeats_are_spread_over_the_interval() {
        let delay = |spread| HeartbeatState::first_delay_ms(TIMES, spread);
        assert_eq!(
            (delay(0), delay(0x8000_0000), delay(u64::MAX)),
            (0, 15_000, 29_999)
        );
    }
}
