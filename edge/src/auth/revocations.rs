//! The revocation list: tokens and users whose access has ended before `exp`.
//!
//! File: one entry a line, `token ID` for the token with that `jti`, `user NAME SECONDS` for
//! all tokens of a user issued before that second since 1970; `#` begins a remark. Either may
//! end with the name of an institution, whose tokens alone are meant then.
//!
//! Invariants: a list is read as a whole or refused as a whole; ids are kept as 64-bit hashes,
//! so that what an issuer puts into `jti` takes no memory here.
//! Limits: `limits::REVOCATIONS_MAX` entries.
//! Runs on: the control thread reads the file, shards look tokens up.

use std::collections::{HashMap, HashSet};
use std::fmt;
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
    /// Hashes of ids, each with that of the institution, 0 for any.
    tokens: HashSet<(u64, u64)>,
    users: HashMap<Box<str>, Vec<Bound>>,
    /// Entries of all users.
    bounds: usize,
}

/// Tokens of a user that are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    /// Of which institution; empty for any.
    institution: Box<str>,
    /// Those issued before this second.
    not_before_s: u32,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What is refused.
    pub what: Revoked,
    /// The institution whose tokens alone are meant; empty for any.
    pub institution: String,
}

/// What an entry refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token with this `jti`.
    Token(String),
    /// Tokens of a user that were issued before a second since 1970.
    User(String, u32),
}

impl fmt::Display for Revocation {
    /// The entry as a line of the file.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Revoked::Token(id) => write!(out, "token {id}")?,
            Revoked::User(name, seconds) => write!(out, "user {name} {seconds}")?,
        }
        match &*self.institution {
            "" => Ok(()),
            institution => write!(out, " {institution}"),
        }
    }
}

/// How a `jti` is remembered; 0 stands for none.
pub(super) fn token_id_hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes()).max(1)
}

/// How an institution is remembered beside a `jti`; 0 stands for any.
fn institution_hash(institution: &str) -> u64 {
    match institution {
        "" => 0,
        name => xxh3_64(name.as_bytes()).max(1),
    }
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
            let (what, institution) = match words[..] {
                [] => continue,
                ["token", id] => (Revoked::Token(id.to_owned()), ""),
                ["token", id, institution] => (Revoked::Token(id.to_owned()), institution),
                ["user", name, seconds] => (user(name, seconds).ok_or(number)?, ""),
                ["user", name, seconds, institution] => {
                    (user(name, seconds).ok_or(number)?, institution)
                }
                _ => return Err(number),
            };
            let institution = institution.to_owned();
            list.add(&Revocation { what, institution });
            if list.len() > REVOCATIONS_MAX {
                return Err(number);
            }
        }
        Ok(list)
    }

    /// Adds an entry; false when it refuses nothing more. Of two seconds for one user the later
    /// one counts.
    pub fn add(&mut self, entry: &Revocation) -> bool {
        let (user, seconds) = match &entry.what {
            Revoked::Token(id) => {
                let institution = institution_hash(&entry.institution);
                return self.tokens.insert((token_id_hash(id), institution));
            }
            Revoked::User(name, seconds) => (name.as_str(), *seconds),
        };
        let bounds = self.users.entry(user.into()).or_default();
        let same = |bound: &&mut Bound| *bound.institution == *entry.institution;
        if let Some(bound) = bounds.iter_mut().find(same) {
            let is_later = seconds > bound.not_before_s;
            bound.not_before_s = bound.not_before_s.max(seconds);
            return is_later;
        }
        bounds.push(Bound {
            institution: entry.institution.as_str().into(),
            not_before_s: seconds,
        });
        self.bounds += 1;
        true
    }

    /// Adds what another list holds.
    pub fn merge(&mut self, other: &Self) {
        self.tokens.extend(&other.tokens);
        for (user, bounds) in &other.users {
            for bound in bounds {
                self.add(&Revocation {
                    what: Revoked::User(user.to_string(), bound.not_before_s),
                    institution: bound.institution.to_string(),
                });
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.bounds
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a token of `user` and `institution` with this mark is refused.
    pub fn cover(&self, user: &str, institution: &str, mark: TokenMark) -> bool {
        let of_id = |institution| self.tokens.contains(&(mark.id, institution));
        // Most lists hold nothing about most tokens.
        if mark.id != 0 && !self.tokens.is_empty() {
            let own = institution_hash(institution);
            if of_id(0) || (own != 0 && of_id(own)) {
                return true;
            }
        }
        let bounds = self.users.get(user).map_or(&[][..], Vec::as_slice);
        bounds.iter().any(|bound| {
            let is_meant = bound.institution.is_empty() || *bound.institution == *institution;
            is_meant && mark.issued_at_s < bound.not_before_s
        })
    }
}

fn user(name: &str, seconds: &str) -> Option<Revoked> {
    Some(Revoked::User(name.to_owned(), seconds.parse().ok()?))
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
        assert!(list.cover("ada", "", mark("t-9", 99)));
        assert!(!list.cover("ada", "", mark("t-9", 100)));
        assert!(list.cover("bob", "", mark("t-1", 500)));
        assert!(!list.cover("bob", "", mark("t-2", 500)));
        assert!(!list.cover("bob", "", TokenMark::default()));
        assert!(list.cover("ada", "", TokenMark::default()));
    }

    #[test]
    fn an_entry_of_an_institution_is_for_its_tokens_only() {
        let text = "user ada 100 north\nuser ada 50\ntoken t-1 north\n";
        let list = Revocations::of_text(text).expect("a list");
        assert_eq!(list.len(), 3);
        assert!(list.cover("ada", "north", mark("t-9", 99)));
        assert!(!list.cover("ada", "south", mark("t-9", 99)));
        assert!(!list.cover("ada", "", mark("t-9", 99)));
        assert!(list.cover("ada", "south", mark("t-9", 49)));
        assert!(list.cover("bob", "north", mark("t-1", 500)));
        assert!(!list.cover("bob", "south", mark("t-1", 500)));
        assert!(!list.cover("bob", "", mark("t-1", 500)));
    }

    #[test]
    fn what_is_written_is_read_again_and_repeats_add_nothing() {
        let entry = |what, institution: &str| Revocation {
            what,
            institution: institution.to_owned(),
        };
        let entries = [
            entry(Revoked::Token("t-1".into()), ""),
            entry(Revoked::Token("t-1".into()), "north"),
            entry(Revoked::User("ada".into(), 7), ""),
            entry(Revoked::User("ada".into(), 9), "north"),
        ];
        let mut list = Revocations::default();
        let text: Vec<String> = entries.iter().map(Revocation::to_string).collect();
        assert!(entries.iter().all(|entry| list.add(entry)));
        assert!(!entries.iter().any(|entry| list.add(entry)));
        assert!(!list.add(&entry(Revoked::User("ada".into(), 6), "")));
        assert_eq!(Revocations::of_text(&text.join("\n")), Ok(list.clone()));
        let mut merged = Revocations::of_text("user ada 8\ntoken t-2").expect("a list");
        merged.merge(&list);
        assert_eq!(merged.len(), 5);
        assert!(merged.cover("ada", "", mark("t-9", 7)));
        assert!(merged.cover("ada", "north", mark("t-9", 8)));
        assert!(merged.cover("bob", "", mark("t-2", 0)));
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_half_read() {
        let wrong = [
            "token",
            "token a b c",
            "user ada",
            "user ada soon",
            "user ada -1",
            "user ada 1 north now",
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
