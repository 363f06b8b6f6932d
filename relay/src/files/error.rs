//! What can go wrong with the files of a journal, with the cure.

use std::io;
use std::path::{Path, PathBuf};

/// Why the files side could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The operating system refused something.
    #[error("cannot {action} {path}: {source}; check that the disk is not full and that the \
             directory belongs to the user that runs the node", path = path.display())]
    Access {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process has the journal open.
    #[error("journal {path} is in use by another process: stop it, or give this node another \
             data directory", path = path.display())]
    Locked {
        /// The journal's directory.
        path: PathBuf,
    },
    /// A file that identifies the node or a boot does not say what it should.
    #[error("{path} is not readable as {what}: restore it from a backup, or move the whole \
             journal directory away to start empty", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
}

impl FilesError {
    /// For `map_err` on input and output.
    pub(crate) fn access(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> FilesError + use<> {
        let path = path.to_path_buf();
        move |source| FilesError::Access {
            action,
            path,
            source,
        }
    }
}
