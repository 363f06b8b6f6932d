//! One TLS session without I/O.
//!
//! Purpose: the seam between the shard and rustls. Received bytes are decrypted where
//! they lie and handed on as plaintext; plaintext is encrypted to the end of a buffer
//! of the caller. The session holds no bytes but records that the socket has not taken.
//!
//! Invariants: bytes that [`TlsSession::open`] did not use come again, unchanged and in
//! front of new ones, in the next call, and are handed to every [`TlsSession::seal`]
//! meanwhile: rustls may have decrypted parts of them in place and remembers where.
//! Sealed bytes leave in the order in which they were sealed.
//!
//! Limits: `open` adds at most as many bytes of plaintext as it used of its input.
//!
//! Runs on: one shard at a time; it moves with its connection.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, WriteTraffic};
use rustls::{HandshakeKind, ServerConfig};

use super::error::TlsError;
use super::limits::{RECORD_OVERHEAD, RECORD_PLAIN_BYTES};

/// How a session goes on after bytes were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The peer may send more.
    Open,
    /// The peer has said that it sends nothing more.
    PeerClosed,
}

/// A server's session with one client.
pub struct TlsSession {
    connection: UnbufferedServerConnection,
    /// Records that wait for the socket.
    outgoing: Vec<u8>,
    sent: usize,
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("version", &self.connection.protocol_version())
            .field("waiting", &self.waiting().len())
            .finish()
    }
}

impl TlsSession {
    /// A session that waits for the client's first message.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection =
            UnbufferedServerConnection::new(Arc::clone(config)).map_err(TlsError::Configuration)?;
        Ok(Self {
            connection,
            outgoing: Vec::new(),
            sent: 0,
        })
    }

    /// Whether the handshake is not finished.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the client continued an earlier session by a ticket.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Records that wait for the socket, oldest first.
    pub fn waiting(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Notes that the socket took `sent` of the waiting bytes.
    pub fn advance(&mut self, sent: usize) {
        self.sent += sent;
        debug_assert!(self.sent <= self.outgoing.len());
        if self.sent >= self.outgoing.len() {
            // An idle session keeps no buffer.
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps records that the socket did not take.
    pub fn keep(&mut self, records: &[u8]) {
        self.outgoing.extend_from_slice(records);
    }

    /// Uses up received bytes: plaintext is appended to `plain`, and what the peer has to get
    /// for it waits in [`Self::waiting`]. Returns how many bytes were used, and how it goes on.
    ///
    /// # Errors
    /// [`TlsError::Peer`] when the peer broke the protocol; its alert waits to be sent.
    pub fn open(
        &mut self,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> (usize, Result<Opened, TlsError>) {
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
                            Err(error) => return (used, Err(TlsError::Peer(error))),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.outgoing);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    return (used, Ok(Opened::Open));
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    return (used, Ok(Opened::PeerClosed));
                }
                Ok(_) => return (used, Err(TlsError::State)),
                Err(error) => {
                    self.encode_alerts();
                    return (used, Err(TlsError::Peer(error)));
                }
            }
        }
    }

    /// What rustls wants to tell the peer about its error.
    fn encode_alerts(&mut self) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else {
                return;
            };
            encode(&mut data, &mut self.outgoing);
        }
    }

    /// Encrypts `plain` to the end of `out`. `held` are the received bytes that were not used.
    ///
    /// # Errors
    /// When the session has ended, or its keys are used up. `out` is as before then.
    pub fn seal(
        &mut self,
        held: &mut [u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let records = plain.len().div_ceil(RECORD_PLAIN_BYTES);
        let room = plain.len() + records * RECORD_OVERHEAD;
        self.write(held, out, room, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Encrypts the notice that nothing more will be sent to the end of `out`.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_end(&mut self, held: &mut [u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.write(held, out, RECORD_OVERHEAD, |traffic, out| {
            traffic.queue_close_notify(out)
        })
    }

    fn write(
        &mut self,
        held: &mut [u8],
        out: &mut Vec<u8>,
        room: usize,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        let mut start = out.len();
        loop {
            let status = self.connection.process_tls_records(held);
            debug_assert_eq!(status.discard, 0, "held bytes were looked at before");
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    out.resize(start + room, 0);
                    let mut written = write(&mut traffic, &mut out[start..]);
                    if let Err(EncryptError::InsufficientSize(size)) = &written {
                        // A key update leaves together with the data.
                        out.resize(start + size.required_size, 0);
                        written = write(&mut traffic, &mut out[start..]);
                    }
                    out.truncate(start + written.as_ref().map_or(0, |written| *written));
                    return written.map(drop).map_err(|_| TlsError::Exhausted);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    // It was made before the data and leaves before it.
                    encode(&mut data, out);
                    start = out.len();
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {}
                Ok(_) => return Err(TlsError::State),
                Err(error) => return Err(TlsError::Peer(error)),
            }
        }
    }
}

/// Appends what rustls has encoded.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    // The first call asks for the size.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        let written = data.encode(&mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}
