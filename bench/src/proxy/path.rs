//! One connection through the proxy: two directions, each with its queue.
//!
//! Invariant: what was read is written in the order in which it came, or never.
//! Runs on: the task of the connection.

use super::{Fault, Kind, Ruling, Scope};
use crate::limits::{PROXY_CHUNK_BYTES, PROXY_QUEUE_BYTES};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, Instant};

/// Commands by which a client of Redis subscribes all end in this word; Redis reads commands in
/// any case.
const SUBSCRIBE: &[u8] = b"SUBSCRIBE";

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In order: one side ended it.
    Ended,
    /// By a reset of both sides.
    Reset,
    /// The server's side ends, the client's stays open without an answer.
    HalfOpen,
}

/// What a connection knows of the fault.
pub(super) struct Path {
    number: u64,
    ruling: watch::Receiver<Ruling>,
    is_subscriber: bool,
}

/// One direction.
struct Lane<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// Chunks with the time at which they may leave.
    queue: VecDeque<(Instant, Vec<u8>)>,
    queued_bytes: usize,
    /// Bytes of the first chunk that have left.
    written: usize,
    has_ended: bool,
    /// Bytes were thrown away.
    has_lost: bool,
    /// The word by which a client subscribes went by.
    has_subscribed: bool,
}

impl Path {
    pub(super) fn new(number: u64, ruling: watch::Receiver<Ruling>) -> Self {
        Self {
            number,
            ruling,
            is_subscriber: false,
        }
    }

    /// What the fault does to this connection now.
    pub(super) fn kind(&self) -> Kind {
        let ruling = *self.ruling.borrow();
        let Fault { kind, scope } = ruling.fault;
        let was_open = self.number < ruling.connections;
        let concerned = match scope {
            Scope::All => true,
            Scope::Open => was_open,
            Scope::Subscribers => was_open && self.is_subscriber,
        };
        if concerned {
            kind
        } else {
            Kind::Pass
        }
    }

    /// Waits while the fault is one of these; also over when the proxy is.
    pub(super) async fn wait_while(&mut self, holds: impl Fn(Kind) -> bool) {
        while holds(self.kind()) {
            if self.ruling.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads and forgets what the client sends, until it ends or the fault does.
    pub(super) async fn swallow(&mut self, client: &TcpStream) {
        let mut bytes = vec![0; PROXY_CHUNK_BYTES];
        while matches!(self.kind(), Kind::Drop | Kind::HalfOpen) {
            tokio::select! {
                changed = self.ruling.changed() => if changed.is_err() { return },
                read = read(client, &mut bytes) => if !matches!(read, Ok(1..)) { return },
            }
        }
    }

    /// Carries bytes until one side ends, or the fault wants another end.
    pub(super) async fn carry(&mut self, client: &TcpStream, server: &TcpStream) -> Verdict {
        let mut up = Lane::new(client, server);
        let mut down = Lane::new(server, client);
        loop {
            let kind = self.kind();
            match kind {
                Kind::Reset => return Verdict::Reset,
                Kind::HalfOpen => return Verdict::HalfOpen,
                Kind::Drop => {}
                _ if up.has_lost || down.has_lost => return Verdict::Reset,
                _ => {}
            }
            let step = tokio::select! {
                // A fault that was set before bytes came holds for them.
                biased;
                changed = self.ruling.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return Verdict::Ended,
                },
                step = up.step(kind) => step,
                step = down.step(kind) => step,
            };
            self.is_subscriber |= up.has_subscribed;
            if step.is_err() || up.is_over() || down.is_over() {
                return Verdict::Ended;
            }
        }
    }
}

impl<'a> Lane<'a> {
    fn new(from: &'a TcpStream, to: &'a TcpStream) -> Self {
        Self {
            from,
            to,
            queue: VecDeque::new(),
            queued_bytes: 0,
            written: 0,
            has_ended: false,
            has_lost: false,
            has_subscribed: false,
        }
    }

    /// The sender ended and everything of it has left.
    fn is_over(&self) -> bool {
        self.has_ended && self.queue.is_empty()
    }

    /// Reads, writes or waits once. Nothing is lost when it is dropped.
    async fn step(&mut self, kind: Kind) -> io::Result<()> {
        if kind == Kind::Stall {
            return std::future::pending().await;
        }
        let may_read = !self.has_ended && self.queued_bytes < PROXY_QUEUE_BYTES;
        let due = self.queue.front().map(|(due, _)| *due);
        let is_due = due.is_some_and(|due| due <= Instant::now());
        let wake = due.unwrap_or_else(Instant::now);
        tokio::select! {
            ready = self.from.readable(), if may_read => {
                ready?;
                self.take(kind)
            }
            ready = self.to.writable(), if is_due => {
                ready?;
                self.give()
            }
            () = sleep_until(wake), if due.is_some() && !is_due => Ok(()),
            else => std::future::pending().await,
        }
    }

    fn take(&mut self, kind: Kind) -> io::Result<()> {
        let mut bytes = vec![0; PROXY_CHUNK_BYTES];
        match self.from.try_read(&mut bytes) {
            Ok(0) => self.has_ended = true,
            Ok(_) if kind == Kind::Drop => self.has_lost = true,
            Ok(count) => {
                bytes.truncate(count);
                self.has_subscribed |= subscribes(&bytes);
                let delay = match kind {
                    Kind::Delay(time) => time,
                    _ => Duration::ZERO,
                };
                // Chunks leave from the front, so that a shorter delay than before lets no byte
                // overtake another.
                self.queued_bytes += bytes.len();
                self.queue.push_back((Instant::now() + delay, bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        let Some((_, bytes)) = self.queue.front() else {
            return Ok(());
        };
        match self.to.try_write(&bytes[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.written == bytes.len() {
            self.queued_bytes -= bytes.len();
            self.queue.pop_front();
            self.written = 0;
        }
        Ok(())
    }
}

/// A word that is cut between two reads is missed; clients send their commands in one piece.
fn subscribes(bytes: &[u8]) -> bool {
    let mut windows = bytes.windows(SUBSCRIBE.len());
    windows.any(|window| window.eq_ignore_ascii_case(SUBSCRIBE))
}

async fn read(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
