//! TLS over a socket, without waiting inside.
//!
//! Purpose: after the handshake the session is driven by the readiness of the socket, like the
//! connection above it, so that a wait can be interrupted at any point.
//! Invariants: plaintext is encrypted only when earlier records have left, so at most one record
//! waits beside the connection's own buffer; everything decrypted is handed out before more is
//! read.
//! Runs on: the task that owns it.

use std::io::{self, Read, Write};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConnection};

use super::stream::failed;
use super::trust::Trust;
use crate::error::Loss;

/// Plaintext that is encrypted at once: one record (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// An agreed session and its socket.
pub(crate) struct Secure {
    stream: TcpStream,
    session: ClientConnection,
    /// Plaintext may wait in the session although the socket has nothing.
    unread: bool,
    ended: bool,
}

impl Secure {
    /// Shakes hands with the server of this name.
    pub(super) async fn open(host: &str, stream: TcpStream, trust: &Trust) -> Result<Self, Loss> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Loss::Tls(format!("{host:?}: {error}").into()))?;
        let connector = trust
            .connector()
            .map_err(|error| Loss::Tls(error.to_string().into()))?;
        let agreed = connector.connect(name, stream).await.map_err(failed)?;
        let (stream, session) = agreed.into_inner();
        Ok(Self {
            stream,
            session,
            unread: true,
            ended: false,
        })
    }

    /// Waits for the socket, unless plaintext is here already.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<()> {
        match self.unread {
            true => Ok(()),
            false => self.stream.ready(interest).await.map(drop),
        }
    }

    /// Waits until the socket takes bytes.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// True while records wait for the socket.
    pub(super) fn has_output(&self) -> bool {
        self.session.wants_write()
    }

    /// Reads plaintext: 0 bytes at the end, whether the server announced it or not, since it is
    /// the WebSocket close frame that says whether all was said.
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Ok(read) => {
                    self.unread = read > 0;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => self.unread = false,
            }
            self.session.read_tls(&mut Socket(&self.stream))?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert is a courtesy: the connection is over either way.
                let _ = self.try_flush(false);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Encrypts at most one record, if the one before has left.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.drain()?;
        let record = &bytes[..bytes.len().min(RECORD_BYTES)];
        let taken = self.session.writer().write(record)?;
        match self.drain() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes the records that wait, as far as the socket takes them, and, if it is to end,
    /// the notice of that.
    pub(super) fn try_flush(&mut self, ends: bool) -> io::Result<()> {
        if ends && !self.ended {
            self.ended = true;
            self.session.send_close_notify();
        }
        match self.drain() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Socket(&self.stream))?;
        }
        Ok(())
    }
}

/// A socket that says when it would block.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The loss that an error of TLS means; `None` for other errors.
pub(super) fn loss_of(error: &io::Error) -> Option<Loss> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(Loss::Tls(cause.to_string().into()))
}
