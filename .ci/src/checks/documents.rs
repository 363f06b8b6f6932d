//! Paths that documents name must exist.
//!
//! Looked at are links, code spans and code blocks of Markdown files. A word is a path when it
//! has a slash and begins with a folder of this repository, or when it ends like a source file.

use super::{Found, Violation};
use crate::repository::{File, Repository};

/// Endings that make a word with a slash a path.
const PATH_ENDINGS: [&str; 8] = [".rs", ".md", ".fbs", ".toml", ".py", ".sh", ".ts", ".txt"];

/// Endings that make a word without a slash the name of a file of this repository.
const NAME_ENDINGS: [&str; 3] = [".rs", ".md", ".fbs"];

/// Folders that a build or a run makes.
const MADE: [&str; 2] = ["target/", "interlink-data/"];

/// Every path in every document exists.
pub fn paths(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository.files.iter().filter(|file| file.is_document()) {
        let mut is_block = false;
        for (number, line) in file.lines() {
            if line.trim_start().starts_with("```") {
                is_block = !is_block;
                continue;
            }
            let words = if is_block {
                block_words(line)
            } else {
                span_words(line)
            };
            let mut missing: Vec<&str> = words
                .into_iter()
                .filter(|word| is_missing(repository, file, word))
                .collect();
            if !is_block {
                let links = links(line).filter(|link| !exists(repository, file, link));
                missing.extend(links);
            }
            for path in missing {
                let message =
                    format!("'{path}' does not exist; name what is there, or leave it out");
                found.push(Violation::at(file, number, message));
            }
        }
    }
    Ok(found)
}

/// Targets of links to files.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split('#').next().unwrap_or(target));
    targets.filter(|target| !target.is_empty() && !target.contains(':'))
}

/// Words inside code spans.
fn span_words(line: &str) -> Vec<&str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(block_words)
        .collect()
}

/// Words of a line of code.
fn block_words(line: &str) -> Vec<&str> {
    let ends = |letter: char| letter.is_whitespace() || "\"'(),;|=<>{}[]".contains(letter);
    line.split(ends)
        .map(|word| word.trim_end_matches([':', '.']))
        .collect()
}

/// Whether a word is a path that does not exist.
fn is_missing(repository: &Repository, file: &File, word: &str) -> bool {
    let word = word.trim_start_matches("./");
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/*".contains(letter);
    let is_outside = word.starts_with(['/', '-']) || word.contains("..");
    if !word.chars().all(plain) || is_outside || MADE.iter().any(|made| word.starts_with(made)) {
        return false;
    }
    let Some((first, _)) = word.split_once('/') else {
        let is_name = NAME_ENDINGS
            .iter()
            .any(|end| word.len() > end.len() && word.ends_with(end));
        let suffix = format!("/{word}");
        let known = |path: &String| path == word || path.ends_with(&suffix);
        return is_name && !word.contains('*') && !repository.paths.iter().any(known);
    };
    let is_path =
        exists(repository, file, first) || PATH_ENDINGS.iter().any(|ending| word.ends_with(ending));
    is_path && !exists(repository, file, word)
}

/// Whether a path leads to something, from the document's folder or from the root.
fn exists(repository: &Repository, file: &File, path: &str) -> bool {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let fixed = path.split('*').next().unwrap_or(path);
    let path = if fixed == path {
        path
    } else {
        fixed.rsplit_once('/').map_or("", |(p, _)| p)
    };
    [folder, ""]
        .into_iter()
        .filter_map(|base| resolve(base, path))
        .any(|path| path.is_empty() || repository.paths.contains(&path))
}

/// Joins and removes `.` and `..`; nothing when it leaves the repository.
fn resolve(base: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
