//! Who may use the control endpoint.
//!
//! Purpose: with `listen.control_token_file` every request has to name the token in that file, as
//! `Authorization: Bearer TOKEN`, whatever the address is. Without one the endpoint listens on
//! loopback addresses only. The file is looked at with each request and read again when it has
//! changed, so that a token is replaced without a restart.
//!
//! Invariants: a token is compared in a time that does not depend on where it differs, and is in
//! no log and no answer; what cannot be read leaves the token before it in use.
//! Limits: [`TOKEN_BYTES_MIN`], [`TOKEN_BYTES_MAX`].
//!
//! Runs on: the control thread; the first read on the main thread.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{header, HeaderMap};
use tracing::warn;

use crate::watched::Watched;

/// Shortest token: 128 bits as hexadecimal digits, which nobody guesses.
pub const TOKEN_BYTES_MIN: usize = 32;
/// Longest token: a header line of it fits every client.
pub const TOKEN_BYTES_MAX: usize = 1_024;

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; check listen.control_token_file and its permissions")]
    File {
        /// The file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It holds no token.
    #[error(
        "{0} holds no token of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} printable characters without \
         blanks; write one: openssl rand -hex 32 > {0}"
    )]
    Content(String),
}

/// The token of the endpoint.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    /// Only the control thread locks it.
    known: Mutex<Known>,
    refused: AtomicU64,
}

struct Known {
    file: Watched,
    token: Vec<u8>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Known")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Reads the token.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn open(path: &Path) -> Result<Self, GuardError> {
        let mut file = Watched::new(path);
        file.changed();
        let token = read_token(path)?;
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new(Known { file, token }),
            refused: AtomicU64::new(0),
        })
    }

    /// Whether a request with these headers may be served.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.file.changed() {
            match read_token(&self.path) {
                Ok(token) => known.token = token,
                Err(error) => warn!(%error, "the control token before it stays in use"),
            }
        }
        let admitted = bearer(headers)
            .is_some_and(|named| verify_slices_are_equal(named, &known.token).is_ok());
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Requests that named no token or a wrong one.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The token that a request names, if it names exactly one.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let (scheme, token) = line.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn read_token(path: &Path) -> Result<Vec<u8>, GuardError> {
    let named = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| GuardError::File {
        path: named(),
        source,
    })?;
    let token = text.trim_ascii_end();
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
    if fits && token.iter().all(u8::is_ascii_graphic) {
        Ok(token.to_vec())
    } else {
        Err(GuardError::Content(named()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, line.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn exactly_the_token_is_admitted() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).expect("a file can be written");
        let guard = Guard::open(&path).expect("a token");
        let right = format!("Bearer {TOKEN}");
        assert!(guard.admits(&headers(&[&right])));
        assert!(guard.admits(&headers(&[&format!("bearer {TOKEN}")])));
        let wrong = [
            TOKEN.to_owned(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {}", &TOKEN[1..]),
            format!("Bearer {TOKEN}0"),
            format!("Bearer  {TOKEN}"),
            format!("Basic {TOKEN}"),
            right.replace('f', "e"),
        ];
        for line in &wrong {
            assert!(!guard.admits(&headers(&[line])), "{line}");
        }
        assert!(!guard.admits(&headers(&[])));
        assert!(!guard.admits(&headers(&[&right, &right])));
        assert_eq!(guard.refused(), wrong.len() as u64 + 2);
        assert!(!format!("{guard:?}").contains(TOKEN));
    }

    #[test]
    fn a_token_is_replaced_and_a_broken_file_is_not_taken() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("token");
        std::fs::write(&path, TOKEN).expect("a file can be written");
        let guard = Guard::open(&path).expect("a token");
        std::fs::write(&path, "short").expect("a file can be written");
        assert!(guard.admits(&headers(&[&format!("Bearer {TOKEN}")])));
        let other = TOKEN.replace('0', "f");
        std::fs::write(&path, &other).expect("a file can be written");
        assert!(guard.admits(&headers(&[&format!("Bearer {other}")])));
        assert!(!guard.admits(&headers(&[&format!("Bearer {TOKEN}")])));
    }

    #[test]
    fn files_without_a_token_name_the_cure() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("token");
        let error = Guard::open(&path).expect_err("nothing there").to_string();
        assert!(error.contains("listen.control_token_file"), "{error}");
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        for text in [
            "",
            "\n",
            "short",
            "0123456789abcdef 0123456789abcdef",
            &long,
        ] {
            std::fs::write(&path, text).expect("a file can be written");
            let error = Guard::open(&path).expect_err("no token").to_string();
            assert!(error.contains("openssl rand"), "{error}");
        }
    }
}
