//! Walks over the tokens of a Rust file, so that comments and texts are never mistaken for code
//! and code inside macro calls is seen.

use proc_macro2::{Delimiter, Group, Ident, Spacing, TokenStream, TokenTree};

/// Calls `visit` for every run of sibling tokens, outermost first.
pub fn each_level(stream: TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = stream.into_iter().collect();
    visit(&level);
    for tree in level {
        if let TokenTree::Group(group) = tree {
            each_level(group.stream(), visit);
        }
    }
}

/// The identifier at a place, if there is one.
pub fn ident(level: &[TokenTree], at: usize) -> Option<&Ident> {
    match level.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident),
        _ => None,
    }
}

/// Whether a punctuation sign stands at a place.
pub fn is_sign(level: &[TokenTree], at: usize, sign: char) -> bool {
    matches!(level.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// Whether `::` begins at a place.
pub fn is_path_separator(level: &[TokenTree], at: usize) -> bool {
    let joined = matches!(
        level.get(at),
        Some(TokenTree::Punct(punct)) if punct.spacing() == Spacing::Joint
    );
    joined && is_sign(level, at, ':') && is_sign(level, at + 1, ':')
}

/// The group at a place, if it has this delimiter.
pub fn group(level: &[TokenTree], at: usize, delimiter: Delimiter) -> Option<&Group> {
    match level.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// Line of a token from 1.
pub fn line(tree: &TokenTree) -> usize {
    tree.span().start().line
}
