//! One open WebSocket connection over TCP, within TLS or not.
//!
//! Purpose: bytes to messages and back, without waiting inside: the caller waits for
//! readiness, so that it can be interrupted at any point without losing bytes.
//! Limits: `limits::WRITE_BUFFER_BYTES` wait for the socket; a message has at most the size
//! that the protocol allows a server.
//! Runs on: the task that owns it.

use std::io;

use interlink_protocol::websocket::close;
use interlink_protocol::websocket::frame::{append_client_frame, ControlKind, DataKind, Opcode};
use interlink_protocol::websocket::handshake::client::{
    parse_response, write_request, ClientRequest,
};
use interlink_protocol::websocket::handshake::HandshakeLimits;
use interlink_protocol::websocket::limits::CONTROL_PAYLOAD_BYTES_MAX;
use interlink_protocol::websocket::{Assembler, Limits, Reader, Step};
use interlink_protocol::{limits as wire_limits, CloseCode};

use super::address::Address;
use super::stream::{failed, Stream};
use super::trust::Trust;
use crate::error::Loss;
use crate::limits;

/// What one look at the connection brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing more for now.
    Idle,
    /// The connection is over.
    Over {
        /// Why.
        loss: Loss,
        /// Code for a close frame, when the server still listens.
        close_code: Option<u16>,
    },
}

/// An upgraded connection.
pub(crate) struct Connection {
    stream: Stream,
    reader: Reader,
    assembler: Assembler,
    input: Vec<u8>,
    /// Bytes of `input` that were read from the socket.
    filled: usize,
    output: Vec<u8>,
    /// Bytes of `output` that the socket took.
    written: usize,
    close_sent: bool,
}

impl Connection {
    /// Connects and upgrades.
    pub(crate) async fn open(address: &Address, trust: &Trust) -> Result<Self, Loss> {
        let mut stream = Stream::open(address, trust).await?;
        let request = ClientRequest {
            target: &address.path,
            host: &address.authority,
            origin: None,
            subprotocol: Some(wire_limits::SUBPROTOCOL),
            nonce: rand::random(),
        };
        let mut head = Vec::with_capacity(512);
        write_request(&request, &mut head);
        stream.write_all(&head).await?;
        let (input, filled) = read_answer(&mut stream, &request).await?;
        Ok(Self {
            stream,
            reader: Reader::client(),
            assembler: Assembler::new(limits::READ_BUFFER_BYTES),
            input,
            filled,
            output: Vec::new(),
            written: 0,
            close_sent: false,
        })
    }

