//! TLS of live connections: records in, records out.
//!
//! Purpose: the difference that TLS makes to a connection with a session. Received
//! records are decrypted where they lie and walked as frames; a planned send is
//! encrypted into the batch's own buffer just before it leaves.
//!
//! Invariants: a session has the index of its connection, which says [`SECURE`]; sealed records
//! leave before anything is sealed after them, so while records wait ([`SEALED`]) nothing else of
//! the connection is planned; bytes of an incomplete record lie in the pool of partial messages,
//! under its limits.
//!
//! Limits: one send seals at most [`SEAL_BYTES_MAX`].
//!
//! Thread: the shard.

use std::sync::Arc;

use interlink_uring::{Kernel, SendOutcome};
use rustls::ServerConfig;

use super::connection::{BLOCKED, CLOSE_WHEN_SENT, CLOSING, LAGGING, NONE, SEALED, SECURE};
use super::partials::Partial;
use super::Shard;
use crate::auth::Reader;
use crate::tls::limits::{HELD_BYTES_MAX, SEAL_BYTES_MAX};
use crate::tls::{Opened, Serving, TlsError, TlsSession};

/// A TLS session on its way to its home shard, and received bytes that it did not use.
#[derive(Debug)]
pub struct Secured {
    /// The session.
    pub session: Box<TlsSession>,
    /// The beginning of a record.
    pub held: Vec<u8>,
}

impl Secured {
    /// A session that has received nothing.
    pub fn new(session: TlsSession) -> Self {
        Self {
            session: Box::new(session),
            held: Vec::new(),
        }
    }

    /// Appends the plaintext of received bytes to `plain`.
    pub fn open(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, TlsError> {
        open(&mut self.session, &mut self.held, bytes, plain)
    }

    /// What has to be sent so that the peer reads `plain`, and then the end if that is so.
    pub fn seal(&mut self, plain: &[u8], ends: bool) -> Vec<u8> {
        let mut out = self.session.waiting().to_vec();
        self.session.advance(out.len());
        // Before the handshake is over there is nobody to read it.
        if !plain.is_empty() && !self.session.is_handshaking() {
            let sealed = self.session.seal(&mut self.held, plain, &mut out);
            if sealed.is_ok() && ends {
                // The end of the stream says the same.
                let _ = self.session.seal_end(&mut self.held, &mut out);
            }
        }
        out
    }
}

/// Decrypts in place where nothing was held, and keeps what was not used.
fn open(
    session: &mut TlsSession,
    held: &mut Vec<u8>,
    bytes: &mut [u8],
    plain: &mut Vec<u8>,
) -> Result<Opened, TlsError> {
    let opened = if held.is_empty() {
        let (used, opened) = session.open(bytes, plain);
        held.extend_from_slice(&bytes[used..]);
        opened
    } else {
        held.extend_from_slice(bytes);
        let (used, opened) = session.open(held, plain);
        held.drain(..used);
        opened
    };
    if held.len() > HELD_BYTES_MAX {
        return Err(TlsError::State);
    }
    opened
}

/// TLS sessions by the index of their connection.
#[derive(Debug, Default)]
pub struct SecureTable {
    /// What new connections are served with, if the node serves TLS.
    pub serving: Option<Reader<Arc<ServerConfig>>>,
    /// As long as the highest connection that had one; empty without TLS.
    sessions: Vec<Option<Box<TlsSession>>>,
    used: usize,
    /// Plaintext of the receive that is being handled.
    pub plain: Vec<u8>,
}

impl SecureTable {
    /// A table without sessions.
    pub fn new(serving: Option<&Arc<Serving>>) -> Self {
        Self {
            serving: serving.map(|serving| serving.reader()),
            ..Self::default()
        }
    }

    /// Whether no connection uses TLS.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn insert(&mut self, connection: u32, session: Box<TlsSession>) {
        let index = connection as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(session);
        self.used += 1;
    }

    fn get_mut(&mut self, connection: u32) -> Option<&mut TlsSession> {
        self.sessions.get_mut(connection as usize)?.as_deref_mut()
    }

    /// Records that wait for the socket of a connection.
    pub fn waiting(&self, connection: u32) -> &[u8] {
        match self.sessions.get(connection as usize) {
            Some(Some(session)) => session.waiting(),
            _ => &[],
        }
    }

    /// Forgets the session of a connection that has one.
    pub fn remove(&mut self, connection: u32) {
        if let Some(session) = self.sessions.get_mut(connection as usize) {
            self.used -= usize::from(session.take().is_some());
        }
    }
}

impl Shard {
    /// Gives a connection that has just been installed its TLS session.
    pub(super) fn secure(&mut self, connection: u32, secured: Secured) {
        let Secured { session, held } = secured;
        self.secure.insert(connection, session);
        self.connections[connection].set(SECURE);
        self.hold(connection, held);
        self.note_sealed(connection);
    }

