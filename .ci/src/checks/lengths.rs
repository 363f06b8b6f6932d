//! Lengths of files, functions and lines.

use proc_macro2::{Delimiter, TokenTree};

use super::tokens::{each_level, group, ident, is_sign, line};
use super::{Found, Violation};
use crate::limits::{FILE_LINES_MAX, FUNCTION_LINES_MAX, LINE_COLUMNS_MAX};
use crate::repository::Repository;

/// Program files have at most [`FILE_LINES_MAX`] lines.
pub fn files(repository: &Repository) -> Found {
    let programs = repository.files.iter().filter(|file| file.is_program());
    let long = programs.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| {
            let message = format!(
                "{lines} lines, at most {FILE_LINES_MAX}; give a part with a name of its own a \
                 module, and tests a file of their own"
            );
            Violation::of(&file.path, message)
        })
    });
    Ok(long.collect())
}

/// Lines of Rust have at most [`LINE_COLUMNS_MAX`] columns.
pub fn lines(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust() {
        for (number, line) in file.lines() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                let message = format!("{columns} columns, at most {LINE_COLUMNS_MAX}; break it");
                found.push(Violation::at(file, number, message));
            }
        }
    }
    Ok(found)
}

/// Functions have at most [`FUNCTION_LINES_MAX`] lines from `fn` to the closing brace.
pub fn functions(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust() {
        each_level(file.tokens()?, &mut |level| {
            for (name, first, last) in bodies(level) {
                let lines = last - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    let message = format!(
                        "{name} has {lines} lines, at most {FUNCTION_LINES_MAX}; keep the \
                         branches here and move the work into functions named for it"
                    );
                    found.push(Violation::at(file, first, message));
                }
            }
        });
    }
    Ok(found)
}

/// Name, first and last line of the functions with a body at one level.
fn bodies(level: &[TokenTree]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in 0..level.len() {
        let Some(name) = ident(level, at + 1).filter(|_| is_fn(level, at)) else {
            continue;
        };
        let signature = at + 2..level.len();
        let body = signature
            .take_while(|&next| !is_sign(level, next, ';'))
            .find_map(|next| group(level, next, Delimiter::Brace));
        if let Some(body) = body {
            let last = body.span_close().end().line;
            found.push((name.to_string(), line(&level[at]), last));
        }
    }
    found
}

/// Whether the keyword of a function stands at a place.
fn is_fn(level: &[TokenTree], at: usize) -> bool {
    ident(level, at).is_some_and(|word| word == "fn")
}
