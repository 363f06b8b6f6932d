//! What can be wrong with a configuration; every message names place, cause and cure.
//!
//! Runs on: the main thread.

use std::fmt;

use super::nearest::Suggestion;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line and column of a file, both from 1.
    File {
        /// Path as it was given.
        path: String,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command line argument.
    Argument(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Argument(name) => write!(f, "argument {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}; check the path given to --config and its permissions")]
    Unreadable {
        /// Path as it was given.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        reason: String,
    },
    /// There is no section of this name.
    #[error("{place}: there is no section [{name}]; {suggestion}")]
    UnknownSection {
        /// Where.
        place: Place,
        /// The name that was given.
        name: String,
        /// The nearest one that exists.
        suggestion: Suggestion,
    },
    /// The section has no such key.
    #[error("{place}: there is no property {path}; {suggestion}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// Section and key that were given.
        path: String,
        /// The nearest one that exists.
        suggestion: Suggestion,
    },
    /// The priority of a namespace was to be changed.
    #[error(
        "{place}: {path} cannot be set: a namespace's priority is part of the protocol; \
         publish to a namespace that has the wanted priority"
    )]
    FixedPriority {
        /// Where.
        place: Place,
        /// The path that was given.
        path: String,
    },
    /// The value is not of the property's kind.
    #[error("{place}: {path} does not take {found}; write {wanted}, for example {example}")]
    WrongKind {
        /// Where.
        place: Place,
        /// The property.
        path: String,
        /// The value that was given.
        found: String,
        /// How its values are written.
        wanted: String,
        /// An example from the declaration.
        example: String,
    },
    /// The value is too small or too large.
    #[error("{place}: {path} = {found} is out of bounds; choose a value from {bounds}")]
    OutOfBounds {
        /// Where.
        place: Place,
        /// The property.
        path: String,
        /// The value that was given.
        found: String,
        /// The allowed range.
        bounds: String,
    },
    /// Values that exclude each other, or that would be unsafe.
    #[error("{path}: {problem}; {cure}")]
    Conflict {
        /// The property to change first.
        path: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        cure: String,
    },
}

/// All errors of one load, so that one run shows all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
