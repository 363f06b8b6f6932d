//! The top level: which folders there are, and that each says what it is.

use std::collections::BTreeSet;

use super::{Found, Violation};
use crate::repository::Repository;

/// Every folder of the top level but `.ci`, which has its rules in `.ci/STYLE.md`.
const FOLDERS: [&str; 7] = [
    "bench", "deploy", "edge", "protocol", "relay", "tuning", "workers",
];

/// Every file of the top level.
const FILES: [&str; 6] = [
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
];

/// The top level holds what `ARCHITECTURE.md` shows, and each folder has a README.
pub fn layout(repository: &Repository) -> Found {
    let top = repository.paths.iter().filter(|path| !path.contains('/'));
    let present: BTreeSet<&str> = top.map(String::as_str).collect();
    let expected: BTreeSet<&str> = FOLDERS.into_iter().chain(FILES).chain([".ci"]).collect();
    let mut found = Vec::new();
    for extra in present.difference(&expected) {
        let message = "has no place on the top level; put it into the folder that it belongs to";
        found.push(Violation::of(*extra, message));
    }
    for missing in expected.difference(&present) {
        found.push(Violation::of(*missing, "is missing"));
    }
    for folder in FOLDERS {
        let readme = format!("{folder}/README.md");
        if !repository.paths.contains(&readme) {
            let message = "write it: purpose, map, guarantees, decisions";
            found.push(Violation::of(readme, message));
        }
    }
    Ok(found)
}
