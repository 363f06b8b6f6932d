//! What may not be named in the sources of a layer: runtimes, clocks, sockets and threads.
//!
//! Decisions take time, bytes and randomness as arguments, so that tests and a simulator drive
//! them; one word of a runtime in the wrong file ends that.

use proc_macro2::TokenTree;

use super::tokens::{each_level, ident, is_path_separator, line};
use super::{Found, Violation};
use crate::repository::{File, Repository};

/// The one file that may name the shard's runtime.
const SHARD_DRIVER: &str = "edge/src/shard/driver.rs";

/// Folders of what runs on a shard.
const SHARD_FOLDERS: [&str; 4] = [
    "edge/src/shard/",
    "edge/src/memory/",
    "edge/src/lanes/",
    "edge/src/wheel/",
];

/// Folders of decisions that touch nothing outside.
const PURE_FOLDERS: [&str; 3] = [
    "protocol/src/",
    "protocol/clients/rust/src/session/",
    "relay/src/journal/",
];

/// Modules of the standard library that touch the outside, and what to do instead.
const OUTSIDE: [(&str, &str); 4] = [
    ("fs", "hand bytes in and out"),
    ("net", "hand bytes in and out"),
    ("process", "return an error"),
    ("thread", "let the driver own the thread"),
];

/// Clocks, and what to do instead.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// No layer names what belongs to another.
pub fn sources(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust() {
        each_level(file.tokens()?, &mut |level| {
            for at in 0..level.len() {
                if let Some(message) = judge(file, level, at) {
                    found.push(Violation::at(file, line(&level[at]), message));
                }
            }
        });
    }
    Ok(found)
}

fn judge(file: &File, level: &[TokenTree], at: usize) -> Option<String> {
    let word = ident(level, at)?.to_string();
    let is_tests = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    let lies_in = |folders: &[&str]| folders.iter().any(|folder| file.path.starts_with(folder));
    if lies_in(&SHARD_FOLDERS) && word == "tokio" {
        return Some("tokio has no place on a shard; reach the control thread by a lane".into());
    }
    if lies_in(&SHARD_FOLDERS) && word == "glommio" && file.path != SHARD_DRIVER {
        return Some(format!(
            "only {SHARD_DRIVER} may name the runtime; go through Kernel"
        ));
    }
    if !lies_in(&PURE_FOLDERS) || is_tests {
        return None;
    }
    if CLOCKS.contains(&word.as_str()) {
        return Some(format!(
            "{word} reads a clock; take the time as an argument"
        ));
    }
    let module = ident(level, at + 3).filter(|_| word == "std" && is_path_separator(level, at + 1));
    let (name, cure) = OUTSIDE
        .into_iter()
        .find(|(name, _)| module.is_some_and(|m| m == name))?;
    Some(format!("std::{name} touches the outside; {cure}"))
}
