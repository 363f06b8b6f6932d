//! Continuing a session on a new connection.
//!
//! Purpose: remembers which session can be continued, and for how long.
//! Invariant: a session is offered only within the window that the server named, counted
//! from the loss, and never after the server said that it cannot be resumed.
//! Runs on: any thread; the clock comes in as an argument.

use interlink_protocol::ids::SessionKey;

/// The session of the last connection.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    session: Option<SessionKey>,
    window_ms: u64,
    lost_at_ms: Option<u64>,
}

impl Resume {
    /// A `Welcome` named the session and how long it outlives its connection.
    pub fn on_welcome(&mut self, session: SessionKey, window_ms: u32) {
        self.session = Some(session);
        self.window_ms = u64::from(window_ms);
        self.lost_at_ms = None;
    }

    /// The connection is gone. Failed attempts after it do not prolong the window.
    pub fn on_lost(&mut self, now_ms: u64) {
        self.lost_at_ms.get_or_insert(now_ms);
    }

    /// The server said that the session cannot be continued.
    pub fn forget(&mut self) {
        self.session = None;
    }

    /// The session to offer in `Hello`.
    pub fn offer(&self, now_ms: u64) -> Option<SessionKey> {
        let lost_at_ms = self.lost_at_ms?;
        let within = now_ms.saturating_sub(lost_at_ms) <= self.window_ms;
        self.session.filter(|_| within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionKey = SessionKey(9);

    #[test]
    fn a_session_is_offered_within_its_window() {
        let mut resume = Resume::default();
        assert_eq!(resume.offer(0), None);
        resume.on_welcome(SESSION, 1_000);
        resume.on_lost(5_000);
        resume.on_lost(5_900);
        assert_eq!(resume.offer(6_000), Some(SESSION));
        assert_eq!(resume.offer(6_001), None);
    }

    #[test]
    fn a_session_that_may_not_be_resumed_is_forgotten() {
        let mut resume = Resume::default();
        resume.on_welcome(SESSION, 1_000);
        resume.forget();
        resume.on_lost(0);
        assert_eq!(resume.offer(0), None);
    }
}
