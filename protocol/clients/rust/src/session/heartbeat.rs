//! Liveness of the connection.
//!
//! Purpose: answers the server's heartbeats at once and declares a silent connection lost.
//! The server sends one every 30 s and closes a client that does not answer within 5 s; the
//! client treats silence of both together as loss.
//! Invariant: at most one answer waits; a newer heartbeat replaces it, since the server
//! accepts the newest echo.
//! Runs on: any thread; the clock comes in as an argument.

use crate::limits;

/// State of the heartbeat on one connection.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    silence_ms: u64,
    last_heard_ms: u64,
    answer: Option<u64>,
}

impl Heartbeat {
    /// Starts for a new connection.
    pub fn new(now_ms: u64) -> Self {
        Self {
            silence_ms: limits::SILENCE_MS,
            last_heard_ms: now_ms,
            answer: None,
        }
    }

    /// Takes the interval and the timeout of the `Welcome`; zeros keep the default.
    pub fn on_welcome(&mut self, heartbeat_ms: u32, timeout_ms: u32) {
        if heartbeat_ms > 0 {
            self.silence_ms = u64::from(heartbeat_ms) + u64::from(timeout_ms);
        }
    }

    /// Notes that bytes came.
    pub fn on_heard(&mut self, now_ms: u64) {
        self.last_heard_ms = self.last_heard_ms.max(now_ms);
    }

    /// Notes a heartbeat, which is to be answered with its own time.
    pub fn on_heartbeat(&mut self, server_time_us: u64) {
        self.answer = Some(server_time_us);
    }

    /// The echo that has to leave, once.
    pub fn take_answer(&mut self) -> Option<u64> {
        self.answer.take()
    }

    /// True when an answer waits.
    pub fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// When the connection counts as lost if nothing more is heard.
    pub fn deadline_ms(&self) -> u64 {
        self.last_heard_ms + self.silence_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_measured_from_the_last_byte() {
        let mut heartbeat = Heartbeat::new(1_000);
        assert_eq!(heartbeat.deadline_ms(), 36_000);
        heartbeat.on_heard(5_000);
        heartbeat.on_heard(4_000);
        assert_eq!(heartbeat.deadline_ms(), 40_000);
        heartbeat.on_welcome(200, 50);
        assert_eq!(heartbeat.deadline_ms(), 5_250);
    }

    #[test]
    fn each_heartbeat_is_answered_once_with_the_newest_time() {
        let mut heartbeat = Heartbeat::new(0);
        assert!(!heartbeat.has_answer());
        heartbeat.on_heartbeat(7);
        heartbeat.on_heartbeat(9);
        assert!(heartbeat.has_answer());
        assert_eq!(heartbeat.take_answer(), Some(9));
        assert_eq!(heartbeat.take_answer(), None);
    }
}
