//! What the demo shows: short lines with a colour for each speaker.
//!
//! Runs on: the demo's main thread.

use std::io::IsTerminal;
use std::time::Duration;

/// Who a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// The first user.
    Ada,
    /// The second user.
    Bob,
    /// Something that happens to a process.
    Event,
    /// Explanation.
    Note,
}

/// The terminal.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    /// A screen with colours, unless they are not wanted or standard output is no terminal.
    pub(super) fn new(plain: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: !plain && !refused && std::io::stdout().is_terminal(),
        }
    }

    /// Shows a line.
    pub(super) fn line(&self, voice: Voice, text: &str) {
        let colour = match voice {
            Voice::Ada => "36",
            Voice::Bob => "33",
            Voice::Event => "1;31",
            Voice::Note => "2",
        };
        if self.colours {
            crate::commands::print(&format!("\x1b[{colour}m{text}\x1b[0m\n"));
        } else {
            crate::commands::print(&format!("{text}\n"));
        }
    }

    /// Shows a message and how long it took to the other screen.
    pub(super) fn message(&self, voice: Voice, name: &str, words: &str, took: Option<Duration>) {
        let took = took.map_or_else(String::new, |took| {
            format!("   ({:.1} ms)", took.as_secs_f64() * 1e3)
        });
        self.line(voice, &format!("  {name:>4} | {words}{took}"));
    }
}
