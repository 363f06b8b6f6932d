//! Replacing the token before it ends.
//!
//! Purpose: a client whose token provider can bring another token never loses its connection
//! to the end of one. The end is read from the token itself and compared with the clock of the
//! server, as `Welcome` told it, so that a wrong clock of the device does no harm.
//!
//! Rules: the provider is asked when a quarter of the token's rest is left, at most a minute
//! and at least a second after the last time; a failure that may pass is tried again after the
//! pause, any other is left to the end of the connection, after which the next attempt shows
//! it. A token whose end cannot be read is not replaced before the server closes.
//! Runs on: any thread; the clock comes in as an argument.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;

use crate::limits;

/// Where the replacement stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is planned.
    #[default]
    Idle,
    /// The provider is asked at this time.
    Planned { at_ms: u64 },
    /// The provider has been asked.
    Asked,
    /// The frame has to leave.
    Ready { token: Box<str> },
    /// The server has not answered.
    Sent { request: u32 },
}

/// State of the token on one connection.
#[derive(Clone, Debug, Default)]
pub struct Refresh {
    phase: Phase,
    /// End of the newest token in microseconds since the Unix epoch.
    end_us: Option<u64>,
    /// Time of the server at a time of the client: microseconds and milliseconds.
    aligned: (u64, u64),
}

impl Refresh {
    /// A connection is greeted with this token.
    pub fn on_hello(&mut self, token: &str) {
        *self = Self::default();
        self.end_us = end_us(token);
    }

    /// The server has welcomed the connection at its time.
    pub fn on_welcome(&mut self, server_time_us: u64, now_ms: u64) {
        self.aligned = (server_time_us, now_ms);
        self.plan(now_ms);
    }

