//! The bytes of a connection, within TLS or not.
//!
//! Purpose: what the connection reads and writes, without waiting inside, whichever of the two
//! it is.
//! Runs on: the task that owns it.

use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::address::Address;
#[cfg(feature = "tls")]
use super::secure::Secure;
use super::trust::Trust;
use crate::error::Loss;

/// An open socket, ready for HTTP.
pub(crate) enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over TCP, after its handshake.
    #[cfg(feature = "tls")]
    Secure(Box<Secure>),
}

impl Stream {
    /// Connects, and agrees on TLS where the address asks for it.
    pub(crate) async fn open(address: &Address, trust: &Trust) -> Result<Self, Loss> {
        let target = (&*address.host, address.port);
        let stream = TcpStream::connect(target).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if !address.is_tls {
            return Ok(Self::Plain(stream));
        }
        #[cfg(feature = "tls")]
        {
            let secure = Secure::open(&address.host, stream, trust).await?;
            Ok(Self::Secure(Box::new(secure)))
        }
        #[cfg(not(feature = "tls"))]
        {
            let refused = trust.check(true).err().map(|error| error.to_string());
            Err(Loss::Tls(refused.unwrap_or_default().into()))
        }
    }

    /// Waits until there is something to read or, if bytes wait to be written, room for them.
    pub(crate) async fn ready(&self, has_output: bool) -> io::Result<()> {
        let interest = match has_output {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        match self {
            Self::Plain(stream) => stream.ready(interest).await.map(drop),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.ready(interest).await,
        }
    }

    /// True while bytes that were taken have not left.
    pub(crate) fn has_output(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.has_output(),
        }
    }

    /// Reads what is there: 0 bytes at the end.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(into),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.try_read(into),
        }
    }

    /// Writes what the socket takes.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.try_write(bytes),
        }
    }

    /// Lets bytes leave that were taken, as far as the socket takes them; `ends` when no more
    /// will be written.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "TCP alone ends without a notice")
    )]
    pub(crate) fn try_flush(&mut self, ends: bool) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.try_flush(ends),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Loss> {
        while !bytes.is_empty() || self.has_output() {
            let taken = match bytes.is_empty() {
                true => self.try_flush(false).map(|()| 0),
                false => self.try_write(bytes),
            };
            match taken {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
            if !bytes.is_empty() || self.has_output() {
                self.writable().await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Waits for bytes and appends what fits into the room of `into`: 0 bytes at the end.
    pub(crate) async fn read_more(&mut self, into: &mut Vec<u8>) -> Result<usize, Loss> {
        let filled = into.len();
        into.resize(into.capacity().max(filled + 512), 0);
        let read = loop {
            match self.try_read(&mut into[filled..]) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
            self.ready(false).await.map_err(failed)?;
        };
        into.truncate(filled + read);
        Ok(read)
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.writable().await,
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.writable().await,
        }
    }
}

/// What an error of the socket means for the connection.
pub(crate) fn failed(error: io::Error) -> Loss {
    #[cfg(feature = "tls")]
    if let Some(loss) = super::secure::loss_of(&error) {
        return loss;
    }
    Loss::Io(error.to_string().into())
}
