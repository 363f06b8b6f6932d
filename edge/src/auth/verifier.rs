//! Checks tokens.
//!
//! Invariant: the order is length, form, algorithm, signature, claims; each step
//! refuses before the next one looks at more.
//! Runs on: any thread; one value is shared by all shards behind an `Arc`.

use interlink_protocol::claims::Claims;
use jsonwebtoken::{crypto, Algorithm, DecodingKey};

use super::error::{AuthError, KeyError};
use super::key::Key;
use super::limits::{KEYS_MAX, LEEWAY_S, TOKEN_BYTES_MAX};
use super::segments::{RawClaims, Segments};

/// Checks user and subscription tokens with a fixed set of keys.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<DecodingKey>,
    issuer: String,
    audience: String,
}

impl Verifier {
    /// A verifier that accepts signatures of any of `keys`.
    ///
    /// # Errors
    /// [`KeyError::TooMany`].
    pub fn new(keys: &[Key], issuer: &str, audience: &str) -> Result<Self, KeyError> {
        if keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany(keys.len()));
        }
        Ok(Self {
            keys: keys
                .iter()
                .map(|key| DecodingKey::from_secret(key.secret()))
                .collect(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// Checks a user token at `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// [`AuthError`]; its [`user_code`](AuthError::user_code) is the client's answer.
    pub fn user(&self, token: &str, now_s: u64) -> Result<Claims, AuthError> {
        let claims = self.signed_claims(token)?;
        // A subscription token proves a grant and not that its holder is the user.
        if claims.channel.is_some() {
            return Err(AuthError::Claim("channel"));
        }
        match &claims.iss {
            None => return Err(AuthError::Claim("iss")),
            Some(issuer) if *issuer != self.issuer => return Err(AuthError::Issuer),
            Some(_) => {}
        }
        match &claims.aud {
            None => return Err(AuthError::Claim("aud")),
            Some(audience) if !audience.contains(&self.audience) => {
                return Err(AuthError::Audience)
            }
            Some(_) => {}
        }
        let expires_at_s = check_times(&claims, now_s)?;
        claims.into_claims(expires_at_s)
    }

    /// Checks that a subscription token grants `channel` to `user` at `now_s`. Returns
    /// when the grant ends, in seconds since 1970.
    ///
    /// `iss` and `aud` are optional in these tokens, but wrong ones are refused.
    ///
    /// # Errors
    /// [`AuthError`]; its [`subscription_code`](AuthError::subscription_code) is the
    /// client's answer.
    pub fn subscription(
        &self,
        token: &str,
        user: &str,
        channel: &str,
        now_s: u64,
    ) -> Result<u64, AuthError> {
        let claims = self.signed_claims(token)?;
        if claims.iss.as_ref().is_some_and(|iss| *iss != self.issuer) {
            return Err(AuthError::Issuer);
        }
        let is_other = |audience: &super::segments::Audience| !audience.contains(&self.audience);
        if claims.aud.as_ref().is_some_and(is_other) {
            return Err(AuthError::Audience);
        }
        let expires_at_s = check_times(&claims, now_s)?;
        let granted = claims
            .channel
            .as_deref()
            .ok_or(AuthError::Claim("channel"))?;
        if claims.sub.as_deref() != Some(user) || granted != channel {
            return Err(AuthError::OtherGrant);
        }
        Ok(expires_at_s)
    }

    /// The claims of a token whose form, algorithm and signature are right.
    fn signed_claims(&self, token: &str) -> Result<RawClaims, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let segments = Segments::split(token)?;
        segments.check_header()?;
        let is_ours = |key: &DecodingKey| {
            let signed = segments.signed.as_bytes();
            crypto::verify(segments.signature, signed, key, Algorithm::HS256).unwrap_or(false)
        };
        if !self.keys.iter().any(is_ours) {
            return Err(AuthError::Signature);
        }
        segments.claims()
    }
}

/// Checks `exp`, which is required, and `nbf`; returns `exp`.
fn check_times(claims: &RawClaims, now_s: u64) -> Result<u64, AuthError> {
    let expires_at_s = claims.exp.ok_or(AuthError::Claim("exp"))?.0;
    // RFC 7519 section 4.1.4: "on or after" the expiry the token is not accepted.
    if now_s >= expires_at_s.saturating_add(LEEWAY_S) {
        return Err(AuthError::Expired);
    }
    let not_before_s = claims.nbf.map_or(0, |date| date.0);
    if now_s.saturating_add(LEEWAY_S) < not_before_s {
        return Err(AuthError::NotYetValid);
    }
    Ok(expires_at_s)
}
