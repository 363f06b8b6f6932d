//! Issues tokens, for the `token` command and the first start.
//!
//! Runs on: the main thread of a command.

use jsonwebtoken::{encode, EncodingKey, Header};
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
pub fn mint_user(key: &Key, grant: &UserGrant) -> String {
    sign(key, grant)
}

/// Signs a subscription token.
pub fn mint_subscription(key: &Key, grant: &SubscriptionGrant) -> String {
    sign(key, grant)
}

fn sign(key: &Key, grant: &impl Serialize) -> String {
    // The grants hold only text, numbers and lists of text, which always become JSON,
    // and HMAC takes keys of every length.
    encode(
        &Header::default(),
        grant,
        &EncodingKey::from_secret(key.secret()),
    )
    .expect("a grant of text and numbers can be signed")
}
