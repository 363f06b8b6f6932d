//! What an answer of the server API means for who wants something published. Pure.

use std::time::Duration;

use serde::Deserialize;

/// What follows from an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is published, now or by an earlier call.
    Published,
    /// It is to be tried again, not before this time is over.
    Again {
        /// The earliest useful retry.
        after: Duration,
        /// Why.
        cause: String,
    },
    /// It is refused for good.
    Refused {
        /// Name of the code in the error catalogue.
        code: String,
        /// What is wrong and what to do.
        cause: String,
    },
}

/// The body of a refusal; see `edge/api/openapi.json`.
#[derive(Debug, Deserialize)]
struct Failure {
    code: String,
    message: String,
    detail: Option<String>,
    cure: String,
    temporary: bool,
    retry_after_ms: u32,
}

/// Judges an answer. Only a refusal that the server API has written is one for good: whatever else
/// stands at the address must not make events dead.
pub fn judge(status: u16, body: &[u8]) -> Verdict {
    if status == 200 {
        return Verdict::Published;
    }
    let Ok(failure) = serde_json::from_slice::<Failure>(body) else {
        return Verdict::Again {
            after: Duration::ZERO,
            cause: format!("status {status} and no answer of the server API; check edge.api"),
        };
    };
    let detail = failure.detail.unwrap_or_default();
    let cause = format!("{} {detail} {}", failure.message, failure.cure);
    // A token that is refused says nothing about the event.
    let is_about_the_caller = status == 401;
    if failure.temporary || is_about_the_caller || status >= 500 {
        return Verdict::Again {
            after: Duration::from_millis(u64::from(failure.retry_after_ms)),
            cause: format!("{}: {cause}", failure.code),
        };
    }
    Verdict::Refused {
        code: failure.code,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str, temporary: bool, retry_after_ms: u32) -> Vec<u8> {
        let body = serde_json::json!({
            "code": code, "number": 1, "message": "m", "detail": null, "cure": "c",
            "temporary": temporary, "retry_after_ms": retry_after_ms,
        });
        body.to_string().into_bytes()
    }

    #[test]
    fn what_passes_is_tried_again_and_what_stays_is_refused() {
        assert_eq!(judge(200, b"{}"), Verdict::Published);
        let Verdict::Again { after, .. } = judge(429, &failure("overloaded", true, 40)) else {
            panic!("refused");
        };
        assert_eq!(after, Duration::from_millis(40));
        let refused = judge(403, &failure("not_permitted", false, 0));
        assert!(matches!(refused, Verdict::Refused { code, .. } if code == "not_permitted"));
        let refused = judge(409, &failure("outcome_unknown", false, 0));
        assert!(matches!(refused, Verdict::Refused { .. }));
    }

    #[test]
    fn a_refused_token_or_a_foreign_server_makes_no_event_dead() {
        for (status, body) in [
            (401, failure("token_expired", false, 0)),
            (500, failure("internal", false, 0)),
            (404, b"<html>".to_vec()),
            (400, Vec::new()),
            (301, b"{\"code\":\"x\"}".to_vec()),
        ] {
            let verdict = judge(status, &body);
            assert!(matches!(verdict, Verdict::Again { .. }), "{verdict:?}");
        }
    }
}