    /// When [`Refresh::start_when_due`] is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Planned { at_ms } => Some(at_ms),
            _ => None,
        }
    }

    /// True once when the provider has to be asked.
    pub fn start_when_due(&mut self, now_ms: u64) -> bool {
        let due = self.deadline_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if due {
            self.phase = Phase::Asked;
        }
        due
    }

    /// The provider has brought a token, or has none now (`None`).
    pub fn on_token(&mut self, token: Option<Box<str>>, now_ms: u64) {
        if self.phase != Phase::Asked {
            return;
        }
        match token {
            Some(token) => self.phase = Phase::Ready { token },
            None => self.retry(now_ms),
        }
    }

    /// True when the frame has to leave.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// The token for the frame with this request id, once.
    pub fn take_ready(&mut self, request: u32) -> Option<Box<str>> {
        match std::mem::take(&mut self.phase) {
            Phase::Ready { token } => {
                self.end_us = end_us(&token);
                self.phase = Phase::Sent { request };
                Some(token)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// The server has taken the token of this request.
    pub fn on_accepted(&mut self, request: u32, now_ms: u64) {
        if self.phase == (Phase::Sent { request }) {
            self.plan(now_ms);
        }
    }

    /// The server has refused the request; true when it was about a token.
    pub fn on_refused(&mut self, request: u32, temporary: bool, now_ms: u64) -> bool {
        if self.phase != (Phase::Sent { request }) {
            return false;
        }
        self.phase = Phase::Idle;
        if temporary {
            self.retry(now_ms);
        }
        true
    }

    /// The connection is gone; the next one gets a token of its own.
    pub fn on_lost(&mut self) {
        *self = Self::default();
    }

    fn retry(&mut self, now_ms: u64) {
        let at_ms = now_ms + limits::REFRESH_PAUSE_MS;
        self.phase = Phase::Planned { at_ms };
    }

    fn plan(&mut self, now_ms: u64) {
        let Some(end_us) = self.end_us else {
            self.phase = Phase::Idle;
            return;
        };
        let (server_us, at_ms) = self.aligned;
        let left_ms =
            (end_us.saturating_sub(server_us) / 1_000).saturating_sub(now_ms.saturating_sub(at_ms));
        let lead_ms = (left_ms / 4).min(limits::REFRESH_LEAD_MAX_MS);
        let wait_ms = (left_ms - lead_ms).max(limits::REFRESH_PAUSE_MS);
        self.phase = Phase::Planned {
            at_ms: now_ms.saturating_add(wait_ms),
        };
    }
}

/// `exp` of a JWT in microseconds since the Unix epoch. The signature is not looked at: what
/// is read here decides only when the next token is fetched.
fn end_us(token: &str) -> Option<u64> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let end_s = claims.get("exp")?.as_f64()?;
    (end_s > 0.0 && end_s < 1e12).then_some((end_s * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_US: u64 = 1_900_000_000_000_000;

    fn token(left_s: u64) -> Box<str> {
        let end_s = SERVER_US / 1_000_000 + left_s;
        let payload = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{end_s}}}"));
        format!("h.{payload}.s").into()
    }

    fn welcomed(left_s: u64) -> Refresh {
        let mut refresh = Refresh::default();
        refresh.on_hello(&token(left_s));
        refresh.on_welcome(SERVER_US, 5_000);
        refresh
    }

    #[test]
    fn a_token_is_replaced_before_its_end_by_the_clock_of_the_server() {
        assert_eq!(welcomed(40).deadline_ms(), Some(35_000));
        assert_eq!(welcomed(3_600).deadline_ms(), Some(5_000 + 3_540_000));
        assert_eq!(welcomed(0).deadline_ms(), Some(6_000));
    }

    #[test]
    fn tokens_without_a_readable_end_are_left_alone() {
        for token in [
            "",
            "opaque",
            "a.b",
            "a.!.c",
            "a.e30.c",
            "a.eyJleHAiOiIxIn0.c",
        ] {
            let mut refresh = Refresh::default();
            refresh.on_hello(token);
            refresh.on_welcome(SERVER_US, 0);
            assert_eq!(refresh.deadline_ms(), None, "{token}");
        }
    }

    #[test]
    fn an_accepted_token_plans_its_own_replacement() {
        let mut refresh = welcomed(40);
        assert!(!refresh.start_when_due(34_999));
        assert!(refresh.start_when_due(35_000));
        assert!(!refresh.start_when_due(35_001));
        refresh.on_token(Some(token(100)), 36_000);
        assert!(refresh.is_ready());
        assert_eq!(refresh.take_ready(3), Some(token(100)));
        assert_eq!(refresh.take_ready(4), None);
        refresh.on_accepted(2, 37_000);
        assert_eq!(refresh.deadline_ms(), None);
        // 100 s after the Welcome at 5 s, of which 69 s are left at 36 s.
        refresh.on_accepted(3, 36_000);
        assert_eq!(refresh.deadline_ms(), Some(36_000 + 69_000 - 17_250));
    }

    #[test]
    fn failures_that_may_pass_are_tried_again_and_others_are_not() {
        let mut refresh = welcomed(40);
        assert!(refresh.start_when_due(35_000));
        refresh.on_token(None, 35_500);
        assert_eq!(refresh.deadline_ms(), Some(36_500));
        for (temporary, next) in [(true, Some(41_000)), (false, None)] {
            let mut refresh = refresh.clone();
            assert!(refresh.start_when_due(36_500));
            refresh.on_token(Some(token(50)), 37_000);
            refresh.take_ready(7);
            assert!(!refresh.on_refused(6, temporary, 40_000));
            assert!(refresh.on_refused(7, temporary, 40_000));
            assert_eq!(refresh.deadline_ms(), next);
        }
    }

    #[test]
    fn a_token_that_comes_after_the_connection_was_lost_is_dropped() {
        let mut refresh = welcomed(40);
        assert!(refresh.start_when_due(35_000));
        refresh.on_lost();
        refresh.on_token(Some(token(50)), 36_000);
        assert!(!refresh.is_ready());
    }
}
