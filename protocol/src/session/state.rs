//! The life of a connection and of the session that it carries.
//!
//! A connection is one socket. A session is an authenticated client, which outlives its
//! connection for the resume window and is carried by at most one connection at a time: a second
//! one that proves the session takes it over.
//! Runs on: the thread that owns the connection or session; one byte each.

use crate::transitions;

transitions! {
    /// Where a connection stands.
    pub states ConnectionState {
        /// The WebSocket is open and no `Hello` has come.
        AwaitingHello,
        /// The token is being verified; nothing of the client is processed.
        Verifying,
        /// On its way to the thread that is home of its user; bytes wait.
        Moving,
        /// Welcomed; every frame but `Hello` is allowed.
        Open,
        /// `Reconnect` was sent; the client is served until it leaves or time is up.
        Draining,
        /// A close frame was sent or is about to be; frames of the client are dropped.
        Closing,
        /// The socket is gone.
        Closed,
    }
    /// What happens to a connection.
    events ConnectionEvent {
        /// A well-formed `Hello` came.
        HelloReceived,
        /// The token was accepted.
        TokenAccepted,
        /// The home thread has installed the connection and welcomes it.
        Installed,
        /// `Reconnect` was sent.
        ReconnectSent,
        /// This side ends the connection: a refusal, a violation, a timeout, a take-over.
        CloseStarted,
        /// The socket ended.
        TransportEnded,
    }
    HelloReceived(AwaitingHello => Verifying);
    TokenAccepted(Verifying => Moving);
    Installed(Moving => Open);
    ReconnectSent(Open => Draining);
    CloseStarted(AwaitingHello | Verifying | Moving | Open | Draining => Closing);
    TransportEnded(
        AwaitingHello | Verifying | Moving | Open | Draining | Closing => Closed
    );
}

transitions! {
    /// Where a session stands.
    pub states SessionState {
        /// A connection carries it.
        Attached,
        /// Its connection was lost; it can be resumed until the window ends.
        Detached,
        /// It is gone; its holder begins a new one.
        Ended,
    }
    /// What happens to a session.
    events SessionEvent {
        /// Its connection ended without the wish to end the session.
        ConnectionLost,
        /// A connection proved the session; one that carried it before is closed as taken over.
        Resumed,
        /// The resume window passed.
        WindowPassed,
        /// The client said good-bye, or the token was revoked.
        Finished,
    }
    ConnectionLost(Attached => Detached);
    Resumed(Attached | Detached => Attached);
    WindowPassed(Detached => Ended);
    Finished(Attached | Detached => Ended);
}

/// What a `Hello` with a session id leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResumeDecision {
    /// The session goes on; it had no connection.
    Continue,
    /// The session goes on; close the connection that carried it and drop its unread bytes.
    TakeOver,
    /// The session is unknown here, ended or somebody else's. A new one begins, and the client's
    /// positions are authorised like a new client's.
    Fresh,
}

/// Decides what becomes of a session that a client names. `found` is the session's user and
/// state, when this node knows it.
///
/// A wrong user gets the same answer as an unknown session, so that ids cannot be probed.
pub fn resume_session(found: Option<(&str, SessionState)>, user: &str) -> ResumeDecision {
    match found {
        Some((owner, SessionState::Detached)) if owner == user => ResumeDecision::Continue,
        Some((owner, SessionState::Attached)) if owner == user => ResumeDecision::TakeOver,
        _ => ResumeDecision::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_not_welcomed_cannot_drain() {
        for state in [ConnectionState::AwaitingHello, ConnectionState::Moving] {
            let mut connection = state;
            assert!(connection.apply(ConnectionEvent::ReconnectSent).is_err());
            assert_eq!(connection, state);
        }
    }

    #[test]
    fn a_second_hello_is_illegal_in_every_later_state() {
        for state in &ConnectionState::ALL[1..] {
            assert_eq!(
                state.after(ConnectionEvent::HelloReceived),
                None,
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_session_is_resumed_by_its_own_user_only() {
        use ResumeDecision::{Continue, Fresh, TakeOver};
        use SessionState::{Attached, Detached, Ended};
        assert_eq!(resume_session(Some(("ada", Detached)), "ada"), Continue);
        assert_eq!(resume_session(Some(("ada", Attached)), "ada"), TakeOver);
        assert_eq!(resume_session(Some(("ada", Ended)), "ada"), Fresh);
        assert_eq!(resume_session(Some(("ada", Detached)), "eve"), Fresh);
        assert_eq!(resume_session(None, "ada"), Fresh);
    }
}
