//! One client's TLS session without I/O.
//!
//! Invariants: bytes that rustls did not use are kept unchanged in front of new ones and are
//! handed to it with every call, since it may have decrypted parts of them in place; records
//! leave in the order in which they were made.
//!
//! Limits: [`TLS_HELD_BYTES_MAX`] of an incomplete record. Buffers are used again.
//! Runs on: the generator's thread.

use crate::limits::{
    POOLED_BUFFER_BYTES_MAX, TLS_HELD_BYTES_MAX, TLS_RECORD_BYTES, TLS_RECORD_OVERHEAD,
};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError};
use rustls::{ClientConfig, Error, HandshakeKind};
use std::sync::Arc;

/// How a session goes on after bytes were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The server may send more.
    Open,
    /// The server has said that it sends nothing more.
    PeerClosed,
}

/// A client's session with the server.
pub struct TlsClient {
    connection: UnbufferedClientConnection,
    /// The beginning of a record.
    held: Vec<u8>,
    /// Records that wait for the socket.
    waiting: Vec<u8>,
}

impl TlsClient {
    /// A session whose first record waits to be sent.
    pub fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let mut client = Self {
            connection: UnbufferedClientConnection::new(Arc::clone(config), name)?,
            held: Vec::new(),
            waiting: Vec::new(),
        };
        client.open(&mut [], &mut Vec::new())?;
        Ok(client)
    }

    /// Whether the handshake is not finished.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether an earlier session was continued by its ticket.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The server's own certificate, once it has come.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// Records that wait for the socket.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Notes that the socket took so many of the waiting bytes.
    pub fn advance(&mut self, taken: usize) {
        self.waiting.drain(..taken);
        if self.waiting.is_empty() && self.waiting.capacity() > POOLED_BUFFER_BYTES_MAX {
            self.waiting = Vec::new();
        }
    }

    /// Takes received bytes, whose plaintext is appended to `plain`. What the server has to get
    /// for them waits afterwards.
    pub fn open(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, Error> {
        if self.held.is_empty() {
            let (used, opened) = self.process(bytes, plain);
            self.held.extend_from_slice(&bytes[used..]);
            return self.bounded(opened);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let (used, opened) = self.process(&mut held, plain);
        held.drain(..used);
        self.held = held;
        self.bounded(opened)
    }

    fn bounded(&self, opened: Result<Opened, Error>) -> Result<Opened, Error> {
        if self.held.len() > TLS_HELD_BYTES_MAX {
            return Err(Error::General("a record above the limit".to_owned()));
        }
        opened
    }

    fn process(
        &mut self,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> (usize, Result<Opened, Error>) {
        let mut used = 0;
        loop {
            let status = self.connection.process_tls_records(&mut sealed[used..]);
            used += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                plain.extend_from_slice(record.payload);
                                used += record.discard;
                            }
                            Err(error) => return (used, Err(error)),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.waiting);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    return (used, Ok(Opened::Open));
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    return (used, Ok(Opened::PeerClosed));
                }
                Ok(_) => return (used, Err(Error::HandshakeNotComplete)),
                Err(error) => return (used, Err(error)),
            }
        }
    }

    /// Encrypts `plain` behind the waiting records.
    pub fn seal(&mut self, plain: &[u8]) -> Result<(), Error> {
        let records = plain.len().div_ceil(TLS_RECORD_BYTES);
        let room = plain.len() + records * TLS_RECORD_OVERHEAD;
        loop {
            let status = self.connection.process_tls_records(&mut self.held);
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = self.waiting.len();
                    self.waiting.resize(start + room, 0);
                    let mut written = traffic.encrypt(plain, &mut self.waiting[start..]);
                    if let Err(EncryptError::InsufficientSize(size)) = &written {
                        // A key update leaves together with the data.
                        self.waiting.resize(start + size.required_size, 0);
                        written = traffic.encrypt(plain, &mut self.waiting[start..]);
                    }
                    let length = written.as_ref().map_or(0, |length| *length);
                    self.waiting.truncate(start + length);
                    return written.map(drop).map_err(|_| Error::EncryptError);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    // It was made before the data and leaves before it.
                    encode(&mut data, &mut self.waiting);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {}
                Ok(_) => return Err(Error::HandshakeNotComplete),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Appends what rustls has encoded.
fn encode(data: &mut EncodeTlsData<'_, ClientConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    // The first call asks for the size.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        let written = data.encode(&mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}
