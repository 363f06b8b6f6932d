//! Tokens: who connects, and which channels a subscription token grants.
//!
//! HS256, EdDSA, ES256 and RS256, each key bound to its own; `exp`, `nbf`, `aud` and `iss`
//! are checked strictly. Time is an argument, so that a shard reads its clock once a turn.
//!
//! Map: `verifier` and `segments` check tokens, `mint` makes them; `key`, `pem`, `jwk` read
//! keys, `key_set` holds those of an issuer, `revocations` what was withdrawn, `own_list` what the
//! server API withdrew; `keeper` keeps all up to date, with `source`, `address` and `fetch` for key
//! sets by URL, and `published` hands them to the shards.
//!
//! Invariants: no claim is looked at before the signature has been checked; no secret
//! and no token appears in an error or a log line; nothing of a token names an address, a
//! path or a key that is then fetched or opened.
//! Limits: `limits.rs`. Runs on: any thread; a [`Verifier`] is shared by all shards.

mod address;
mod algorithm;
mod error;
mod fetch;
mod jwk;
mod keeper;
mod key;
mod key_set;
pub mod limits;
mod mint;
mod own_list;
mod pem;
mod published;
mod revocations;
mod segments;
mod source;
#[cfg(test)]
mod tests;
mod verifier;

pub use address::{Address, KeySource};
pub use algorithm::Algorithm;
pub use error::{AuthError, KeyError};
pub use keeper::{Keeper, KeeperCounts, KeeperPlan, Revoker};
pub use key::Key;
pub use key_set::{Asked, KeySet, Remote};
pub use mint::{mint_subscription, mint_user, MintError, SubscriptionGrant, UserGrant};
pub use own_list::RevokeError;
pub use published::{Published, Reader};
pub use revocations::{Revocation, Revocations, Revoked};
pub use source::SourceTimes;
pub use verifier::{TokenMark, UserToken, Verifier};
