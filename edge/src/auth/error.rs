//! Why a token or a key was refused.
//!
//! Runs on: any thread.

use interlink_protocol::ErrorCode;

use super::limits;

/// Why a token was refused. `Copy` and without text from the token, so that a flood of
/// wrong tokens costs no memory and nothing of them reaches a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not three base64url parts, or longer than allowed.
    #[error("the token is not a JWT; send the token exactly as the issuer gave it")]
    Malformed,
    /// The header names an algorithm outside of the allow-list, or has `crit`.
    #[error("the token's algorithm is not allowed; sign it with HS256, EdDSA, ES256 or RS256")]
    Algorithm,
    /// No key of this node made the signature.
    #[error("the token's signature is wrong; sign it with a key that this node knows")]
    Signature,
    /// The key that the token names may be in a key set that has not been fetched yet.
    #[error("the key of the token is not known yet; try again after the next fetch of its set")]
    KeyUnknown,
    /// A claim is missing, or is not of the kind that it has to be.
    #[error("claim {0} is missing or has a wrong form; issue the token with it")]
    Claim(&'static str),
    /// At or past `exp`.
    #[error("the token has expired; obtain a fresh one")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet; check the clocks of issuer and node")]
    NotYetValid,
    /// `iss` is not the issuer that the key belongs to.
    #[error("the token comes from another issuer; compare its iss with auth.issuer and auth.jwks")]
    Issuer,
    /// `aud` does not contain this node's audience.
    #[error("the token is for another audience; compare its aud with auth.audience")]
    Audience,
    /// The token or its user stands in the revocation list.
    #[error("the token was revoked; sign in again")]
    Revoked,
    /// A subscription token for another user or channel.
    #[error("the subscription token grants another user or channel; ask for one that fits")]
    OtherGrant,
}

impl AuthError {
    /// The code that a client receives when its user token was refused.
    pub const fn user_code(self) -> ErrorCode {
        match self {
            Self::Expired => ErrorCode::TokenExpired,
            Self::NotYetValid => ErrorCode::TokenNotYetValid,
            Self::Issuer | Self::Audience => ErrorCode::TokenWrongAudience,
            Self::Revoked => ErrorCode::TokenRevoked,
            Self::KeyUnknown => ErrorCode::AuthenticationUnavailable,
            Self::Malformed
            | Self::Algorithm
            | Self::Signature
            | Self::Claim(_)
            | Self::OtherGrant => ErrorCode::TokenInvalid,
        }
    }

    /// The code that a client receives when its subscription token was refused.
    pub const fn subscription_code(self) -> ErrorCode {
        match self {
            Self::KeyUnknown => ErrorCode::AuthenticationUnavailable,
            _ => ErrorCode::SubscriptionTokenInvalid,
        }
    }
}

/// Why a key or a list could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {action} {path}: {source}; check the path and its permissions")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// Path of the file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file does not hold a key.
    #[error(
        "key file {path} does not hold a key: {reason}; write a PEM key (such as: openssl genpkey \
         -algorithm ed25519 -out {path}), a JWK or JWK set, or one line of base64 of 32 or more \
         random bytes (head -c 32 /dev/urandom | base64 > {path})"
    )]
    Content {
        /// Path of the file.
        path: String,
        /// What is wrong, without the content.
        reason: &'static str,
    },
    /// More key files than allowed.
    #[error(
        "auth.key_files lists {0} files, at most {most} are used; remove keys that are rotated out",
        most = limits::KEY_FILES_MAX
    )]
    TooMany(usize),
    /// No key of the file can sign.
    #[error(
        "key file {0} holds no key that signs; name a PEM file with a private key, a secret or a \
         private JWK with --key"
    )]
    CannotSign(String),
    /// The revocation list has a wrong line.
    #[error(
        "line {line} of revocation file {path} is wrong; write \"token ID\" or \"user NAME \
         SECONDS\", each with an institution after it or none, at most {most} lines, and # before \
         a remark",
        most = limits::REVOCATIONS_MAX
    )]
    Revocation {
        /// Path of the file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}; check /dev/urandom")]
    Random(String),
}
