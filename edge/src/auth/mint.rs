//! Issues tokens, for the `token` command and the first start.
//!
//! Runs on: the main thread of a command.

use jsonwebtoken::{encode, Header};
use serde::Serialize;

use super::key::Key;

/// What a user token says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UserGrant {
    /// The user.
    #[serde(rename = "sub")]
    pub user: String,
    /// The institution of the user.
    #[serde(rename = "inst", skip_serializing_if = "Option::is_none")]
    pub institution: Option<String>,
    /// Departments of the user.
    #[serde(rename = "dept", skip_serializing_if = "Vec::is_empty")]
    pub departments: Vec<String>,
    /// Classes of the user.
    #[serde(rename = "class", skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Roles of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Issuer.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Audience.
    #[serde(rename = "aud")]
    pub audience: String,
    /// Identity of the token, by which it can be revoked.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the token was issued, in seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at_s: u64,
    /// When the token starts to be valid, in seconds since 1970.
    #[serde(rename = "nbf")]
    pub not_before_s: u64,
    /// When the token ends, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at_s: u64,
}

/// What a subscription token says.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionGrant {
    /// The user who may subscribe.
    #[serde(rename = "sub")]
    pub user: String,
    /// The channel.
    pub channel: String,
    /// When the token ends, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at_s: u64,
}

/// Signs a user token.
///
/// # Errors
/// [`MintError`].
pub fn mint_user(key: &Key, grant: &UserGrant) -> Result<String, MintError> {
    sign(key, grant)
}

/// Signs a subscription token.
///
/// # Errors
/// [`MintError`].
pub fn mint_subscription(key: &Key, grant: &SubscriptionGrant) -> Result<String, MintError> {
    sign(key, grant)
}

/// The private part of the key is not known, or the cryptography refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot sign; name a file with a private key or a secret")]
pub struct MintError;

fn sign(key: &Key, grant: &impl Serialize) -> Result<String, MintError> {
    let header = Header {
        kid: key.kid().map(str::to_owned),
        ..Header::new(key.algorithm().of_library())
    };
    let signing = key.signing().ok_or(MintError)?;
    encode(&header, grant, signing).map_err(|_| MintError)
}
