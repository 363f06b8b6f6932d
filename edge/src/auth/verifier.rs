//! Checks tokens.
//!
//! Invariants: the order is length, form, algorithm, signature, claims; each step refuses
//! before the next one looks at more. The key decides which issuer a token has to name, never
//! the token which key is used.
//! Runs on: any thread; one value is shared by all shards behind an `Arc`.

use std::sync::Arc;

use interlink_protocol::claims::Claims;

use super::error::AuthError;
use super::key::Key;
use super::key_set::{Asked, KeySet};
use super::limits::{LEEWAY_S, TOKEN_BYTES_MAX};
use super::segments::{RawClaims, Segments};

/// Checks user and subscription tokens with the keys of one moment.
#[derive(Debug)]
pub struct Verifier {
    sets: Vec<KeySet>,
    audience: String,
    asked: Arc<Asked>,
}

/// A user token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// What it says about its user.
    pub claims: Claims,
    /// What revocations are decided from.
    pub mark: TokenMark,
}

/// What is kept of a token so that it can be revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenMark {
    /// Hash of `jti`; 0 when the token has none.
    pub id: u64,
    /// `iat`, else `nbf`, else 0, in seconds since 1970.
    pub issued_at_s: u32,
}

impl Verifier {
    /// A verifier of tokens for `audience`. Unknown `kid` values are told to `asked`.
    pub fn new(sets: Vec<KeySet>, audience: &str, asked: Arc<Asked>) -> Self {
        Self {
            sets,
            audience: audience.to_owned(),
            asked,
        }
    }

    /// A verifier of one issuer whose keys are all known.
    pub fn of_keys(keys: Vec<Key>, issuer: &str, audience: &str) -> Self {
        let sets = vec![KeySet::local(issuer, keys)];
        Self::new(sets, audience, Arc::default())
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.sets.iter().map(|set| set.keys.len()).sum()
    }

    /// Checks a user token at `now_s`, seconds since 1970. Revocations are looked up by
    /// who holds the list.
    ///
    /// # Errors
    /// [`AuthError`]; its [`user_code`](AuthError::user_code) is the client's answer.
    pub fn user(&self, token: &str, now_s: u64) -> Result<UserToken, AuthError> {
        let (claims, issuer) = self.signed_claims(token)?;
        // A subscription token proves a grant and not that its holder is the user.
        if claims.channel.is_some() {
            return Err(AuthError::Claim("channel"));
        }
        match &claims.iss {
            None => return Err(AuthError::Claim("iss")),
            Some(named) if **named != *issuer => return Err(AuthError::Issuer),
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
        let mark = claims.mark()?;
        let claims = claims.into_claims(expires_at_s)?;
        Ok(UserToken { claims, mark })
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
        let (claims, issuer) = self.signed_claims(token)?;
        if claims.iss.as_ref().is_some_and(|named| **named != *issuer) {
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

    /// The claims of a token whose form, algorithm and signature are right, and the issuer
    /// whose key has signed it.
    fn signed_claims(&self, token: &str) -> Result<(RawClaims, &str), AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let segments = Segments::split(token)?;
        let header = segments.header()?;
        let (algorithm, kid) = (header.algorithm, header.kid.as_deref());
        let has_signed = |set: &&KeySet| {
            let (signed, signature) = (segments.signed, segments.signature);
            set.signer(algorithm, kid, signed, signature).is_some()
        };
        if let Some(set) = self.sets.iter().find(has_signed) {
            return Ok((segments.claims()?, &set.issuer));
        }
        if !self.sets.iter().any(|set| set.may_bring(algorithm, kid)) {
            return Err(AuthError::Signature);
        }
        if let Some(kid) = kid {
            self.asked.push(kid);
        }
        Err(AuthError::KeyUnknown)
    }
}

/// Checks `exp`, which is required, and `nbf`; returns `exp`.
fn check_times(claims: &RawClaims, now_s: u64) -> Result<u64, AuthError> {
    let expires_at_s = claims.exp.ok_or(AuthError::Claim("exp"))?.0;
    // RFC 7519 section 4.1.4: "on or after" the expiry the token is not accepted.
    if now_s >= expires_at_s {
        return Err(AuthError::Expired);
    }
    let not_before_s = claims.nbf.map_or(0, |date| date.0);
    if now_s.saturating_add(LEEWAY_S) < not_before_s {
        return Err(AuthError::NotYetValid);
    }
    Ok(expires_at_s)
}
