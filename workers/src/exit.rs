//! Exit codes of all commands, and errors that name cause and cure.
//!
//! Runs on: the main thread.

use std::fmt;
use std::process::ExitCode;

/// What an exit code means. The numbers are those of `interlink-edge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The configuration is wrong.
    Config = 3,
    /// A server cannot be reached.
    Unreachable = 7,
    /// A server, or a rule of this program, refused what was asked.
    Refused = 8,
}

impl Exit {
    /// The codes with their meaning, for `--help`.
    pub const TABLE: &'static str = "Exit codes:
  0  done, or stopped in order by a signal
  1  something failed that has no code of its own
  2  wrong arguments
  3  the configuration is wrong
  7  a server cannot be reached
  8  a server, or a rule of this program, refused what was asked";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct CommandError {
    /// The code that the process ends with.
    pub exit: Exit,
    /// What happened, and what to do.
    pub cause: String,
}

impl CommandError {
    /// An error with a code.
    pub fn new(exit: Exit, cause: impl fmt::Display) -> Self {
        Self {
            exit,
            cause: cause.to_string(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)
    }
}

impl std::error::Error for CommandError {}
