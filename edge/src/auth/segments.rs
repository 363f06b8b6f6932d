//! The parts of a JWT (RFC 7519 section 7.2, RFC 7515 section 5.2) and its claims.
//!
//! Invariant: `Segments::split` allocates nothing and looks at no claim.
//! Runs on: any thread.

use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use interlink_protocol::claims::{Claims, ClaimsError};
use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::AuthError;

/// A token taken apart.
pub(super) struct Segments<'a> {
    /// Header and payload with the dot between: what was signed.
    pub(super) signed: &'a str,
    /// The header, in base64url.
    pub(super) header: &'a str,
    /// The payload, in base64url.
    pub(super) payload: &'a str,
    /// The signature, in base64url.
    pub(super) signature: &'a str,
}

impl<'a> Segments<'a> {
    /// Takes a token apart at its two dots.
    pub(super) fn split(token: &'a str) -> Result<Self, AuthError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        if payload.contains('.') || header.is_empty() || payload.is_empty() {
            return Err(AuthError::Malformed);
        }
        Ok(Self {
            signed,
            header,
            payload,
            signature,
        })
    }

    /// Checks that the header asks for HS256 and for nothing that we do not know.
    ///
    /// "alg" is compared as text with an allow-list of one, so "none", other cases of it
    /// and algorithms with public keys never reach the cryptography.
    pub(super) fn check_header(&self) -> Result<(), AuthError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            crit: Option<IgnoredAny>,
        }
        let header: Header = decode(self.header)?;
        // RFC 7515 section 4.1.11: extensions named in "crit" must be understood.
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(AuthError::Algorithm);
        }
        Ok(())
    }

    /// The claims. To be called only after the signature was checked.
    pub(super) fn claims(&self) -> Result<RawClaims, AuthError> {
        decode(self.payload)
    }
}

/// Decodes one JSON part; a repeated field is an error.
fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, AuthError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| AuthError::Claim("of the payload"))
}

/// The claims as they stand in the token.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawClaims {
    pub(super) sub: Option<String>,
    pub(super) inst: Option<String>,
    pub(super) dept: Vec<String>,
    pub(super) class: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) channel: Option<String>,
    pub(super) exp: Option<NumericDate>,
    pub(super) nbf: Option<NumericDate>,
    pub(super) iss: Option<String>,
    pub(super) aud: Option<Audience>,
}

impl RawClaims {
    /// The identity that the claims describe; its names become parts of channel names,
    /// so they have to follow their rules.
    pub(super) fn into_claims(self, expires_at_s: u64) -> Result<Claims, AuthError> {
        let claims = Claims {
            user: self.sub.ok_or(AuthError::Claim("sub"))?,
            institution: self.inst.unwrap_or_default(),
            departments: self.dept,
            classes: self.class,
            roles: self.roles,
            expires_at_s,
        };
        claims.check().map_err(|error| match error {
            ClaimsError::Name(claim) | ClaimsError::TooMany(claim) => AuthError::Claim(claim),
        })?;
        Ok(claims)
    }
}

/// Seconds since 1970 (RFC 7519 section 2): a JSON number, never text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NumericDate(pub(super) u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate(seconds))
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // 2^53 is the last whole number that every reader of JSON keeps.
                if (0.0..=9_007_199_254_740_992.0).contains(&seconds) {
                    return Ok(NumericDate(seconds as u64));
                }
                Err(E::custom("out of range"))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// `aud`: one text or a list (RFC 7519 section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(super) fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}
