//! The conformance server: the edge's codec and ring, echoing whatever comes.
//!
//! Purpose: RFC 6455 test suites and the codec measurement need a server that
//! accepts any path, without subprotocol or token, and echoes messages of up to
//! 16 MiB, in plaintext or within TLS. Only the I/O is here; every decision is
//! `EchoConnection`'s, and TLS is `TlsSession`'s.
//!
//! Limits: a connection whose echo waits for more than [`PENDING_PAUSE`] bytes is
//! not read until the peer has taken them.
//!
//! Runs on: one shard thread under glommio, like a node's shard.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use interlink_protocol::websocket::echo::Next as EchoNext;
use interlink_protocol::websocket::EchoConnection;
use interlink_uring::driver::{Next, Turn};
use interlink_uring::{
    EndReason, Event, Kernel, Received, RingGroup, Send, SendOutcome, SendTarget, SocketId,
};
use rustls::ServerConfig;

use crate::server::unix_seconds;
use crate::tls::limits::HELD_BYTES_MAX;
use crate::tls::{
    server_config, Certificates, Opened, TicketKeys, TicketSecret, TlsError, TlsSession,
};

/// Echoes that wait beyond this stop the reading.
pub const PENDING_PAUSE: usize = 1 << 20;
/// Sends in one submission.
const BATCH: usize = 32;
/// Completions that one turn takes.
const EVENTS_PER_TURN: usize = 64;
/// Accepts that wait in the kernel.
const ACCEPTS_ARMED: usize = 32;
/// Life of the only ticket key: longer than any test.
const TICKET_LIFE: Duration = Duration::from_secs(86_400);
/// Longest sleep, so that a stop is noticed.
const SLEEP_NS: u64 = 200_000_000;

/// One client.
#[derive(Debug, Default)]
struct Client {
    echo: EchoConnection,
    /// TLS, if the server speaks it, with received bytes that it did not use.
    secure: Option<(Box<TlsSession>, Vec<u8>)>,
    /// What the socket has not taken yet.
    pending: Vec<u8>,
    blocked: bool,
    paused: bool,
    ending: bool,
}

impl Client {
    /// Takes received bytes and appends the answer; whether the connection ends after it.
    fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> bool {
        let Some((session, held)) = &mut self.secure else {
            return self.echo.receive(bytes, out) == EchoNext::Close;
        };
        let (mut plain, mut echoed) = (Vec::new(), Vec::new());
        held.extend_from_slice(bytes);
        let (used, opened) = session.open(held, &mut plain);
        held.drain(..used);
        out.extend_from_slice(session.waiting());
        session.advance(session.waiting().len());
        let mut ends = !matches!(opened, Ok(Opened::Open)) || held.len() > HELD_BYTES_MAX;
        if !plain.is_empty() {
            ends |= self.echo.receive(&mut plain, &mut echoed) == EchoNext::Close;
        }
        // An empty echo has nothing to seal; after an error nothing more can be said.
        let sealed = echoed.is_empty() || session.seal(held, &echoed, out).is_ok();
        if ends && sealed && opened.is_ok() {
            // The end of the stream says the same.
            let _ = session.seal_end(held, out);
        }
        ends || !sealed
    }
}

/// An answer of this turn: a range of the shared buffer.
#[derive(Debug, Clone, Copy)]
struct Answer {
    socket: SocketId,
    start: usize,
    end: usize,
}

/// The echo server as a machine for the shard driver.
#[derive(Debug)]
pub struct EchoServer {
    clients: HashMap<SocketId, Client>,
    descriptors: Vec<OwnedFd>,
    installed: Vec<Result<SocketId, i32>>,
    answers: Vec<Answer>,
    bytes: Vec<u8>,
    outcomes: Vec<SendOutcome>,
    tls: Option<Arc<ServerConfig>>,
    stop: Arc<AtomicBool>,
}

impl EchoServer {
    /// A server without clients, until `stop` is set.
    pub fn new(tls: Option<Arc<ServerConfig>>, stop: Arc<AtomicBool>) -> Self {
        Self {
            clients: HashMap::new(),
            descriptors: Vec::new(),
            installed: Vec::new(),
            answers: Vec::new(),
            bytes: Vec::new(),
            outcomes: Vec::new(),
            tls,
            stop,
        }
    }

    fn on_event<K: Kernel>(&mut self, kernel: &mut K, event: Event) {
        match event {
            Event::Accepted { descriptor, .. } => self.descriptors.push(descriptor),
            Event::Received { socket, bytes } => self.on_bytes(kernel, socket, &bytes),
            Event::Writable { socket } => self.on_writable(kernel, socket),
            Event::ReceiveEnded { socket, reason } if reason != EndReason::Stopped => {
                self.clients.remove(&socket);
                kernel.close(socket);
            }
            _ => {}
        }
    }

    fn on_bytes<K: Kernel>(&mut self, kernel: &mut K, socket: SocketId, received: &Received) {
        if self
            .answers
            .last()
            .is_some_and(|answer| answer.socket == socket)
            || self.answers.len() >= BATCH
        {
            self.flush(kernel);
        }
        let Some(client) = self.clients.get_mut(&socket) else {
            return;
        };
        if client.ending {
            return;
        }
        let start = self.bytes.len();
        client.ending = client.receive(kernel.bytes_mut(received), &mut self.bytes);
        if client.blocked {
            client.pending.extend_from_slice(&self.bytes[start..]);
            self.bytes.truncate(start);
            if client.pending.len() > PENDING_PAUSE && !client.paused {
                client.paused = true;
                kernel.stop_receive(socket);
            }
        } else if self.bytes.len() > start {
            let end = self.bytes.len();
            self.answers.push(Answer { socket, start, end });
        } else if client.ending {
            self.clients.remove(&socket);
            kernel.close(socket);
        }
    }

