//! What services did to users, in the log: one line for each request.
//!
//! Runs on: the control thread.

use interlink_protocol::claims::{ClaimsView, PackedClaims};
use interlink_protocol::ErrorCode;
use tracing::info;

/// Whom and what a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The user.
    pub user: Option<&'a str>,
    /// The channel.
    pub channel: Option<&'a str>,
    /// The close code.
    pub close_code: Option<u16>,
    /// The token.
    pub token_id: Option<&'a str>,
    /// The second before which tokens are refused.
    pub issued_before_s: Option<u32>,
}

/// Says who did what, and how often it took effect or why it was refused.
pub fn note(
    operation: &'static str,
    caller: &PackedClaims,
    subject: Subject<'_>,
    outcome: Result<u32, ErrorCode>,
) {
    info!(
        operation,
        service = caller.user(),
        institution = caller.institution(),
        user = subject.user,
        channel = subject.channel,
        close_code = subject.close_code,
        token_id = subject.token_id,
        issued_before_s = subject.issued_before_s,
        done = outcome.ok(),
        refused = outcome.err().map(ErrorCode::name),
        "audit: a service used the server API"
    );
}
