//! Words that name nothing.
//!
//! A name with one of them says that its author had not yet found what the thing does. The words
//! may stand in sentences; they are looked for in paths and in names of items.

use proc_macro2::TokenTree;

use super::tokens::{each_level, ident, line};
use super::{Found, Violation};
use crate::repository::Repository;

/// A word, and where to look for a better one.
const BANNED: [(&str, &str); 11] = [
    (
        "manager",
        "name what it decides or owns, such as registry, table or shard",
    ),
    ("handler", "name the transition, such as on_publish"),
    (
        "util",
        "move each function to the module whose values it works on",
    ),
    (
        "utility",
        "move each function to the module whose values it works on",
    ),
    (
        "utilities",
        "move each function to the module whose values it works on",
    ),
    ("helper", "name the step that it does"),
    ("common", "move each part to the module that it belongs to"),
    ("misc", "move each part to the module that it belongs to"),
    (
        "miscellaneous",
        "move each part to the module that it belongs to",
    ),
    ("hub", "say shard, channel or registry"),
    ("packet", "say frame, record or payload"),
];

/// Keywords that are followed by the name of an item.
const ITEMS: [&str; 10] = [
    "const",
    "enum",
    "fn",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "union",
];

/// No path and no item is named by a banned word.
pub fn names(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for path in &repository.paths {
        let last = path.rsplit('/').next().unwrap_or(path);
        if let Some((word, cure)) = banned(last) {
            found.push(Violation::of(
                path,
                format!("'{word}' names nothing; {cure}"),
            ));
        }
    }
    for file in repository.rust() {
        each_level(file.tokens()?, &mut |level| {
            for at in 0..level.len() {
                let Some(name) = item_name(level, at) else {
                    continue;
                };
                if let Some((word, cure)) = banned(&name) {
                    let message = format!("'{word}' in {name} names nothing; {cure}");
                    found.push(Violation::at(file, line(&level[at]), message));
                }
            }
        });
    }
    Ok(found)
}

/// The name of the item whose keyword stands at a place.
fn item_name(level: &[TokenTree], at: usize) -> Option<String> {
    let keyword = ident(level, at)?.to_string();
    if !ITEMS.contains(&keyword.as_str()) {
        return None;
    }
    let after = if keyword == "macro_rules" {
        at + 2
    } else {
        at + 1
    };
    ident(level, after).map(ToString::to_string)
}

/// The first banned word in a name, singular or plural, and its cure.
fn banned(name: &str) -> Option<(&'static str, &'static str)> {
    let words = words(name);
    BANNED.into_iter().find(|(banned, _)| {
        words
            .iter()
            .any(|word| word == banned || word.strip_suffix('s') == Some(banned))
    })
}

/// The words of a name in any of the usual spellings, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && was_lower);
        if begins {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words
                .last_mut()
                .expect("never empty")
                .extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words
}
