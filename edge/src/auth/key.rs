//! HS256 keys: reading them from files, and the development key of a first start.
//!
//! Invariants: a key never shows itself (`Debug` prints its length); the development
//! key's file has mode 0600 from the moment it exists.
//! Runs on: the main thread.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use rand::rngs::OsRng;
use rand::TryRngCore;

use super::error::KeyError;
use super::limits::{KEY_BYTES_MIN, KEY_FILE_BYTES_MAX};

/// A shared secret that signs and checks tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} secret bytes)", self.secret.len())
    }
}

impl Key {
    /// A fresh random key.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the operating system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        let mut secret = vec![0; KEY_BYTES_MIN];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self { secret })
    }

    /// Reads a key from a file with one line of base64.
    ///
    /// # Errors
    /// [`KeyError::File`] or [`KeyError::Content`]; neither holds the content.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::File {
            action: "read",
            path: path.display().to_string(),
            source,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        let content = |reason| KeyError::Content {
            path: path.display().to_string(),
            reason,
        };
        if text.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(content("it is too long"));
        }
        let secret = STANDARD
            .decode(text.trim())
            .map_err(|_| content("it is not base64"))?;
        if secret.len() < KEY_BYTES_MIN {
            return Err(content("it has fewer than 32 bytes"));
        }
        Ok(Self { secret })
    }

    /// Reads the key at `path`, or makes one there when the file does not exist.
    /// The second value is true when it was made.
    ///
    /// # Errors
    /// As [`Key::read`], and when the file cannot be written.
    pub fn read_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        if path.exists() {
            return Self::read(path).map(|key| (key, false));
        }
        let key = Self::random()?;
        key.create(path).map_err(|source| KeyError::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })?;
        Ok((key, true))
    }

    /// Writes the key to a new file that only its owner can read. The file gets its
    /// name when it is complete, so that a crash leaves no half key behind.
    fn create(&self, path: &Path) -> std::io::Result<()> {
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        writeln!(file, "{}", STANDARD.encode(&self.secret))?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    /// The secret, for the cryptography only.
    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// A key from bytes that a test chose.
    #[cfg(test)]
    pub(super) fn of_test(byte: u8) -> Self {
        Self {
            secret: vec![byte; KEY_BYTES_MIN],
        }
    }
}
