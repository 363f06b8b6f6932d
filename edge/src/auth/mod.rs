//! Tokens: who connects, and which channels a subscription token grants.
//!
//! HS256 only, from an allow-list of one; `exp`, `nbf`, `aud` and `iss` are checked
//! strictly. Time is an argument, so that a shard reads its clock once a turn.
//!
//! Invariants: no claim is looked at before the signature has been checked; no secret
//! and no token appears in an error or a log line.
//! Limits: `limits.rs`. Runs on: any thread; a [`Verifier`] is shared by all shards.

mod error;
mod key;
pub mod limits;
mod mint;
mod segments;
#[cfg(test)]
mod tests;
mod verifier;

pub use error::{AuthError, KeyError};
pub use key::Key;
pub use mint::{mint_subscription, mint_user, SubscriptionGrant, UserGrant};
pub use verifier::Verifier;
