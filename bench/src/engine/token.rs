//! Tokens that the bench signs itself: with the server's own HS256 key, or with a key of its own
//! ([`super::signing_key`]) that the server is told.
//!
//! Runs on: the main thread, before the traffic; scenarios whose tokens are replaced sign while
//! they run.

use anyhow::{ensure, Context, Result};
use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tokens of a run outlive it by far.
const LIFETIME_S: u64 = 24 * 3600;
/// Issuer that the server expects of tokens of its key files by default.
pub const ISSUER: &str = "interlink";
/// Audience that the server expects by default.
const AUDIENCE: &str = "interlink";

/// What a user token says beside the user.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Institution.
    pub institution: String,
    /// Classes.
    pub classes: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
}

impl Grants {
    /// A member of institution `1` with the given roles.
    pub fn member(roles: &[&str]) -> Self {
        Self {
            institution: "1".to_owned(),
            classes: Vec::new(),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
        }
    }
}

#[derive(Serialize)]
struct UserClaims<'a> {
    sub: &'a str,
    inst: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    class: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    iss: &'a str,
    aud: &'a str,
    exp: u64,
}

#[derive(Serialize)]
struct SubscriptionClaims<'a> {
    sub: &'a str,
    channel: &'a str,
    exp: u64,
}

/// Signs tokens.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    header: Header,
    issuer: String,
    expires_s: u64,
}

impl Signer {
    /// A signer with the key of a file: base64 of 32 bytes or more, as the server keeps it.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the signing key {}", path.display()))?;
        Self::from_text(&text).with_context(|| format!("the signing key {}", path.display()))
    }

    fn from_text(text: &str) -> Result<Self> {
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
        let text = text.trim();
        let secret = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(text).ok())
            .context("is not base64")?;
        ensure!(
            secret.len() >= 32,
            "has {} bytes, HS256 wants 32 or more",
            secret.len()
        );
        let header = Header::new(Algorithm::HS256);
        Self::new(EncodingKey::from_secret(&secret), header, ISSUER)
    }

    /// A signer of tokens with this header and `iss`.
    pub fn new(key: EncodingKey, header: Header, issuer: &str) -> Result<Self> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("reading the clock")?;
        Ok(Self {
            key,
            header,
            issuer: issuer.to_owned(),
            expires_s: now.as_secs() + LIFETIME_S,
        })
    }

    /// A user token.
    pub fn user(&self, user: &str, grants: &Grants) -> Result<String> {
        self.user_until(user, grants, self.expires_s)
    }

    /// A user token that ends at a second since 1970.
    pub fn user_until(&self, user: &str, grants: &Grants, expires_s: u64) -> Result<String> {
        self.sign(&UserClaims {
            sub: user,
            inst: &grants.institution,
            class: &grants.classes,
            roles: &grants.roles,
            iss: &self.issuer,
            aud: AUDIENCE,
            exp: expires_s,
        })
    }

    /// A token that lets `user` subscribe to `channel`.
    pub fn subscription(&self, user: &str, channel: &str) -> Result<String> {
        self.sign(&SubscriptionClaims {
            sub: user,
            channel,
            exp: self.expires_s,
        })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).context("signing a token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{decode, DecodingKey, Validation};

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

    #[test]
    fn a_token_verifies_with_the_key_and_carries_the_grants() {
        let signer = Signer::from_text(KEY).unwrap();
        let mut grants = Grants::member(&["staff"]);
        grants.classes.push("7".to_owned());
        let token = signer.user("ada", &grants).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        let key = DecodingKey::from_secret(&secret);
        let claims = decode::<serde_json::Value>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "ada");
        assert_eq!(claims["class"][0], "7");
        assert_eq!(claims["roles"][0], "staff");
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Signer::from_text("AAEC").is_err());
        assert!(Signer::from_text("not base64!").is_err());
    }
}