    /// Sends the answers of this turn, one send a socket.
    fn flush<K: Kernel>(&mut self, kernel: &mut K) {
        let mut first = 0;
        while first < self.answers.len() {
            let mut last = first;
            let mut seen: [SocketId; BATCH] = [SocketId::NONE; BATCH];
            while last < self.answers.len()
                && last - first < BATCH
                && !seen[..last - first].contains(&self.answers[last].socket)
            {
                seen[last - first] = self.answers[last].socket;
                last += 1;
            }
            self.send(kernel, first, last);
            first = last;
        }
        self.answers.clear();
        self.bytes.clear();
    }

    fn send<K: Kernel>(&mut self, kernel: &mut K, first: usize, last: usize) {
        let count = last - first;
        let batch: [Send<'_>; BATCH] = std::array::from_fn(|index| {
            let answer = self.answers[first + index.min(count - 1)];
            let bytes = &self.bytes[answer.start..answer.end];
            Send {
                target: SendTarget::Socket(answer.socket),
                bytes,
            }
        });
        let mut outcomes = std::mem::take(&mut self.outcomes);
        kernel.send(&batch[..count], &mut outcomes);
        for (index, outcome) in outcomes.iter().enumerate() {
            let answer = self.answers[first + index];
            self.settle(kernel, answer, *outcome);
        }
        self.outcomes = outcomes;
    }

    fn settle<K: Kernel>(&mut self, kernel: &mut K, answer: Answer, outcome: SendOutcome) {
        let Some(client) = self.clients.get_mut(&answer.socket) else {
            return;
        };
        let taken = match outcome {
            SendOutcome::Sent => answer.end - answer.start,
            SendOutcome::Short(taken) => taken as usize,
            SendOutcome::Blocked => 0,
            SendOutcome::Failed(_) => {
                self.clients.remove(&answer.socket);
                return kernel.close(answer.socket);
            }
        };
        let rest = &self.bytes[answer.start + taken..answer.end];
        client.pending.extend_from_slice(rest);
        if !rest.is_empty() {
            client.blocked = true;
            kernel.poll_writable(answer.socket);
        } else if client.ending && client.pending.is_empty() {
            self.clients.remove(&answer.socket);
            kernel.close(answer.socket);
        }
    }

    fn on_writable<K: Kernel>(&mut self, kernel: &mut K, socket: SocketId) {
        let Some(client) = self.clients.get_mut(&socket) else {
            return;
        };
        let target = SendTarget::Socket(socket);
        let bytes = &client.pending;
        kernel.send(&[Send { target, bytes }], &mut self.outcomes);
        match self.outcomes.first() {
            Some(SendOutcome::Sent) => {
                client.pending = Vec::new();
                client.blocked = false;
                if client.ending {
                    self.clients.remove(&socket);
                    kernel.close(socket);
                } else if std::mem::take(&mut client.paused) {
                    kernel.arm_receive(socket);
                }
            }
            Some(SendOutcome::Short(taken)) => {
                client.pending.drain(..*taken as usize);
                kernel.poll_writable(socket);
            }
            Some(SendOutcome::Blocked) => kernel.poll_writable(socket),
            _ => {
                self.clients.remove(&socket);
                kernel.close(socket);
            }
        }
    }

    fn install<K: Kernel>(&mut self, kernel: &mut K) {
        if self.descriptors.is_empty() {
            return;
        }
        kernel.install(
            RingGroup::Common,
            &mut self.descriptors,
            &mut self.installed,
        );
        for socket in self.installed.iter().flatten() {
            let secure = match &self.tls {
                None => None,
                Some(config) => match TlsSession::new(config) {
                    Ok(session) => Some((Box::new(session), Vec::new())),
                    Err(_) => {
                        kernel.close(*socket);
                        continue;
                    }
                },
            };
            let client = Client {
                secure,
                ..Client::default()
            };
            self.clients.insert(*socket, client);
            kernel.arm_receive(*socket);
        }
    }
}

impl Turn for EchoServer {
    fn turn(&mut self, kernel: &mut impl Kernel, now_ns: u64) -> Next {
        kernel.accept(0, ACCEPTS_ARMED);
        let mut taken = 0;
        while taken < EVENTS_PER_TURN {
            let Some(event) = kernel.next_event() else {
                break;
            };
            self.on_event(kernel, event);
            taken += 1;
        }
        self.flush(kernel);
        self.install(kernel);
        if self.stop.load(Ordering::Relaxed) {
            return Next::Stop;
        }
        if taken > 0 || !self.descriptors.is_empty() {
            return Next::Again;
        }
        Next::SleepUntil(Some(now_ns + SLEEP_NS))
    }
}

/// The TLS of a server with one certificate.
///
/// # Errors
/// When a file cannot be used.
pub fn tls_of(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = Certificates::read(&[(certificate.to_owned(), key.to_owned())])?;
    let secret = TicketSecret::random()?;
    let tickets = TicketKeys::at(&secret, unix_seconds(), TICKET_LIFE);
    server_config(certificates, tickets)
}

/// Runs the server on `address` until the process is asked to stop.
///
/// # Errors
/// When the address is taken or the kernel lacks a feature.
pub fn serve(
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    crate::shard::start::serve_machine(address, move || EchoServer::new(tls, stop))
}
