//! Exit codes of all commands, and errors that name cause and cure.
//!
//! Runs on: the main thread.

use std::fmt;
use std::process::ExitCode;

/// What an exit code means. The numbers are stable: scripts and service units use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped in order by a signal.
    Done = 0,
    /// Something failed that has no code of its own.
    Failed = 1,
    /// Wrong arguments; the message shows the usage. Given by the argument parser.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// The host lacks something: kernel feature, limit or permission.
    Host = 4,
    /// An address is in use or cannot be bound.
    Address = 5,
    /// The data directory is locked, unreadable or damaged.
    Data = 6,
    /// A server cannot be reached.
    Unreachable = 7,
    /// The server refused the token, the channel or the publish.
    Refused = 8,
    /// A part of the node ended by itself; the node stopped in order.
    Broken = 9,
}

impl Exit {
    /// All codes with their meaning, for `--help`.
    pub const TABLE: [(Self, &'static str); 10] = [
        (Self::Done, "done, or stopped in order by a signal"),
        (Self::Failed, "something failed that has no code of its own"),
        (Self::Usage, "wrong arguments"),
        (Self::Config, "the configuration is wrong"),
        (
            Self::Host,
            "the host lacks a kernel feature, a limit or a permission",
        ),
        (Self::Address, "an address is in use or cannot be bound"),
        (
            Self::Data,
            "the data directory is locked, unreadable or damaged",
        ),
        (Self::Unreachable, "a server cannot be reached"),
        (
            Self::Refused,
            "the server refused the token, the channel or the publish",
        ),
        (
            Self::Broken,
            "a part of the node ended by itself and the node stopped",
        ),
    ];

    /// The table as text.
    pub fn table() -> String {
        let lines = Self::TABLE.map(|(code, meaning)| format!("  {}  {meaning}", code as u8));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, with its exit code and what to do.
#[derive(Debug)]
pub struct CommandError {
    /// The code that the process ends with.
    pub exit: Exit,
    /// What happened.
    pub cause: String,
    /// What to do; empty when the cause says it.
    pub cure: String,
}

impl CommandError {
    /// An error whose cause already names the cure.
    pub fn new(exit: Exit, cause: impl fmt::Display) -> Self {
        Self {
            exit,
            cause: cause.to_string(),
            cure: String::new(),
        }
    }

    /// The same with a cure of its own.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        if !self.cure.is_empty() {
            write!(f, "\ncure: {}", self.cure)?;
        }
        Ok(())
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code_in_order() {
        for (index, (code, meaning)) in Exit::TABLE.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert!(!meaning.is_empty());
        }
    }
}
