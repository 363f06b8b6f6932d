//! Signing keys of the bench (Ed25519), as a server is told them: a JWK set (RFC 7517, RFC 8037).
//!
//! Runs on: the main thread, before the traffic.

use super::token::Signer;
use anyhow::{ensure, Context, Result};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{json, Value};

/// Bytes of a public key.
const PUBLIC_BYTES: usize = 32;

/// A key pair with a name.
pub struct SigningKey {
    kid: String,
    /// PKCS#8.
    private: Vec<u8>,
    public: Vec<u8>,
}

impl SigningKey {
    /// A fresh key, which tokens name as `kid`.
    pub fn make(kid: &str) -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).context("making a signing key")?;
        let public = pair.public_key_raw().to_vec();
        ensure!(
            public.len() == PUBLIC_BYTES,
            "a public key of Ed25519 has {PUBLIC_BYTES} bytes, this one {}",
            public.len()
        );
        Ok(Self {
            kid: kid.to_owned(),
            private: pair.serialize_der(),
            public,
        })
    }

    /// Signs tokens of `issuer`.
    pub fn signer(&self, issuer: &str) -> Result<Signer> {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        Signer::new(EncodingKey::from_ed_der(&self.private), header, issuer)
    }

    /// The public key.
    fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(&self.public),
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        })
    }
}

/// The public keys as a JWK set.
pub fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::token::Grants;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{decode, decode_header, DecodingKey, Validation};

    #[test]
    fn a_token_verifies_with_the_key_of_its_name_in_the_set_and_with_no_other() {
        let keys = ["first", "second"].map(|kid| SigningKey::make(kid).unwrap());
        let set: JwkSet = serde_json::from_str(&key_set(&[&keys[0], &keys[1]])).unwrap();
        let signer = keys[1].signer("https://login.example.com").unwrap();
        let token = signer
            .user_until("ada", &Grants::member(&[]), 4_000_000_000)
            .unwrap();
        let kid = decode_header(&token).unwrap().kid.unwrap();
        assert_eq!(kid, "second");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["interlink"]);
        validation.set_issuer(&["https://login.example.com"]);
        let check = |kid| {
            let key = DecodingKey::from_jwk(set.find(kid).unwrap()).unwrap();
            decode::<Value>(&token, &key, &validation)
        };
        assert_eq!(check("second").unwrap().claims["exp"], 4_000_000_000_u64);
        assert!(check("first").is_err());
    }
}
