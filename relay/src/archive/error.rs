//! Why an archive did not answer, with the cure.

use crate::files::FilesError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The files of a single node could not be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is no connection to the archive. The request can be submitted again.
    #[error(
        "the archive cannot be reached: {cause}; it is tried again by itself, look at the \
             database's log if this stays"
    )]
    Lost {
        /// What the connection said.
        cause: String,
    },
    /// The archive is overloaded or has ended the call. The request can be submitted again.
    #[error(
        "the archive does not answer: {cause}; it is tried again by itself, look at the load \
             of the database if this stays"
    )]
    Away {
        /// What it said.
        cause: String,
    },
    /// Consumers have not yet archived what the answer depends on. The request can be
    /// submitted again.
    #[error(
        "the archive lags behind what was accepted; ask again, and look at the lag of the \
             group `archival` if this stays"
    )]
    Behind,
    /// The database answers that something is not as it must be.
    #[error(
        "the database refuses: {cause}; run the migrations of this version and check the \
             rights of its user"
    )]
    Setup {
        /// Its message.
        cause: String,
    },
    /// The values of this very request are refused; submitting it again is of no use.
    #[error("the database refuses the values of the request: {cause}")]
    Refused {
        /// Its message.
        cause: String,
    },
}

impl ArchiveError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
