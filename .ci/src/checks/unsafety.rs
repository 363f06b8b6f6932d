//! Where `unsafe` may stand: in the ring, the memory pools, the lanes and generated code, and in
//! files whose opening says why.

use proc_macro2::TokenTree;

use super::tokens::{each_level, line};
use super::{Found, Violation};
use crate::repository::{File, Repository};

/// Folders that exist for code that the compiler cannot prove.
const FOLDERS: [&str; 3] = ["edge/uring/", "edge/src/memory/", "edge/src/lanes/"];

/// `unsafe` stands only where a reader expects it.
pub fn places(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.rust().filter(|file| !is_expected(file)) {
        each_level(file.tokens()?, &mut |level| {
            let first = level
                .iter()
                .find(|tree| matches!(tree, TokenTree::Ident(word) if word == "unsafe"));
            if let Some(tree) = first {
                let message = "say in the opening //! why this file needs unsafe, or use \
                               interlink-uring or the pools of edge/src/memory";
                found.push(Violation::at(file, line(tree), message));
            }
        });
    }
    Ok(found)
}

/// Whether the file lies in such a folder or explains itself.
fn is_expected(file: &File) -> bool {
    let opening = file.text.lines().take_while(|line| line.starts_with("//!"));
    let explains = opening.into_iter().any(|line| line.contains("unsafe"));
    explains || FOLDERS.iter().any(|folder| file.path.starts_with(folder))
}
