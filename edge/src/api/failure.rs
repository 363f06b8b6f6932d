//! Refusals as HTTP answers.
//!
//! Runs on: the control thread.

use axum::http::{header, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use serde::Serialize;

use super::bodies::Failure;

/// A request that is refused as a whole.
#[derive(Debug)]
pub struct Refused {
    refusal: Refusal,
    detail: Option<String>,
}

impl Refused {
    /// Refused with a code of the catalogue.
    pub fn of(code: ErrorCode) -> Self {
        Refusal::of(code).into()
    }

    /// As [`Refused::of`], and what exactly is wrong.
    pub fn because(code: ErrorCode, detail: impl ToString) -> Self {
        Self {
            refusal: Refusal::of(code),
            detail: Some(detail.to_string()),
        }
    }

    /// A request whose form is wrong.
    pub fn invalid(detail: impl ToString) -> Self {
        Self::because(ErrorCode::InvalidRequest, detail)
    }

    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.refusal.code
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            detail: None,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = self.refusal.code;
        let status = status_of(code);
        let retry_after_s = self.refusal.retry_after_ms.div_ceil(1_000);
        let mut response = json(status, &Failure::of(self.refusal, self.detail));
        let headers = response.headers_mut();
        if retry_after_s > 0 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        // For who counts.
        response.extensions_mut().insert(code);
        response
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    // The bodies are plain structs, which always serialise.
    let text = serde_json::to_vec(body).unwrap_or_default();
    (status, content_type, text).into_response()
}

/// The HTTP status (RFC 9110 section 15, RFC 6585 section 4) that fits a code.
pub fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::TokenInvalid
        | ErrorCode::TokenExpired
        | ErrorCode::TokenNotYetValid
        | ErrorCode::TokenWrongAudience
        | ErrorCode::TokenRevoked => StatusCode::UNAUTHORIZED,
        ErrorCode::NotPermitted | ErrorCode::SubscriptionTokenRequired => StatusCode::FORBIDDEN,
        ErrorCode::NotSupported => StatusCode::NOT_FOUND,
        ErrorCode::IdempotencyConflict | ErrorCode::OutcomeUnknown => StatusCode::CONFLICT,
        ErrorCode::PublishExpired => StatusCode::GONE,
        ErrorCode::FrameTooLarge | ErrorCode::TooManyItems | ErrorCode::PayloadTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        ErrorCode::Overloaded | ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        code if code.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}
