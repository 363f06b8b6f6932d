//! Where a successor knocks: the predecessor's side of the socket.
//!
//! Purpose: listens on the socket in the data directory and passes on what a successor says, as
//! events of the main thread, which decides.
//!
//! Limits: one successor at a time; who says nothing for
//! [`ASK_PATIENCE`](super::limits::ASK_PATIENCE) is dropped.
//!
//! Runs on: a thread of its own named `hand-over`, which lives as long as the process.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::Sender;

use tracing::warn;

use super::limits::ASK_PATIENCE;
use super::link::{hear, Message};
use super::{socket_path, VERSION};
use crate::server::NodeEvent;

/// What a successor says.
#[derive(Debug)]
pub enum Heard {
    /// It wants to take over, and is reached by this.
    Called(UnixStream),
    /// It waits for the journal.
    Prepared,
    /// It accepts clients.
    Ready,
    /// It is gone, or speaks out of turn.
    Gone,
}

/// The listening socket of a predecessor.
#[derive(Debug)]
pub struct Door;

impl Door {
    /// Opens the socket in `data`, whose lock the caller holds, and starts to listen.
    ///
    /// # Errors
    /// When the socket cannot be made or the thread not started.
    pub fn open(data: &Path, events: Sender<NodeEvent>) -> io::Result<()> {
        let (_directory, path) = socket_path(data)?;
        // One that is left is of a process that has no lock any more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::thread::Builder::new()
            .name("hand-over".to_owned())
            .spawn(move || {
                for (number, stream) in listener.incoming().enumerate() {
                    let served = stream.and_then(|stream| serve(&stream, number, &events));
                    if let Err(error) = served {
                        warn!(%error, "a process that wanted to take over");
                    }
                }
            })?;
        Ok(())
    }
}

/// Passes on what the successor of that number says, until it is gone.
fn serve(stream: &UnixStream, number: usize, events: &Sender<NodeEvent>) -> io::Result<()> {
    let tell = |heard| {
        // Without a main thread the process is ending.
        let _ = events.send(NodeEvent::Successor { number, heard });
    };
    stream.set_read_timeout(Some(ASK_PATIENCE))?;
    match hear(stream)? {
        Some((Message::TakeOver(VERSION), _)) => tell(Heard::Called(stream.try_clone()?)),
        Some((Message::TakeOver(version), _)) => {
            return Err(io::Error::other(format!(
                "it speaks version {version} of the hand-over and this node version {VERSION}: \
                 stop this node and start the new one"
            )));
        }
        _ => return Ok(()),
    }
    stream.set_read_timeout(None)?;
    loop {
        match hear(stream) {
            Ok(Some((Message::Prepared, _))) => tell(Heard::Prepared),
            Ok(Some((Message::Ready, _))) => tell(Heard::Ready),
            Ok(_) => {
                tell(Heard::Gone);
                return Ok(());
            }
            Err(error) => {
                tell(Heard::Gone);
                return Err(error);
            }
        }
    }
}
