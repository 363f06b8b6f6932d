//! A key: its algorithm, its name, and what it can do.
//!
//! Invariants: a key checks signatures of its own algorithm only, so a public key never serves
//! as the secret of HS256; a key never shows itself (`Debug` names its kind); the development
//! key's file has mode 0600 from the moment it exists.
//! Runs on: the main thread and the control thread make keys, any thread uses them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use jsonwebtoken::{crypto, DecodingKey, EncodingKey};
use rand::rngs::OsRng;
use rand::TryRngCore;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::limits::{KEY_FILE_BYTES_MAX, SECRET_BYTES_MIN};
use super::{jwk, pem};

/// A key that checks tokens and, when its private part is known, signs them.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    checking: DecodingKey,
    signing: Option<EncodingKey>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kid = self.kid.as_deref().unwrap_or("none");
        let use_of = match self.signing {
            Some(_) => "checks and signs",
            None => "checks",
        };
        write!(f, "Key({}, kid {kid}, {use_of})", self.algorithm)
    }
}

impl Key {
    /// A key of known parts, whose caller has checked that they fit `algorithm`.
    pub(super) fn of(
        algorithm: Algorithm,
        checking: DecodingKey,
        signing: Option<EncodingKey>,
    ) -> Self {
        Self {
            algorithm,
            kid: None,
            checking,
            signing,
        }
    }

    /// The same with a name.
    pub(super) fn named(mut self, kid: Option<Box<str>>) -> Self {
        self.kid = kid;
        self
    }

    /// A shared secret for HS256.
    ///
    /// # Errors
    /// Why the bytes are no secret.
    pub fn of_secret(secret: &[u8]) -> Result<Self, &'static str> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err("it has fewer than 32 bytes");
        }
        let signing = EncodingKey::from_secret(secret);
        let checking = DecodingKey::from_secret(secret);
        Ok(Self::of(Algorithm::Hs256, checking, Some(signing)))
    }

    /// The algorithm that the key is bound to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name that tokens of this key carry as `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether a token of this algorithm and `kid` can be of this key. A key without a name
    /// and a token without one fit every name; the signature decides then.
    pub(super) fn fits(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let names = (self.kid.as_deref(), kid);
        let named = !matches!(names, (Some(own), Some(wanted)) if own != wanted);
        self.algorithm == algorithm && named
    }

    /// Whether this key made the signature (in base64url) of `signed`.
    pub(super) fn has_signed(&self, signed: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.of_library();
        crypto::verify(signature, signed.as_bytes(), &self.checking, algorithm).unwrap_or(false)
    }

    /// What signs, when the private part is known.
    pub(super) fn signing(&self) -> Option<&EncodingKey> {
        self.signing.as_ref()
    }

    /// Reads all keys of a file: PEM, JWK, JWK set, or one line of base64.
    ///
    /// # Errors
    /// [`KeyError::File`] or [`KeyError::Content`]; neither holds the content.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, KeyError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|source| KeyError::File {
                action: "read",
                path: path.display().to_string(),
                source,
            })?;
        if text.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(content(path, "it is too long"));
        }
        keys_of(&text).map_err(|reason| content(path, reason))
    }

    /// Reads the first key of a file that can sign.
    ///
    /// # Errors
    /// As [`Key::read_all`], and [`KeyError::CannotSign`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let mut keys = Self::read_all(path)?.into_iter();
        keys.find(|key| key.signing.is_some())
            .ok_or_else(|| KeyError::CannotSign(path.display().to_string()))
    }

    /// Reads the key at `path`, or makes a secret there when the file does not exist.
    /// The second value is true when it was made.
    ///
    /// # Errors
    /// As [`Key::read`], and when the file cannot be written.
    pub fn read_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        if path.exists() {
            return Self::read(path).map(|key| (key, false));
        }
        let mut secret = [0; SECRET_BYTES_MIN];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|error| KeyError::Random(error.to_string()))?;
        write_secret(path, &secret).map_err(|source| KeyError::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })?;
        let key = Self::of_secret(&secret).map_err(|reason| content(path, reason))?;
        Ok((key, true))
    }
}

fn content(path: &Path, reason: &'static str) -> KeyError {
    KeyError::Content {
        path: path.display().to_string(),
        reason,
    }
}

/// The keys of a file's text; its first character tells the form.
fn keys_of(text: &str) -> Result<Vec<Key>, &'static str> {
    let text = text.trim();
    if text.starts_with('{') {
        return jwk::keys_of_file(text);
    }
    if text.starts_with("-----BEGIN") {
        return Ok(vec![pem::key_of(text)?]);
    }
    let secret = STANDARD.decode(text).map_err(|_| "it is not base64")?;
    Ok(vec![Key::of_secret(&secret)?])
}

/// Writes a secret to a new file that only its owner can read. The file gets its name when
/// it is complete, so that a crash leaves no half key behind.
fn write_secret(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(file, "{}", STANDARD.encode(secret))?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
