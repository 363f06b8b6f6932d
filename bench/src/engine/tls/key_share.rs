//! X25519 (RFC 7748) with one key for all clients.
//!
//! A client's half of a key exchange is a fresh key and an agreement. The fresh key protects
//! secrets of which the generator has none, and what the server does is the same: it makes its own
//! fresh key, and agrees. With a key for each client the generator used 94 % of its core in
//! `interlink-bench run storm --tls`, with one for all 92 %.
//!
//! Runs on: the generator's thread.

use aws_lc_rs::agreement::{agree, PrivateKey, PublicKey, UnparsedPublicKey, X25519};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved};
use std::sync::OnceLock;

/// The group that clients offer.
pub static SHARED_X25519: SharedX25519 = SharedX25519(OnceLock::new());

/// X25519 with one key, made at its first use.
#[derive(Debug)]
pub struct SharedX25519(OnceLock<Option<Pair>>);

#[derive(Debug)]
struct Pair {
    private: PrivateKey,
    public: PublicKey,
}

impl Pair {
    fn make() -> Option<Self> {
        let private = PrivateKey::generate(&X25519).ok()?;
        let public = private.compute_public_key().ok()?;
        Some(Self { private, public })
    }
}

impl SupportedKxGroup for SharedX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        // The only value is the static one, whose pair lives as long.
        let pair = SHARED_X25519.0.get_or_init(Pair::make);
        let pair = pair.as_ref().ok_or(Error::FailedToGetRandomBytes)?;
        Ok(Box::new(Share(pair)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// The key exchange of one handshake.
struct Share(&'static Pair);

impl ActiveKeyExchange for Share {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        let invalid = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        agree(&self.0.private, peer, invalid, |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        self.0.public.as_ref()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
