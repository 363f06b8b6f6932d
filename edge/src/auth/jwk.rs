//! Keys as JSON (RFC 7517): one key or a set, from a file or from an issuer's URL.
//!
//! Invariants: the algorithm follows from type and curve, and a named `alg` has to agree; keys
//! for encryption are left out; a set from a URL never brings a shared secret, since whoever
//! may read the set could sign with it.
//! Runs on: the main thread and the control thread.

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, ECDSA_P256_SHA256_FIXED_SIGNING};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde::Deserialize;

use super::algorithm::Algorithm;
use super::key::Key;
use super::limits::{KEYS_PER_SET_MAX, KID_BYTES_MAX};
use super::pem;

/// The members that are looked at; others are allowed and mean nothing here (RFC 7517
/// section 4), above all those that name addresses, such as `x5u`.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// The keys of a file with a JWK or a JWK set; every key of it has to be usable.
pub(super) fn keys_of_file(text: &str) -> Result<Vec<Key>, &'static str> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "it is not valid JSON")?;
    if value.get("keys").is_none() {
        return Ok(vec![key_of(value)?]);
    }
    let keys: Vec<Key> = values_of(value)?
        .into_iter()
        .map(key_of)
        .collect::<Result<_, _>>()?;
    match keys.is_empty() {
        true => Err("its set of keys is empty"),
        false => Ok(keys),
    }
}

/// The keys of an issuer's set that this node can use: it may hold others for other services.
///
/// # Errors
/// What is wrong with the set as a whole.
pub(super) fn keys_of_issuer(bytes: &[u8]) -> Result<Vec<Key>, &'static str> {
    let value = serde_json::from_slice(bytes).map_err(|_| "it is not valid JSON")?;
    let usable = |value| key_of(value).ok().filter(is_public);
    let keys: Vec<Key> = values_of(value)?.into_iter().filter_map(usable).collect();
    match keys.is_empty() {
        true => Err("it holds no key for EdDSA, ES256 or RS256"),
        false => Ok(keys),
    }
}

fn is_public(key: &Key) -> bool {
    !key.algorithm().is_symmetric()
}

fn values_of(value: serde_json::Value) -> Result<Vec<serde_json::Value>, &'static str> {
    let set: Set = serde_json::from_value(value).map_err(|_| "its member keys is no list")?;
    if set.keys.len() > KEYS_PER_SET_MAX {
        return Err("its set has more than 16 keys");
    }
    Ok(set.keys)
}

fn key_of(value: serde_json::Value) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "a JWK has a wrong member")?;
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
        return Err("a JWK is not for signatures");
    }
    let kid = jwk.kid.as_deref();
    if kid.is_some_and(|kid| kid.is_empty() || kid.len() > KID_BYTES_MAX) {
        return Err("a JWK has a kid that is empty or longer than 128 bytes");
    }
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", None) => Key::of_secret(&bytes_of(jwk.k.as_deref())?)?,
        ("OKP", Some("Ed25519")) => ed25519(&jwk)?,
        ("EC", Some("P-256")) => p256(&jwk)?,
        ("RSA", None) => {
            let (modulus, exponent) = (bytes_of(jwk.n.as_deref())?, bytes_of(jwk.e.as_deref())?);
            pem::rsa(&modulus, &exponent, None)?
        }
        _ => return Err("a JWK is of no type or curve for HS256, EdDSA, ES256 or RS256"),
    };
    let named = jwk.alg.as_deref().map(Algorithm::from_name);
    if named.is_some_and(|named| named != Some(key.algorithm())) {
        return Err("a JWK names an alg that its type does not have");
    }
    Ok(key.named(jwk.kid.map(String::into_boxed_str)))
}

fn ed25519(jwk: &Jwk) -> Result<Key, &'static str> {
    let point = bytes_of(jwk.x.as_deref())?;
    if point.len() != 32 {
        return Err("a JWK of Ed25519 needs an x of 32 bytes");
    }
    if jwk.d.is_none() {
        return Ok(pem::ed25519(&point, None));
    }
    let seed = bytes_of(jwk.d.as_deref())?;
    let pkcs8 = Ed25519KeyPair::from_seed_and_public_key(&seed, &point)
        .ok()
        .and_then(|pair| pair.to_pkcs8v1().ok())
        .ok_or("the x and d of a JWK do not belong together")?;
    Ok(pem::ed25519(&point, Some(pkcs8.as_ref())))
}

fn p256(jwk: &Jwk) -> Result<Key, &'static str> {
    let (x, y) = (bytes_of(jwk.x.as_deref())?, bytes_of(jwk.y.as_deref())?);
    if x.len() != 32 || y.len() != 32 {
        return Err("a JWK of P-256 needs x and y of 32 bytes each");
    }
    // An uncompressed point (SEC 1 section 2.3.3).
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    if jwk.d.is_none() {
        return Ok(pem::p256(&point, None));
    }
    let scalar = bytes_of(jwk.d.as_deref())?;
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, &point)
        .ok()
        .and_then(|pair| pair.to_pkcs8v1().ok())
        .ok_or("the x, y and d of a JWK do not belong together")?;
    Ok(pem::p256(&point, Some(pkcs8.as_ref())))
}

fn bytes_of(member: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = member.ok_or("a JWK lacks a member that its type needs")?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a member of a JWK is not base64url")
}
