//! TLS of connections that have not finished `Hello`.
//!
//! Purpose: between the single receives and sends of the handshake stands a TLS
//! session if the node serves TLS. Its own handshake has no stage: it runs within
//! the time for the request, since the request is what it has to bring.
//!
//! Limits: those of the handshake, and `HELD_BYTES_MAX` of an incomplete record.
//!
//! Thread: the shard that accepted.

use std::os::fd::AsRawFd;

use interlink_uring::Kernel;

use super::handshake::Next;
use super::secure::Secured;
use super::Shard;
use crate::tls::{Opened, TlsError, TlsSession};

impl Shard {
    /// The TLS session of a new connection, if the node serves TLS.
    pub(super) fn new_secured(&mut self) -> Result<Option<Secured>, TlsError> {
        let Some(serving) = &mut self.secure.serving else {
            return Ok(None);
        };
        serving.update();
        TlsSession::new(serving).map(|session| Some(Secured::new(session)))
    }

    /// Bytes of a handshake inside of TLS.
    pub(super) fn on_secure_handshake(
        &mut self,
        slot: u32,
        mut secured: Secured,
        bytes: &mut [u8],
    ) -> Next {
        let mut plain = std::mem::take(&mut self.secure.plain);
        plain.clear();
        let began = secured.session.is_handshaking();
        let opened = secured.open(bytes, &mut plain);
        if began && !secured.session.is_handshaking() {
            match secured.session.is_resumed() {
                true => self.counters.tls_resumed += 1,
                false => self.counters.tls_full += 1,
            }
        }
        self.handshake_mut(slot).secure = Some(secured);
        let next = match opened {
            Ok(Opened::Open) if plain.is_empty() => Next::Receive(slot),
            Ok(Opened::PeerClosed) if plain.is_empty() => Next::AnswerAndDrop(slot, Vec::new()),
            Ok(_) => self.step_handshake(slot, &mut plain),
            Err(_) => {
                // The alert waits in the session and is all of the answer.
                self.counters.tls_failures += 1;
                Next::AnswerAndDrop(slot, Vec::new())
            }
        };
        self.secure.plain = plain;
        next
    }

    /// Sends `answer`, after what the TLS session has to say by itself. Whether all of it
    /// was taken.
    pub(super) fn answer<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slot: u32,
        answer: &[u8],
        ends: bool,
    ) -> bool {
        let handshake = self.handshake_mut(slot);
        let descriptor = handshake.descriptor.as_raw_fd();
        match &mut handshake.secure {
            None => answer.is_empty() || self.send_whole(kernel, descriptor, answer),
            Some(secured) => {
                let sealed = secured.seal(answer, ends);
                sealed.is_empty() || self.send_whole(kernel, descriptor, &sealed)
            }
        }
    }

    /// Whether bytes of this handshake can be read by its client.
    pub(super) fn is_readable(&mut self, slot: u32) -> bool {
        let secure = &self.handshake_mut(slot).secure;
        !matches!(secure, Some(secured) if secured.session.is_handshaking())
    }
}
