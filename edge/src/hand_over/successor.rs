//! The new process: from `run --take-over` to serving.
//!
//! Purpose: [`Taking`] decides what comes next; [`Successor`] carries it out. A start without a
//! predecessor is the same way from `Locking` on.
//!
//! Invariant: nothing of the journal is read for good, and nothing accepted, before the locks are
//! held.
//!
//! Limits: the predecessor may take its `drain.settlement` and
//! [`RELEASE_PATIENCE`](super::limits::RELEASE_PATIENCE) until it gives up its locks.
//!
//! Runs on: the main thread.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use interlink_protocol::transitions;
use tracing::{info, warn};

use super::limits::{LOCK_PATIENCE, LOCK_RETRY, PREPARE_PATIENCE, RELEASE_PATIENCE};
use super::link::{hear, say, Message};
use super::{socket_path, VERSION};
use crate::data_dir::{DataDirectory, DataError};
use crate::exit::{CommandError, Exit};

transitions! {
    /// Where a process that takes over is.
    pub states Taking {
        /// It asks the predecessor for its sockets.
        Calling,
        /// It has them, and reads keys and certificates.
        Preparing,
        /// It waits for the journal.
        Awaiting,
        /// It takes the locks.
        Locking,
        /// It recovers the journal and starts its shards.
        Recovering,
        /// It accepts clients.
        Serving,
    }
    /// What happens to it.
    events Step {
        /// The predecessor has given its sockets.
        Offered,
        /// Nobody answers, or the predecessor is gone.
        Alone,
        /// Keys and certificates are read.
        Prepared,
        /// The predecessor has settled its journal and given up its locks.
        Released,
        /// The locks are held.
        Locked,
        /// Every shard accepts.
        Listening,
    }
    Offered(Calling => Preparing);
    Alone(Calling | Preparing | Awaiting => Locking);
    Prepared(Preparing => Awaiting);
    Released(Awaiting => Locking);
    Locked(Locking => Recovering);
    Listening(Recovering => Serving);
}

/// Sockets of the predecessor.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Those on which clients are accepted.
    pub clients: Vec<OwnedFd>,
    /// That of the control endpoint.
    pub control: Option<TcpListener>,
    /// That of the server API.
    pub api: Option<TcpListener>,
}

/// Listening sockets of the control thread, which a successor gets.
#[derive(Debug)]
pub struct Endpoints {
    /// That of the control endpoint.
    pub control: TcpListener,
    /// That of the server API.
    pub api: TcpListener,
}

impl Inherited {
    /// The address for clients that the configuration names, which has to be the predecessor's.
    ///
    /// # Errors
    /// When it is another one: its clients would come back to where nobody is.
    pub fn client_address(&self, wanted: SocketAddr) -> Result<Option<SocketAddr>, CommandError> {
        let Some(socket) = self.clients.first() else {
            return Ok(None);
        };
        let socket = socket.try_clone().map_err(broken)?;
        let address = TcpListener::from(socket).local_addr().map_err(broken)?;
        if wanted.port() != 0 && wanted != address {
            let cause = format!("the running node serves clients on {address}, not on {wanted}");
            return Err(CommandError::new(Exit::Address, cause)
                .cure("take over with the same listen.client_address, or stop the node first"));
        }
        Ok(Some(address))
    }

    /// The control socket if it is the one that the configuration names.
    pub fn take_control(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        self.control.take().filter(|it| listens_on(it, wanted))
    }

    /// The socket of the server API if it is the one that the configuration names.
    pub fn take_api(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        self.api.take().filter(|it| listens_on(it, wanted))
    }
}

fn listens_on(socket: &TcpListener, wanted: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|address| address == wanted)
}

/// A process on its way to serving.
#[derive(Debug)]
pub struct Successor {
    taking: Taking,
    stream: Option<UnixStream>,
    patience: Duration,
}

impl Successor {
    /// A start that takes over from nobody.
    pub fn alone() -> Self {
        Self {
            taking: Taking::Locking,
            stream: None,
            patience: Duration::ZERO,
        }
    }

