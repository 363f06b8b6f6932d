//! What goes wrong with TLS.
//!
//! Runs on: any thread.

use std::path::PathBuf;

/// Why TLS material was refused, or why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} {problem}")]
    Material {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the cure.
        problem: String,
    },
    /// rustls does not take the configuration.
    #[error(
        "the TLS configuration is refused: {0}; check that tls.key belongs to tls.certificate"
    )]
    Configuration(rustls::Error),
    /// The peer broke the protocol, or offered nothing that is served; it was told by an alert.
    #[error("the peer's TLS is refused: {0}")]
    Peer(rustls::Error),
    /// The keys of the session are used up (RFC 8446, section 5.5); it has to reconnect.
    #[error("the keys of the TLS session are used up; the client has to reconnect")]
    Exhausted,
    /// The session is in a state in which this cannot be done, such as sending after its end.
    #[error("the TLS session does not take data in its state")]
    State,
}

impl TlsError {
    /// A file with this problem.
    pub fn material(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Material {
            path: path.into(),
            problem: problem.into(),
        }
    }
}
