//! Handing a node over to another process on the same host, without a lost event.
//!
//! Purpose: an old process (predecessor) and a new one (successor, `run --take-over`) agree on
//! who writes the journal and who accepts. They meet at the socket `hand-over` in the data
//! directory, which only the node's user may enter, so that nothing has to be configured and
//! nobody else can ask.
//!
//! ```text
//! successor                                     predecessor, which serves
//!   TakeOver(version)  ------------------------>
//!   <-------------------  Listener* Control Api Offered    with the listening sockets
//!   reads keys and certificates                   serves
//!   Prepared           ------------------------>
//!                                                 refuses new work for now, settles, writes
//!                                                 indexes, gives up the locks
//!   <------------------------------------------  Released
//!   locks, recovers, accepts
//!   Ready              ------------------------>
//!   serves                                        sends its clients away at the set rate, ends
//! ```
//!
//! The listening sockets themselves are passed, so that both processes have the same backlog:
//! who connects meanwhile waits in it, for `Welcome` or the answer to a request, and is neither
//! refused nor reset.
//!
//! Invariants: at most one process has the locks, and only who has them writes; before
//! `Released` the predecessor goes on serving when the successor is gone, and after it the
//! successor, or the next start, recovers everything from the journal; a successor whose
//! predecessor is gone goes on as if the node had been killed.
//!
//! Limits: `limits.rs`; one successor at a time.
//!
//! Runs on: the main thread of both; [`door`] has a thread in the predecessor.

pub mod door;
pub mod limits;
pub mod link;
pub mod successor;

#[cfg(test)]
mod tests;

pub use door::Door;
pub use successor::{Endpoints, Inherited, Successor};

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Name of the socket in the data directory.
const SOCKET: &str = "hand-over";

/// Version of this conversation. Another one is refused, so that a node is then restarted.
pub const VERSION: u8 = 2;

/// A path of the socket that is short enough for every data directory, since an address of a
/// socket has 107 bytes. It is valid as long as the returned directory is open.
fn socket_path(data: &Path) -> std::io::Result<(File, PathBuf)> {
    let directory = File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(SOCKET);
    Ok((directory, path))
}
