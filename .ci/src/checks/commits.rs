//! Subjects of commits.

use super::{Found, Violation};
use crate::limits::COMMIT_SUBJECT_MAX;
use crate::repository::{git, Repository};

/// Every commit that is no merge says `area: change` in [`COMMIT_SUBJECT_MAX`] characters.
pub fn subjects(repository: &Repository) -> Found {
    let log = git(
        &repository.root,
        &["log", "--no-merges", "--format=%h %s", "HEAD"],
    )?;
    let mut found = Vec::new();
    for (commit, subject) in log.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(message) = judge(subject) {
            found.push(Violation::of(format!("commit {commit}"), message));
        }
    }
    Ok(found)
}

/// What is wrong with a subject.
pub(super) fn judge(subject: &str) -> Option<String> {
    let length = subject.chars().count();
    if length > COMMIT_SUBJECT_MAX {
        return Some(format!(
            "subject has {length} characters, at most {COMMIT_SUBJECT_MAX}"
        ));
    }
    let area = subject.split_once(": ").map(|(area, _)| area);
    let plain = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || "./_-".contains(letter)
    };
    let is_area = |area: &str| !area.is_empty() && area.chars().all(plain);
    (!area.is_some_and(is_area)).then(|| format!("'{subject}' is not of the form 'area: change'"))
}
