//! The revocation list: tokens and users whose access has ended before `exp`.
//!
//! File: one entry a line, `token ID` for the token with that `jti`, `user NAME SECONDS` for
//! all tokens of a user issued before that second since 1970; `#` begins a remark.
//!
//! Invariants: a list is read as a whole or refused as a whole; ids are kept as 64-bit hashes,
//! so that what an issuer puts into `jti` takes no memory here.
//! Limits: `limits::REVOCATIONS_MAX` entries.
//! Runs on: the control thread reads the file, shards look tokens up.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::error::KeyError;
use super::limits::{REVOCATIONS_MAX, REVOCATION_FILE_BYTES_MAX};
use super::verifier::TokenMark;

/// Tokens and users that are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    tokens: HashSet<u64>,
    users: HashMap<Box<str>, u32>,
}

/// How a `jti` is remembered; 0 stands for none.
pub(super) fn token_id_hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes()).max(1)
}

impl Revocations {
    /// Reads the list in the file at `path`.
    ///
    /// # Errors
    /// [`KeyError::File`] or [`KeyError::Revocation`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| {
                let bounded = file.take(REVOCATION_FILE_BYTES_MAX + 1);
                { bounded }.read_to_string(&mut text)
            })
            .map_err(|source| KeyError::File {
                action: "read",
                path: path.display().to_string(),
                source,
            })?;
        Self::of_text(&text).map_err(|line| KeyError::Revocation {
            path: path.display().to_string(),
            line,
        })
    }

    /// Reads a list from text.
    ///
    /// # Errors
    /// The number of the line that is wrong or one too many.
    pub fn of_text(text: &str) -> Result<Self, usize> {
        let mut list = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let entry = line.split_once('#').map_or(line, |(entry, _)| entry);
            let words: Vec<&str> = entry.split_ascii_whitespace().collect();
            match words[..] {
                [] => continue,
                ["token", id] => list.revoke_token(id),
                ["user", name, seconds] => {
                    list.revoke_user(name, seconds.parse().map_err(|_| number)?);
                }
                _ => return Err(number),
            }
            if list.len() > REVOCATIONS_MAX {
                return Err(number);
            }
        }
        Ok(list)
    }

    /// Refuses the token with this `jti` from now on.
    pub fn revoke_token(&mut self, id: &str) {
        self.tokens.insert(token_id_hash(id));
    }

    /// Refuses tokens of a user that were issued before a second since 1970; of two such
    /// seconds the later one counts.
    pub fn revoke_user(&mut self, user: &str, not_before_s: u32) {
        let entry = self.users.entry(user.into()).or_default();
        *entry = not_before_s.max(*entry);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.users.is_empty()
    }

    /// Whether a token of `user` with this mark is refused.
    pub fn cover(&self, user: &str, mark: TokenMark) -> bool {
        let by_id = mark.id != 0 && self.tokens.contains(&mark.id);
        let not_before_s = self.users.get(user).copied().unwrap_or_default();
        by_id || mark.issued_at_s < not_before_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str, issued_at_s: u32) -> TokenMark {
        TokenMark {
            id: token_id_hash(id),
            issued_at_s,
        }
    }

    #[test]
    fn a_list_names_tokens_and_users() {
        let text = "# closed accounts\nuser ada 100 # left\n\n  token t-1\nuser ada 90\n";
        let list = Revocations::of_text(text).expect("a list");
        assert_eq!(list.len(), 2);
        assert!(list.cover("ada", mark("t-9", 99)));
        assert!(!list.cover("ada", mark("t-9", 100)));
        assert!(list.cover("bob", mark("t-1", 500)));
        assert!(!list.cover("bob", mark("t-2", 500)));
        assert!(!list.cover("bob", TokenMark::default()));
        assert!(list.cover("ada", TokenMark::default()));
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_half_read() {
        let wrong = [
            "token",
            "token a b",
            "user ada",
            "user ada soon",
            "user ada -1",
            "users ada 1",
            "user ada 99999999999",
        ];
        for line in wrong {
            let text = format!("token t-1\n{line}\n");
            assert_eq!(Revocations::of_text(&text), Err(2), "{line}");
        }
    }

    #[test]
    fn a_list_has_a_bound() {
        let lines = |count: usize| -> String {
            (0..count)
                .map(|number| format!("token {number}\n"))
                .collect()
        };
        let full = Revocations::of_text(&lines(REVOCATIONS_MAX)).expect("a full list");
        assert_eq!(full.len(), REVOCATIONS_MAX);
        let over = Revocations::of_text(&lines(REVOCATIONS_MAX + 1));
        assert_eq!(over, Err(REVOCATIONS_MAX + 1));
    }
}
