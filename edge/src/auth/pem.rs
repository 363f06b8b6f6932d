//! Keys in PEM (RFC 7468): PKCS#8 private keys, SubjectPublicKeyInfo public keys, and the
//! PKCS#1 forms of RSA.
//!
//! Invariant: the algorithm follows from the key itself, and a key of a curve or size that no
//! allowed algorithm has is refused here instead of failing with every token.
//! Runs on: the main thread and the control thread.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, ECDSA_P256_SHA256_FIXED_SIGNING,
};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::Algorithm;
use super::key::Key;
use super::limits::{RSA_MODULUS_BYTES_MAX, RSA_MODULUS_BYTES_MIN};

/// SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410 section 4).
const ED25519_PUBLIC: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// SubjectPublicKeyInfo of an uncompressed P-256 point up to its 65 bytes (RFC 5480).
const P256_PUBLIC: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Tag of an octet string (X.690 section 8.7).
const OCTET_STRING: u8 = 0x04;
/// Tag of a sequence (X.690 section 8.9).
const SEQUENCE: u8 = 0x30;

const UNKNOWN: &str = "it is no Ed25519, P-256 or RSA key of 2,048 to 4,096 bits";

/// The one key of a PEM text.
pub(super) fn key_of(text: &str) -> Result<Key, &'static str> {
    let (label, der) = decode(text)?;
    match label {
        "PRIVATE KEY" => private(&der),
        "RSA PRIVATE KEY" => rsa_private(&der),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => public(&der),
        "EC PRIVATE KEY" => Err("it has the old form of EC keys; convert it: openssl pkcs8 \
                                 -topk8 -nocrypt"),
        "ENCRYPTED PRIVATE KEY" => Err("it is encrypted; decrypt it: openssl pkey -in and -out"),
        _ => Err("its PEM label is not PRIVATE KEY or PUBLIC KEY"),
    }
}

/// Label and content of a text with exactly one PEM block.
fn decode(text: &str) -> Result<(&str, Vec<u8>), &'static str> {
    let broken = "its PEM is not complete";
    let rest = text.strip_prefix("-----BEGIN ").ok_or(broken)?;
    let (label, rest) = rest.split_once("-----").ok_or(broken)?;
    let (body, rest) = rest.split_once("-----END ").ok_or(broken)?;
    if rest.trim_end().strip_suffix("-----") != Some(label) {
        return Err("it holds more than one PEM block, or an END that differs from its BEGIN");
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| broken)?;
    Ok((label, der))
}

fn private(der: &[u8]) -> Result<Key, &'static str> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
        return Ok(ed25519(pair.public_key().as_ref(), Some(der)));
    }
    if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
        return Ok(p256(pair.public_key().as_ref(), Some(der)));
    }
    // PKCS#8 wraps the PKCS#1 key as an octet string (RFC 5958 section 2).
    match RsaKeyPair::from_pkcs8(der) {
        Ok(_) => rsa_private(octet_string(der).ok_or(UNKNOWN)?),
        Err(_) => Err(UNKNOWN),
    }
}

fn rsa_private(der: &[u8]) -> Result<Key, &'static str> {
    let pair = RsaKeyPair::from_der(der).map_err(|_| UNKNOWN)?;
    let public = pair.public_key();
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    rsa(modulus, exponent, Some(der))
}

fn public(der: &[u8]) -> Result<Key, &'static str> {
    if let Some(point) = der.strip_prefix(&ED25519_PUBLIC) {
        return Ok(ed25519(point, None));
    }
    if let Some(point) = der.strip_prefix(&P256_PUBLIC) {
        return Ok(p256(point, None));
    }
    let public = rsa::PublicKey::from_der(der).map_err(|_| UNKNOWN)?;
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    rsa(modulus, exponent, None)
}

/// A key of an Ed25519 point, and of its PKCS#8 form when it signs.
pub(super) fn ed25519(point: &[u8], pkcs8: Option<&[u8]>) -> Key {
    let checking = DecodingKey::from_ed_der(point);
    Key::of(
        Algorithm::EdDsa,
        checking,
        pkcs8.map(EncodingKey::from_ed_der),
    )
}

/// A key of an uncompressed P-256 point, and of its PKCS#8 form when it signs.
pub(super) fn p256(point: &[u8], pkcs8: Option<&[u8]>) -> Key {
    let checking = DecodingKey::from_ec_der(point);
    Key::of(
        Algorithm::Es256,
        checking,
        pkcs8.map(EncodingKey::from_ec_der),
    )
}

/// A key of an RSA modulus and exponent, and of its PKCS#1 form when it signs.
pub(super) fn rsa(
    modulus: &[u8],
    exponent: &[u8],
    pkcs1: Option<&[u8]>,
) -> Result<Key, &'static str> {
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &modulus[leading..];
    if !(RSA_MODULUS_BYTES_MIN..=RSA_MODULUS_BYTES_MAX).contains(&modulus.len()) {
        return Err(UNKNOWN);
    }
    let checking = DecodingKey::from_rsa_raw_components(modulus, exponent);
    Ok(Key::of(
        Algorithm::Rs256,
        checking,
        pkcs1.map(EncodingKey::from_rsa_der),
    ))
}

/// The content of the octet string directly inside the outer sequence.
fn octet_string(der: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, mut inside, _) = element(der)? else {
        return None;
    };
    loop {
        let (tag, content, rest) = element(inside)?;
        if tag == OCTET_STRING {
            return Some(content);
        }
        inside = rest;
    }
}

/// Tag and content of the first element, and what follows it (X.690 section 8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = bytes
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}
