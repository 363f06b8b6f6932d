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

use super::algorithm::Algorithm;
use super::error::AuthError;
use super::limits::{KID_BYTES_MAX, TOKEN_ID_BYTES_MAX};
use super::revocations::token_id_hash;
use super::verifier::TokenMark;

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

    /// The header: an allowed algorithm and the name of a key.
    ///
    /// `alg` is compared as text with the allow-list, so "none", other cases of it and
    /// algorithms that no key has never reach the cryptography. `jwk`, `jku`, `x5c` and `x5u`,
    /// by which a token would bring its own key, are not even read.
    pub(super) fn header(&self) -> Result<Header, AuthError> {
        #[derive(Deserialize)]
        struct RawHeader {
            alg: String,
            kid: Option<String>,
            crit: Option<IgnoredAny>,
        }
        let raw: RawHeader = object(self.header, AuthError::Malformed)?;
        // RFC 7515 section 4.1.11: extensions named in "crit" must be understood.
        if raw.crit.is_some() {
            return Err(AuthError::Algorithm);
        }
        let algorithm = Algorithm::from_name(&raw.alg).ok_or(AuthError::Algorithm)?;
        if raw
            .kid
            .as_ref()
            .is_some_and(|kid| kid.len() > KID_BYTES_MAX)
        {
            return Err(AuthError::Malformed);
        }
        Ok(Header {
            algorithm,
            kid: raw.kid,
        })
    }

    /// The claims. To be called only after the signature was checked.
    pub(super) fn claims(&self) -> Result<RawClaims, AuthError> {
        object(self.payload, AuthError::Claim("of the payload"))
    }
}

/// What a token's header asks for.
pub(super) struct Header {
    /// The algorithm, from the allow-list.
    pub(super) algorithm: Algorithm,
    /// The name of the key: compared with the names of known keys and used for nothing else.
    pub(super) kid: Option<String>,
}

/// Decodes one part, which has to be a JSON object (RFC 7519 section 7.2); a repeated member
/// is an error, and so is an array, which the parser would take for a structure.
fn object<T: for<'de> Deserialize<'de>>(part: &str, wrong: AuthError) -> Result<T, AuthError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Malformed)?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong);
    }
    serde_json::from_slice(&bytes).map_err(|_| wrong)
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
    pub(super) iat: Option<NumericDate>,
    pub(super) jti: Option<String>,
}

impl RawClaims {
    /// What revocations are decided from.
    pub(super) fn mark(&self) -> Result<TokenMark, AuthError> {
        let id = match self.jti.as_deref() {
            None => 0,
            Some(id) if id.is_empty() || id.len() > TOKEN_ID_BYTES_MAX => {
                return Err(AuthError::Claim("jti"));
            }
            Some(id) => token_id_hash(id),
        };
        let issued = self.iat.or(self.nbf).map_or(0, |date| date.0);
        Ok(TokenMark {
            id,
            issued_at_s: issued.min(u64::from(u32::MAX)) as u32,
        })
    }

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