    /// Takes bytes of a connection with TLS.
    pub(super) fn on_sealed_bytes(&mut self, connection: u32, bytes: &mut [u8]) {
        let entry = &self.connections[connection];
        let mut held = self.partials.take_sealed(entry.partial);
        let mut plain = std::mem::take(&mut self.secure.plain);
        plain.clear();
        let opened = match self.secure.get_mut(connection) {
            Some(session) => open(session, &mut held, bytes, &mut plain),
            None => Err(TlsError::State),
        };
        self.note_sealed(connection);
        self.hold(connection, held);
        if !plain.is_empty() {
            self.on_plain_bytes(connection, &mut plain);
        }
        self.secure.plain = plain;
        match opened {
            Ok(Opened::Open) => {}
            Ok(Opened::PeerClosed) => self.end_secure(connection, true),
            Err(_) => {
                self.counters.tls_failures += 1;
                self.end_secure(connection, false);
            }
        }
    }

    /// Keeps the beginning of a record until the rest comes.
    fn hold(&mut self, connection: u32, held: Vec<u8>) {
        let index = self.connections[connection].partial;
        if held.is_empty() && index == NONE {
            return;
        }
        let mut partial = match index {
            NONE => Partial::default(),
            index => self.partials.take(index),
        };
        partial.sealed = held;
        self.keep(connection, partial);
    }

    /// Lets records that the session made by itself, or that were not taken, leave first.
    fn note_sealed(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if !self.secure.waiting(connection).is_empty() {
            entry.set(SEALED);
            self.mark_ready(connection);
        }
    }

    /// Ends a connection whose TLS has ended: by the peer's notice, which is answered, or by
    /// an error, of which the alert waits. Nothing else can be said any more.
    fn end_secure(&mut self, connection: u32, answered: bool) {
        let entry = &self.connections[connection];
        if entry.flags & (CLOSING | CLOSE_WHEN_SENT) != 0 {
            return;
        }
        self.detach_session(connection);
        let entry = &mut self.connections[connection];
        self.queues.drop_queue(&mut entry.queue);
        entry.set(CLOSE_WHEN_SENT);
        if let Some(session) = self.secure.get_mut(connection).filter(|_| answered) {
            let mut out = Vec::new();
            let mut held = self.partials.take_sealed(entry.partial);
            if session.seal_end(&mut held, &mut out).is_ok() {
                session.keep(&out);
            }
        }
        self.partials
            .give(&mut self.connections[connection].partial);
        self.note_sealed(connection);
        if self.connections[connection].flags & (SEALED | BLOCKED) != SEALED {
            self.linger(connection);
        }
    }

    /// Seals what is planned for connections with TLS.
    pub(super) fn seal_batch(&mut self) {
        if self.secure.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut self.transmit.sealed);
        let mut secure = std::mem::take(&mut self.secure);
        out.clear();
        for index in 0..self.transmit.len() {
            let connection = self.transmit.connection(index);
            let entry = &self.connections[connection];
            if entry.flags & (SECURE | SEALED) != SECURE {
                continue;
            }
            let (ends, partial) = (entry.is(CLOSE_WHEN_SENT), entry.partial);
            let Some(session) = secure.get_mut(connection) else {
                continue;
            };
            let mut held = self.partials.take_sealed(partial);
            let plain = self.planned_bytes(index);
            let len = plain.len().min(SEAL_BYTES_MAX);
            let start = out.len();
            let sealed = session.seal(&mut held, &plain[..len], &mut out);
            if sealed.is_ok() && ends && len == plain.len() {
                // The end of the stream says the same.
                let _ = session.seal_end(&mut held, &mut out);
            }
            if len < plain.len() {
                // The rest is planned again after this.
                self.connections[connection].set(LAGGING);
            }
            self.transmit.seal(index, len, start..out.len());
            self.partials.put_sealed(partial, held);
        }
        self.secure = secure;
        self.transmit.sealed = out;
    }

    /// What became of sealed records: the plaintext in them is used up in any case, and what
    /// the socket did not take waits as records.
    pub(super) fn settle_sealed<K: Kernel>(
        &mut self,
        kernel: &mut K,
        connection: u32,
        records: std::ops::Range<usize>,
        outcome: SendOutcome,
    ) {
        let taken = match outcome {
            SendOutcome::Sent => records.len(),
            SendOutcome::Short(taken) => taken as usize,
            SendOutcome::Blocked => 0,
            SendOutcome::Failed(_) => return self.close_lost(connection),
        };
        self.counters.bytes_out += taken as u64;
        if taken == records.len() {
            return self.after_full_send(connection);
        }
        let entry = &mut self.connections[connection];
        if let Some(session) = self.secure.get_mut(connection) {
            session.keep(&self.transmit.sealed[records.start + taken..records.end]);
            entry.set(SEALED);
        }
        self.block(kernel, connection, taken > 0);
    }

    /// The socket took `sent` bytes of the waiting records.
    pub(super) fn advance_sealed(&mut self, connection: u32, sent: usize) {
        let entry = &mut self.connections[connection];
        let Some(session) = self.secure.get_mut(connection) else {
            return;
        };
        session.advance(sent);
        if session.waiting().is_empty() {
            entry.clear(SEALED);
        }
    }
}
