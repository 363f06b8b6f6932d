//! What schemas may not use.

use super::{Found, Violation};
use crate::repository::Repository;

/// An attribute whose content the published verifier does not look into.
const UNVERIFIED: &str = "nested_flatbuffer";

/// No schema has a field that the verifier would pass unread.
pub fn schemas(repository: &Repository) -> Found {
    let mut found = Vec::new();
    let schemas = repository
        .files
        .iter()
        .filter(|file| file.path.ends_with(".fbs"));
    for file in schemas {
        for (number, line) in file.lines() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(UNVERIFIED) {
                let message = format!(
                    "{UNVERIFIED} passes the verifier unread; carry the bytes as [ubyte] and \
                     verify them where they are read"
                );
                found.push(Violation::at(file, number, message));
            }
        }
    }
    Ok(found)
}
