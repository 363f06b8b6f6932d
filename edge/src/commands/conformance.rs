//! `conformance`: the WebSocket codec and the ring without sessions.
//!
//! Runs on: the main thread, which waits for the server's own thread.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use crate::cli::ConformanceArguments;
use crate::exit::{CommandError, Exit};

/// Serves until the process is ended.
pub(super) fn run(arguments: &ConformanceArguments) -> Result<(), CommandError> {
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(
            crate::conformance::tls_of(certificate, key)
                .map_err(|error| CommandError::new(Exit::Config, error))?,
        ),
        _ => None,
    };
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    eprintln!(
        "echoing on {scheme}://{} until interrupted",
        arguments.listen
    );
    let stop = Arc::new(AtomicBool::new(false));
    crate::conformance::serve(arguments.listen, tls, stop)
        .map_err(|error| CommandError::new(Exit::Address, format!("{error:#}")))
}
