//! The conformance echo: one connection that answers every message with itself.
//!
//! The public conformance suites drive a server that echoes. This is that server without its
//! I/O: bytes in, bytes out, over the same [`Reader`] that carries sessions. It differs from a
//! session in its limits only, and takes text as well.
//!
//! Invariants: between two calls it keeps at most one open message and
//! [`CARRIED_BYTES_MAX`] unread bytes (a head up to the handshake limit before that); what it
//! writes per call is bounded by what it read plus one message. A failed connection gets one close
//! frame and reads no more.
//!
//! Limits: [`Limits::CONFORMANCE`]. Runs on: any thread.

use super::assembler::Assembler;
use super::close::{self, CloseEvent, CloseState};
use super::frame::{append_server_frame, ControlKind, Opcode};
use super::handshake::{self, HandshakeLimits, HeadScan};
use super::limits::{Limits, CARRIED_BYTES_MAX};
use super::reader::{Reader, Step};
use super::Violation;

/// Buffer that a connection keeps between large messages.
const KEPT_BYTES: usize = 64 * 1024;

/// What the driver does after it has written the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read more.
    Read,
    /// Close the socket; the peer gets nothing more from us.
    Close,
}

/// One connection of the conformance server, from the first byte of its opening handshake.
#[derive(Debug)]
pub struct EchoConnection {
    phase: Phase,
    /// Bytes that no step could use yet: a cut head, header or control frame.
    carried: Vec<u8>,
    limits: Limits,
}

#[derive(Debug)]
enum Phase {
    Handshake(HeadScan),
    Frames(Echo),
    Ended,
}

/// The part after the opening handshake.
#[derive(Debug)]
struct Echo {
    reader: Reader,
    assembler: Assembler,
    close: CloseState,
}

impl Default for EchoConnection {
    fn default() -> Self {
        Self::new(Limits::CONFORMANCE)
    }
}

impl EchoConnection {
    /// A connection that waits for its opening handshake.
    ///
    /// # Panics
    /// When `limits` is not valid.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        assert!(limits.is_valid(), "limits out of range: {limits:?}");
        EchoConnection {
            phase: Phase::Handshake(HeadScan::new()),
            carried: Vec::new(),
            limits,
        }
    }

    /// A connection whose opening handshake is already done.
    #[must_use]
    pub fn opened(limits: Limits) -> Self {
        let mut connection = Self::new(limits);
        connection.phase = Phase::Frames(Echo::new());
        connection
    }

    /// Takes received bytes (they are unmasked in place) and appends the answer to `out`.
    pub fn receive(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Next {
        match self.phase {
            Phase::Handshake(scan) => self.receive_head(scan, input, out),
            Phase::Frames(_) => self.receive_frames(input, out),
            Phase::Ended => Next::Close,
        }
    }

    /// Whether the connection is done and its socket is to be closed.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn receive_head(&mut self, mut scan: HeadScan, input: &mut [u8], out: &mut Vec<u8>) -> Next {
        let limits = HandshakeLimits::DEFAULT;
        let before = self.carried.len();
        let taken = input.len().min(limits.header_bytes - before);
        self.carried.extend_from_slice(&input[..taken]);
        let parsed = match scan.advance(&self.carried, &limits) {
            Ok(Some(length)) => {
                handshake::parse_head(&self.carried[..length], &limits).map(|head| (length, head))
            }
            Ok(None) => {
                self.phase = Phase::Handshake(scan);
                return Next::Read;
            }
            Err(error) => Err(error),
        };
        match parsed {
            Ok((length, request)) => {
                handshake::write_accept(&request, None, out);
                self.carried.clear();
                self.phase = Phase::Frames(Echo::new());
                // The head ends in this input, or an earlier call would have found its end.
                self.receive_frames(&mut input[length - before..], out)
            }
            Err(error) => {
                handshake::write_refusal(error.status(), &error.to_string(), out);
                self.end()
            }
        }
    }

    fn receive_frames(&mut self, mut input: &mut [u8], out: &mut Vec<u8>) -> Next {
        let Phase::Frames(echo) = &mut self.phase else {
            return Next::Close;
        };
        // A frame that was cut gets exactly the bytes that its next step wants.
        while !self.carried.is_empty() {
            match echo.step(&mut self.carried, &self.limits, out) {
                Progress::Consumed(consumed) => {
                    self.carried.drain(..consumed);
                }
                Progress::Wanted(wanted) => {
                    let missing = (wanted - self.carried.len()).min(input.len());
                    if missing == 0 {
                        return Next::Read;
                    }
                    let (head, rest) = input.split_at_mut(missing);
                    self.carried.extend_from_slice(head);
                    input = rest;
                }
                Progress::Ended => return self.end(),
            }
        }
        let mut at = 0;
        loop {
            match echo.step(&mut input[at..], &self.limits, out) {
                Progress::Consumed(consumed) => at += consumed,
                Progress::Wanted(_) => break,
                Progress::Ended => return self.end(),
            }
        }
        self.carried.extend_from_slice(&input[at..]);
        debug_assert!(self.carried.len() < CARRIED_BYTES_MAX);
        Next::Read
    }

    fn end(&mut self) -> Next {
        self.phase = Phase::Ended;
        self.carried = Vec::new();
        Next::Close
    }
}

/// What one step did.
enum Progress {
    Consumed(usize),
    Wanted(usize),
    Ended,
}

impl Echo {
    const fn new() -> Self {
        Echo {
            reader: Reader::server(),
            assembler: Assembler::new(KEPT_BYTES),
            close: CloseState::Open,
        }
    }

    /// Takes one step over `input` and appends its answer.
    fn step(&mut self, input: &mut [u8], limits: &Limits, out: &mut Vec<u8>) -> Progress {
        let (consumed, message) = match self.reader.next(input, limits) {
            Step::NeedMore { wanted } => return Progress::Wanted(wanted),
            Step::Message {
                kind,
                payload,
                consumed,
            } => (consumed, self.assembler.whole(kind, payload).map(Some)),
            Step::Fragment {
                kind,
                payload,
                consumed,
                ends_message,
            } => (
                consumed,
                self.assembler.fragment(kind, payload, ends_message),
            ),
            Step::Control {
                kind: ControlKind::Ping,
                payload,
                consumed,
            } => {
                let pong = Opcode::Control(ControlKind::Pong);
                append_server_frame(pong, true, payload, out);
                (consumed, Ok(None))
            }
            Step::Control {
                kind: ControlKind::Pong,
                consumed,
                ..
            } => (consumed, Ok(None)),
            Step::Control {
                kind: ControlKind::Close,
                payload,
                ..
            } => {
                return self.answer_close(payload, out);
            }
            Step::Failed(violation) => return self.fail(violation, out),
        };
        match message {
            Ok(Some(message)) => {
                append_server_frame(Opcode::Data(message.kind), true, message.payload, out);
                Progress::Consumed(consumed)
            }
            Ok(None) => Progress::Consumed(consumed),
            Err(violation) => self.fail(violation, out),
        }
    }

    fn answer_close(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Progress {
        let is_first = self.close.apply(CloseEvent::Receive).is_ok();
        if is_first && self.close.apply(CloseEvent::Send).is_ok() {
            close::append_server_close(close::answer(payload), "", out);
        }
        Progress::Ended
    }

    fn fail(&mut self, violation: Violation, out: &mut Vec<u8>) -> Progress {
        if self.close.apply(CloseEvent::Fail).is_ok() {
            close::append_server_close(Some(violation.close_code()), &violation.to_string(), out);
        }
        Progress::Ended
    }
}

#[cfg(test)]
mod tests;
