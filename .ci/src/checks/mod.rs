//! The rules that a program can judge, one module for each subject.
//!
//! A check takes the repository and returns its violations; each message names the way out.

mod attributes;
mod commits;
mod documents;
mod layers;
mod layout;
mod leftovers;
mod lengths;
mod modules;
mod names;
mod runtimes;
mod schemas;
mod strangers;
#[cfg(test)]
mod tests;
mod tokens;
mod unsafety;

use std::fmt;

use crate::repository::{File, Repository};

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// File, folder, crate or commit.
    pub place: String,
    /// Line from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl Violation {
    /// At a line of a file.
    fn at(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self {
            place: file.path.clone(),
            line: Some(line),
            message: message.into(),
        }
    }

    /// At something as a whole.
    fn of(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.place, self.message),
            None => write!(out, "{}: {}", self.place, self.message),
        }
    }
}

/// What a check returns: violations, or why it could not look.
type Found = anyhow::Result<Vec<Violation>>;

/// A rule and how it is checked.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Name in outputs.
    pub name: &'static str,
    /// Finds what breaks it.
    pub find: fn(&Repository) -> Found,
}

/// Every check, in the order of `.ci/STYLE.md`.
pub const ALL: [Check; 19] = [
    Check {
        name: "file length",
        find: lengths::files,
    },
    Check {
        name: "function length",
        find: lengths::functions,
    },
    Check {
        name: "line length",
        find: lengths::lines,
    },
    Check {
        name: "module documents",
        find: modules::documents,
    },
    Check {
        name: "module folders",
        find: modules::folders,
    },
    Check {
        name: "names",
        find: names::names,
    },
    Check {
        name: "left-overs",
        find: leftovers::leftovers,
    },
    Check {
        name: "attributes",
        find: attributes::attributes,
    },
    Check {
        name: "unsafe code",
        find: unsafety::places,
    },
    Check {
        name: "runtimes in sources",
        find: runtimes::sources,
    },
    Check {
        name: "runtimes in dependencies",
        find: layers::runtimes,
    },
    Check {
        name: "dependency direction",
        find: layers::directions,
    },
    Check {
        name: "cryptography",
        find: layers::cryptography,
    },
    Check {
        name: "schemas",
        find: schemas::schemas,
    },
    Check {
        name: "layout",
        find: layout::layout,
    },
    Check {
        name: "paths in documents",
        find: documents::paths,
    },
    Check {
        name: "strangers",
        find: strangers::strangers,
    },
    Check {
        name: "package sources",
        find: strangers::package_sources,
    },
    Check {
        name: "commits",
        find: commits::subjects,
    },
];
