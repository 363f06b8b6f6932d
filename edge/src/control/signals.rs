//! Passes SIGINT and SIGTERM to the main thread.
//!
//! Runs on: the control thread.

use std::sync::mpsc::Sender;

use tokio::signal::unix::{signal, SignalKind};

use crate::server::NodeEvent;

/// Passes signals on for ever; returns only when they cannot be received.
pub(super) async fn forward(events: &Sender<NodeEvent>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        // The main thread may have ended already.
        let _ = events.send(NodeEvent::Signal(name));
    }
}
