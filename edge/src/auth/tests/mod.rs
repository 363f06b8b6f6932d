//! Rules of tokens and keys, with keys that are made for each test.

mod attacks;
mod claims;
mod keys;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, ECDSA_P256_SHA256_FIXED_SIGNING,
};
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine;
use jsonwebtoken::{encode, EncodingKey, Header};
use serde_json::{json, Value};

use super::*;

const NOW: u64 = 1_700_000_000;

fn secret(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn hs256(byte: u8) -> Key {
    Key::of_secret(&secret(byte)).expect("32 bytes are a secret")
}

fn verifier() -> Verifier {
    Verifier::of_keys(vec![hs256(1), hs256(2)], "school", "interlink")
}

fn claims() -> Value {
    json!({
        "sub": "ada", "inst": "north", "dept": ["maths"], "class": ["m1", "m2"],
        "roles": ["teacher"], "iss": "school", "aud": "interlink", "exp": NOW + 60,
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("object").remove(key);
    claims
}

fn signed(claims: &Value) -> String {
    signed_with(&Header::default(), claims, 1)
}

fn signed_with(header: &Header, claims: &Value, key: u8) -> String {
    let key = EncodingKey::from_secret(&secret(key));
    encode(header, claims, &key).expect("claims can be signed")
}

/// A token of `key` with its own header.
fn signed_by(key: &Key, claims: &Value) -> String {
    let header = Header {
        kid: key.kid().map(str::to_owned),
        ..Header::new(key.algorithm().of_library())
    };
    let signing = key.signing().expect("a private key");
    encode(&header, claims, signing).expect("claims can be signed")
}

fn refusal(claims: &Value) -> AuthError {
    verifier()
        .user(&signed(claims), NOW)
        .expect_err("the token is refused")
}

fn pem_of(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A private key in PEM and the public one that belongs to it, fresh.
fn pair_of(algorithm: Algorithm) -> (String, String) {
    let random = SystemRandom::new();
    let (private, public) = match algorithm {
        Algorithm::Hs256 => panic!("a secret has no public part"),
        Algorithm::EdDsa => {
            let private = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
            let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).expect("a key");
            let public = pair.public_key().as_der().expect("a public key");
            (private.as_ref().to_vec(), public.as_ref().to_vec())
        }
        Algorithm::Es256 => {
            let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let private = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
            let pair = EcdsaKeyPair::from_pkcs8(kind, private.as_ref()).expect("a key");
            let public = pair.public_key().as_der().expect("a public key");
            (private.as_ref().to_vec(), public.as_ref().to_vec())
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
            let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair);
            let public = pair.public_key().as_der().expect("a public key");
            let private = private.expect("a private key");
            (private.as_ref().to_vec(), public.as_ref().to_vec())
        }
    };
    (
        pem_of("PRIVATE KEY", &private),
        pem_of("PUBLIC KEY", &public),
    )
}

/// The public key of a PEM text as a JWK.
fn jwk_of(algorithm: Algorithm, public: &str) -> Value {
    let body: String = public
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(body).expect("base64");
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match algorithm {
        Algorithm::Hs256 => panic!("a secret has no public part"),
        Algorithm::EdDsa => {
            json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&der[der.len() - 32..]) })
        }
        Algorithm::Es256 => {
            let (x, y) = der[der.len() - 64..].split_at(32);
            json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
        }
        Algorithm::Rs256 => {
            let key = aws_lc_rs::rsa::PublicKey::from_der(&der).expect("a public key");
            let modulus = text(key.modulus().big_endian_without_leading_zero());
            let exponent = text(key.exponent().big_endian_without_leading_zero());
            json!({ "kty": "RSA", "n": modulus, "e": exponent, "alg": "RS256", "use": "sig" })
        }
    }
}

/// The keys of a file with this content.
fn read(content: &str) -> Result<Vec<Key>, KeyError> {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), content).expect("written");
    Key::read_all(file.path())
}

fn read_one(content: &str) -> Key {
    let mut keys = read(content).expect("a key");
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}
