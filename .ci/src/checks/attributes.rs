//! Attributes that switch a judge off.

use proc_macro2::{Delimiter, Group, TokenTree};

use super::tokens::{each_level, group, ident, is_sign, line};
use super::{Found, Violation};
use crate::repository::Repository;

/// No test is switched off, and no lint without its reason.
pub fn attributes(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust() {
        each_level(file.tokens()?, &mut |level| {
            for at in 0..level.len() {
                if let Some(message) = judge(level, at) {
                    found.push(Violation::at(file, line(&level[at]), message));
                }
            }
        });
    }
    Ok(found)
}

/// What is wrong with the attribute that begins at a place.
fn judge(level: &[TokenTree], at: usize) -> Option<&'static str> {
    if !is_sign(level, at, '#') {
        return None;
    }
    let is_inner = is_sign(level, at + 1, '!');
    let content = group(level, at + 1 + usize::from(is_inner), Delimiter::Bracket)?.stream();
    let tokens: Vec<TokenTree> = content.into_iter().collect();
    let name = ident(&tokens, 0)?.to_string();
    let has_reason = group(&tokens, 1, Delimiter::Parenthesis).is_some_and(has_reason);
    match name.as_str() {
        "ignore" => Some("a test that does not run proves nothing; mend it or delete it"),
        "allow" if is_inner => Some("use #[expect(lint, reason = \"...\")] on the item itself"),
        "allow" | "expect" if !has_reason => Some("add reason = \"...\" to it"),
        _ => None,
    }
}

fn has_reason(arguments: &Group) -> bool {
    let mut tokens = arguments.stream().into_iter();
    tokens.any(|tree| matches!(tree, TokenTree::Ident(name) if name == "reason"))
}
