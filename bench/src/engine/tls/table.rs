//! The TLS sessions of a fleet, by client.
//!
//! Invariant: a client of a fleet with TLS has a session from its connection's first byte to its
//! last one.
//! Runs on: the generator's thread.

use super::client::{Opened, TlsClient};
use super::config::SERVER_NAME;
use crate::engine::stream::Stream;
use crate::engine::workload::{EndCause, Workload};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error};
use std::sync::Arc;

/// What a finished handshake has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured<'a> {
    /// The server's certificate (DER); of a continued session that of the first one.
    pub certificate: &'a [u8],
    /// An earlier session was continued.
    pub is_resumed: bool,
}

/// Sessions by client.
pub(in crate::engine) struct SecureTable {
    config: Arc<ClientConfig>,
    sessions: Vec<Option<Box<TlsClient>>>,
    /// Plaintext of the receive that is being handled.
    plain: Vec<u8>,
}

impl SecureTable {
    /// A table without sessions, for so many clients.
    pub fn new(config: &Arc<ClientConfig>, clients: u32) -> Self {
        Self {
            config: Arc::clone(config),
            sessions: (0..clients).map(|_| None).collect(),
            plain: Vec::new(),
        }
    }

    /// Gives a client that is being connected its session.
    pub fn begin(&mut self, client: u32) -> Result<(), EndCause> {
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|_| EndCause::Protocol("the server's name is none"))?;
        let session = TlsClient::new(&self.config, name).map_err(|error| cause(&error))?;
        self.sessions[client as usize] = Some(Box::new(session));
        Ok(())
    }

    /// Forgets the session of a client.
    pub fn end(&mut self, client: u32) {
        self.sessions[client as usize] = None;
    }

    /// The session of a client.
    pub fn get(&self, client: u32) -> Option<&TlsClient> {
        self.sessions[client as usize].as_deref()
    }

    /// The session of a client.
    pub fn get_mut(&mut self, client: u32) -> Option<&mut TlsClient> {
        self.sessions[client as usize].as_deref_mut()
    }

    /// Takes received bytes and hands their plaintext to the stream of the client.
    pub fn take<W: Workload>(
        &mut self,
        client: u32,
        bytes: &mut [u8],
        stream: &mut Stream<'_, W>,
    ) -> Result<(), EndCause> {
        let Some(session) = self.sessions[client as usize].as_deref_mut() else {
            return Err(EndCause::Protocol("bytes without a TLS session"));
        };
        let was_handshaking = session.is_handshaking();
        self.plain.clear();
        let opened = session.open(bytes, &mut self.plain);
        let is_secured = was_handshaking && !session.is_handshaking();
        if is_secured || !session.waiting().is_empty() {
            stream.link.mark_ready(client);
        }
        if is_secured {
            let secured = Secured {
                certificate: session.certificate().map_or(&[], |der| der.as_ref()),
                is_resumed: session.is_resumed(),
            };
            stream.workload.on_secured(stream.link, client, secured);
        }
        if !self.plain.is_empty() {
            stream.take(client, &self.plain)?;
        }
        match opened {
            Ok(Opened::Open) => Ok(()),
            Ok(Opened::PeerClosed) => Err(EndCause::Closed),
            Err(error) => Err(cause(&error)),
        }
    }

    /// Encrypts what is to be sent, once the handshake is over; false when it is not.
    pub fn seal(&mut self, client: u32, plain: &[u8]) -> Result<bool, EndCause> {
        let Some(session) = self.get_mut(client) else {
            return Err(EndCause::Protocol("bytes without a TLS session"));
        };
        if session.is_handshaking() {
            return Ok(false);
        }
        session.seal(plain).map_err(|error| cause(&error))?;
        Ok(true)
    }
}

/// Why TLS ended a connection.
fn cause(error: &Error) -> EndCause {
    EndCause::Protocol(match error {
        Error::AlertReceived(_) => "the server ended TLS by an alert",
        Error::InvalidCertificate(_) => "the server's certificate is not one of the run",
        Error::EncryptError => "the keys of the TLS session are used up",
        _ => "bytes that are no TLS of this session",
    })
}
