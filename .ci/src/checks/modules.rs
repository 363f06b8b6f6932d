//! How modules open and where they lie.

use super::{Found, Violation};
use crate::repository::Repository;

/// Every Rust file opens with `//!`.
pub fn documents(repository: &Repository) -> Found {
    let silent = repository
        .rust()
        .filter(|file| !file.text.starts_with("//!"));
    let message = "open the file with //!: purpose, invariants, limits, and the thread it runs on";
    Ok(silent.map(|file| Violation::at(file, 1, message)).collect())
}

/// A module with a folder is `mod.rs` in it (or `main.rs`, for a target), so that a folder is
/// complete in itself.
pub fn folders(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust() {
        let folder = format!("{}/", file.path.trim_end_matches(".rs"));
        let inside = repository
            .rust()
            .any(|other| other.path.starts_with(&folder));
        if inside {
            let message = format!("move it to {folder}mod.rs, so that the folder is complete");
            found.push(Violation::of(&file.path, message));
        }
    }
    Ok(found)
}
