//! Environment variables over the file: `INTERLINK__SECTION__KEY=value`.
//!
//! Names are upper case with two underscores between the parts. In the name of a
//! namespace `-` and `.` are written as one underscore:
//! `INTERLINK__NAMESPACES__SYS_SECURITY__HISTORY_EVENTS=500`.
//!
//! Runs on: the main thread.

use super::error::{ConfigError, Place};
use super::namespaces::{find, nearest_namespace};
use super::setting::Raw;
use super::source::Loader;

/// What the names of all our variables begin with.
const PREFIX: &str = "INTERLINK__";

/// Applies the variables that begin with the prefix, in order of their names.
pub(super) fn apply(environment: &[(String, String)], loader: &mut Loader) {
    let mut ours: Vec<&(String, String)> = environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        apply_one(name, value, loader);
    }
}

/// Applies one variable.
fn apply_one(name: &str, value: &str, loader: &mut Loader) {
    let place = Place::Environment(name.to_owned());
    let lower = name[PREFIX.len()..].to_lowercase();
    let parts: Vec<&str> = lower.split("__").collect();
    match parts.as_slice() {
        ["namespaces", namespace, key] => match find(|known| as_variable(known) == *namespace) {
            Some(known) => loader.set_namespace(&known, key, Raw::Text(value), place),
            None => loader.errors.push(ConfigError::UnknownSection {
                place,
                suggestion: nearest_namespace(namespace),
                name: format!("namespaces.{namespace}"),
            }),
        },
        [section, key] => loader.set(section, key, Raw::Text(value), place),
        _ => loader.unknown_section(&lower, place),
    }
}

/// A namespace's name as part of a variable's name, in lower case.
fn as_variable(namespace: &str) -> String {
    namespace.replace(['-', '.'], "_")
}
