//! Notes to oneself that were meant to go before the change was done.

use proc_macro2::TokenTree;

use super::tokens::{each_level, ident, is_sign, line};
use super::{Found, Violation};
use crate::repository::{File, Repository};

/// Marks of unfinished work; joined here so that this file does not contain them.
const MARKS: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Macros that stand for work that was not done.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Nothing unfinished stays.
pub fn leftovers(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.files.iter().filter(|file| !file.is_generated()) {
        marks(file, &mut found);
    }
    for file in repository.rust() {
        each_level(file.tokens()?, &mut |level| {
            for at in 0..level.len() {
                if let Some(name) = unfinished_macro(level, at) {
                    let message = format!("finish it or return an error; {name}! must not stay");
                    found.push(Violation::at(file, line(&level[at]), message));
                }
            }
        });
    }
    Ok(found)
}

fn marks(file: &File, found: &mut Vec<Violation>) {
    let prose = file.is_program() || file.is_document() || file.path.ends_with(".toml");
    if !prose {
        return;
    }
    for (number, text) in file.lines() {
        let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        if let Some(mark) = words.find(|word| MARKS.contains(word)) {
            let message = format!("do it now or write an issue; {mark} must not stay");
            found.push(Violation::at(file, number, message));
        }
    }
}

fn unfinished_macro(level: &[TokenTree], at: usize) -> Option<&'static str> {
    let name = ident(level, at).filter(|_| is_sign(level, at + 1, '!'))?;
    MACROS.into_iter().find(|banned| name == banned)
}
