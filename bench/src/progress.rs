//! What the person at the terminal sees while a run is on: lines on standard error.
//!
//! Invariant: standard output belongs to the result alone.
//! Runs on: the bench's main thread.

use std::io::{IsTerminal, Write};

/// Writes progress; a line that changes is rewritten in place on a terminal.
pub struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    has_open_line: bool,
}

impl Progress {
    /// Progress on standard error; nothing when quiet.
    pub fn new(is_quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self {
            is_quiet,
            is_terminal,
            has_open_line: false,
        }
    }

    /// A line that stays.
    pub fn say(&mut self, words: impl AsRef<str>) {
        if self.is_quiet {
            return;
        }
        self.close_line();
        eprintln!("{}", words.as_ref());
    }

    /// A line that the next one replaces; not shown where lines cannot be replaced.
    pub fn update(&mut self, words: impl AsRef<str>) {
        if self.is_quiet || !self.is_terminal {
            return;
        }
        eprint!("\r\x1b[K{}", words.as_ref());
        // A progress line that cannot be shown is no reason to end a run.
        let _ = std::io::stderr().flush();
        self.has_open_line = true;
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.has_open_line) {
            eprint!("\r\x1b[K");
        }
    }
}