    /// Asks the node on this data directory for its sockets; when no node answers, this is an
    /// ordinary start. `settlement` is how long a predecessor may settle.
    ///
    /// # Errors
    /// When a node answers and does not hand over.
    pub fn call(data: &Path, settlement: Duration) -> Result<(Self, Inherited), CommandError> {
        let mut successor = Self {
            taking: Taking::Calling,
            stream: None,
            patience: LOCK_PATIENCE,
        };
        let connected = socket_path(data).and_then(|(_directory, path)| UnixStream::connect(path));
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                info!(%error, "nobody to take over from");
                successor.step(Step::Alone);
                return Ok((successor, Inherited::default()));
            }
        };
        let wait = settlement + RELEASE_PATIENCE + PREPARE_PATIENCE;
        stream.set_read_timeout(Some(wait)).map_err(broken)?;
        let inherited = match ask(&stream) {
            Ok(Some(inherited)) => {
                info!(sockets = inherited.clients.len(), "taking over");
                successor.step(Step::Offered);
                inherited
            }
            Ok(None) => {
                successor.step(Step::Alone);
                Inherited::default()
            }
            Err(error) => return Err(broken(error)),
        };
        successor.stream = Some(stream);
        Ok((successor, inherited))
    }

    /// Whether the locks may be taken at once.
    pub fn is_alone(&self) -> bool {
        self.taking == Taking::Locking
    }

    /// Waits until the predecessor has given up its locks.
    ///
    /// # Errors
    /// When it does not do so in time.
    pub fn await_release(&mut self) -> Result<(), CommandError> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let heard = match say(stream, Message::Prepared, None) {
            Ok(()) => hear(stream),
            // It is gone.
            Err(_) => Ok(None),
        };
        self.step(Step::Prepared);
        match heard {
            Ok(Some((Message::Released, _))) => self.step(Step::Released),
            Ok(Some(_)) => return Err(broken(ErrorKind::InvalidData.into())),
            Ok(None) => {
                warn!("the predecessor has closed the hand-over: waiting for its lock");
                self.step(Step::Alone);
            }
            Err(error) => return Err(broken(error)),
        }
        Ok(())
    }

    /// Takes the lock of the data directory, which may come free in this moment.
    ///
    /// # Errors
    /// When another process keeps it.
    pub fn lock(&mut self, path: &Path) -> Result<DataDirectory, CommandError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match DataDirectory::open(path) {
                Ok(data) => {
                    self.step(Step::Locked);
                    return Ok(data);
                }
                Err(DataError::Locked { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(error) => return Err(CommandError::new(Exit::Data, error)),
            }
        }
    }

    /// Tells the predecessor that its clients may come.
    pub fn tell_ready(&mut self) {
        self.step(Step::Listening);
        if let Some(stream) = self.stream.take() {
            // One that is gone has no clients any more.
            let _ = say(&stream, Message::Ready, None);
        }
    }

    fn step(&mut self, step: Step) {
        let taken = self.taking.apply(step);
        debug_assert!(taken.is_ok(), "{taken:?}");
    }
}

/// The sockets of the predecessor; `None` when it is gone or refuses.
fn ask(stream: &UnixStream) -> io::Result<Option<Inherited>> {
    if say(stream, Message::TakeOver(VERSION), None).is_err() {
        return Ok(None);
    }
    let mut inherited = Inherited::default();
    loop {
        match hear(stream)? {
            None => return Ok(None),
            Some((Message::Listener, Some(socket))) => inherited.clients.push(socket),
            Some((Message::Control, Some(socket))) => {
                inherited.control = Some(TcpListener::from(socket));
            }
            Some((Message::Api, Some(socket))) => {
                inherited.api = Some(TcpListener::from(socket));
            }
            Some((Message::Offered, None)) => return Ok(Some(inherited)),
            Some(_) => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Offers the sockets of a predecessor.
///
/// # Errors
/// When the successor is gone.
pub fn offer(stream: &UnixStream, clients: &[OwnedFd], others: &Endpoints) -> io::Result<()> {
    for socket in clients {
        say(stream, Message::Listener, Some(socket.as_fd()))?;
    }
    say(stream, Message::Control, Some(others.control.as_fd()))?;
    say(stream, Message::Api, Some(others.api.as_fd()))?;
    say(stream, Message::Offered, None)
}

fn broken(error: io::Error) -> CommandError {
    CommandError::new(Exit::Failed, format!("the hand-over failed: {error}"))
        .cure("see the log of the running node, which may serve on; or stop it and start this one")
}
