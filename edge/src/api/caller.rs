//! Who calls: a token with the role `service`, checked as those of clients are.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use axum::http::{header, HeaderMap};
use interlink_protocol::claims::{ClaimsView, PackedClaims, ROLE_SERVICE};
use interlink_protocol::ErrorCode;

use super::failure::Refused;
use crate::auth::{Published, Revocations, Verifier};
use crate::server::unix_seconds;

/// What tokens of services are checked with.
#[derive(Clone, Debug)]
pub struct Callers {
    /// Keys.
    pub verifier: Arc<Published<Verifier>>,
    /// Tokens and users that are refused.
    pub revocations: Arc<Published<Revocations>>,
}

impl Callers {
    /// The service that makes a request.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Arc<PackedClaims>, Refused> {
        let given = headers.get(header::AUTHORIZATION);
        let token = given
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .ok_or_else(|| {
                let wanted = "send the header Authorization: Bearer, a blank and the token";
                Refused::because(ErrorCode::TokenInvalid, wanted)
            })?;
        let checked = self.verifier.reader().user(token.1.trim(), unix_seconds());
        let token = checked.map_err(|error| Refused::because(error.user_code(), error))?;
        let (user, institution) = (token.claims.user(), token.claims.institution());
        if self
            .revocations
            .reader()
            .cover(user, institution, token.mark)
        {
            return Err(Refused::of(ErrorCode::TokenRevoked));
        }
        if !token.claims.has_role(ROLE_SERVICE) {
            let wanted = "the server API is for tokens with the role service";
            return Err(Refused::because(ErrorCode::NotPermitted, wanted));
        }
        PackedClaims::pack(&token.claims)
            .map(Arc::new)
            .map_err(|error| Refused::because(ErrorCode::TokenInvalid, error))
    }
}