    /// Waits until there is something to read, or room for what waits to be written.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.stream.ready(self.has_output()).await
    }

    /// True while bytes wait for the socket.
    pub(crate) fn has_output(&self) -> bool {
        self.written < self.output.len() || self.stream.has_output()
    }

    /// True while another frame may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() - self.written < limits::WRITE_BUFFER_BYTES && !self.close_sent
    }

    /// Queues one binary message.
    pub(crate) fn queue(&mut self, message: &[u8]) {
        self.append(Opcode::Data(DataKind::Binary), message);
    }

    /// Queues a close frame, once.
    pub(crate) fn queue_close(&mut self, code: Option<u16>, reason: &str) {
        if self.close_sent {
            return;
        }
        let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
        let length = close::write_payload(code, reason, &mut payload);
        self.append(Opcode::Control(ControlKind::Close), &payload[..length]);
        self.close_sent = true;
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), Loss> {
        while self.written < self.output.len() {
            match self.stream.try_write(&self.output[self.written..]) {
                Ok(0) => return Err(Loss::Io("the socket takes no bytes".into())),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
            self.stream.try_flush(self.close_sent).map_err(failed)?;
        } else if self.written >= limits::WRITE_BUFFER_BYTES {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Reads once and gives every complete message to `take`; `heard` says whether bytes came.
    pub(crate) fn receive(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), (u16, Box<str>)>,
    ) -> (bool, Arrival) {
        let heard = match self.fill() {
            Ok(0) => return (false, over(CloseCode::Abnormal.number(), "")),
            Ok(_) => true,
            // Bytes of the handshake's last read may still lie here.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => {
                let loss = failed(error);
                return (
                    false,
                    Arrival::Over {
                        loss,
                        close_code: None,
                    },
                );
            }
        };
        (heard, self.take_messages(&mut take))
    }

    /// Closes in order: writes what waits, sends a close frame and waits for the answer.
    pub(crate) async fn finish(mut self, code: u16) {
        self.queue_close(Some(code), "");
        loop {
            if self.flush().is_err() || self.ready().await.is_err() {
                return;
            }
            // Messages that arrive now belong to nobody.
            if let (_, Arrival::Over { .. }) = self.receive(|_| Ok(())) {
                return;
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let room = self.input.len() - self.filled;
        if room < limits::READ_BUFFER_BYTES / 2 {
            self.input
                .resize(self.filled + limits::READ_BUFFER_BYTES, 0);
        }
        let bytes = self.stream.try_read(&mut self.input[self.filled..])?;
        self.filled += bytes;
        Ok(bytes)
    }

    fn take_messages(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), (u16, Box<str>)>,
    ) -> Arrival {
        let mut start = 0;
        let arrival = loop {
            let input = &mut self.input[start..self.filled];
            let (message, consumed) = match self.reader.next(input, &Limits::SESSION) {
                Step::NeedMore { .. } => break Arrival::Idle,
                Step::Failed(violation) => {
                    break fault(violation.close_code(), violation.to_string().into());
                }
                Step::Control {
                    kind,
                    payload,
                    consumed,
                } => {
                    let (kind, payload) = (kind, payload.to_vec());
                    start += consumed;
                    match self.on_control(kind, &payload) {
                        Some(arrival) => break arrival,
                        None => continue,
                    }
                }
                Step::Message {
                    kind: DataKind::Text,
                    ..
                }
                | Step::Fragment {
                    kind: DataKind::Text,
                    ..
                } => {
                    break fault(close::code::UNSUPPORTED, "a text message came".into());
                }
                Step::Message {
                    payload, consumed, ..
                } => (Some(&*payload), consumed),
                Step::Fragment {
                    kind,
                    payload,
                    consumed,
                    ends_message,
                } => match self.assembler.fragment(kind, payload, ends_message) {
                    Ok(whole) => (whole.map(|whole| whole.payload), consumed),
                    Err(violation) => {
                        break fault(violation.close_code(), violation.to_string().into());
                    }
                },
            };
            start += consumed;
            if let Some(Err((code, text))) = message.map(&mut *take) {
                break fault(code, text);
            }
        };
        self.input.copy_within(start..self.filled, 0);
        self.filled -= start;
        arrival
    }

    fn on_control(&mut self, kind: ControlKind, payload: &[u8]) -> Option<Arrival> {
        match kind {
            ControlKind::Pong => None,
            ControlKind::Ping => {
                // Answers are dropped, not queued, while the server reads nothing.
                if self.has_room() {
                    self.append(Opcode::Control(ControlKind::Pong), payload);
                }
                None
            }
            ControlKind::Close => {
                self.queue_close(close::answer(payload), "");
                Some(match close::parse(payload) {
                    Ok(said) => {
                        let code = said.code.unwrap_or(CloseCode::NoStatus.number());
                        over(code, said.reason)
                    }
                    Err(violation) => fault(violation.close_code(), violation.to_string().into()),
                })
            }
        }
    }

    fn append(&mut self, opcode: Opcode, payload: &[u8]) {
        if !self.close_sent {
            append_client_frame(opcode, true, payload, rand::random(), &mut self.output);
        }
    }
}

fn over(code: u16, reason: &str) -> Arrival {
    let loss = Loss::Closed {
        code,
        reason: reason.into(),
    };
    Arrival::Over {
        loss,
        close_code: None,
    }
}

fn fault(code: u16, text: Box<str>) -> Arrival {
    Arrival::Over {
        loss: Loss::Protocol(text),
        close_code: Some(code),
    }
}

/// Reads the answer to the upgrade; what follows it stays in the buffer as the first frames.
async fn read_answer(
    stream: &mut Stream,
    request: &ClientRequest<'_>,
) -> Result<(Vec<u8>, usize), Loss> {
    let mut input = Vec::with_capacity(limits::READ_BUFFER_BYTES);
    loop {
        if stream.read_more(&mut input).await? == 0 {
            return Err(Loss::Upgrade(
                "the connection ended before the answer".into(),
            ));
        }
        let parsed = parse_response(&input, request, &HandshakeLimits::DEFAULT);
        match parsed.map_err(|error| Loss::Upgrade(error.to_string().into()))? {
            Some(head) => {
                input.drain(..head);
                let filled = input.len();
                return Ok((input, filled));
            }
            None => continue,
        }
    }
}
