//! `demo`: two users chat on a node of their own; first a user is killed, then the node.
//!
//! Every process is real: the node and both users are children of this one, killed with
//! SIGKILL and started again. At the end both screens have to show every message once
//! and in order, or the command fails.
//!
//! Runs on: the main thread; each child's output is read by a thread of its own.

mod node;
mod screen;
mod story;
mod user;

pub(super) use user::run as run_user;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::DemoArguments;
use crate::exit::{CommandError, Exit};

/// Longest wait for anything that the demo expects: starts, reconnections, messages.
const PATIENCE: Duration = Duration::from_secs(15);

/// Tells the story; the temporary directory is removed in any case.
pub(super) fn run(arguments: &DemoArguments) -> Result<(), CommandError> {
    let directory = Directory::create()?;
    story::tell(arguments, &directory.path).inspect_err(|_| {
        let log = node::log_end(&directory.path);
        if !log.is_empty() {
            eprintln!("last lines of the node's log:\n{log}");
        }
    })
}

/// A temporary directory that is removed when the demo ends.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn create() -> Result<Self, CommandError> {
        let name = format!("interlink-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| {
            failed(format!(
                "cannot create {}: {error}; set TMPDIR to a directory that can be written",
                path.display()
            ))
        })?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        eprintln!("cannot remove {}: {error}", path.display());
    }
}

fn failed(cause: String) -> CommandError {
    CommandError::new(Exit::Failed, cause)
}
