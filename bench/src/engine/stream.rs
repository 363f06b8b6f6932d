//! The bytes of one client: upgrade, greeting, then frames to the workload.
//!
//! Invariants: a whole frame is read where it lies; of a cut one only the missing bytes are
//! copied; what follows is read in place again. After an error nothing more of the connection is
//! read.
//!
//! Runs on: the generator's thread.

use super::client::{cut, Cut, Phase};
use super::fleet::{FleetConfig, Greeting};
use super::link::{Link, Pool, NONE};
use super::peek;
use super::workload::{EndCause, Workload};
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_protocol::limits::SUBPROTOCOL;
use interlink_protocol::websocket::frame::{ControlKind, Opcode};
use interlink_protocol::websocket::handshake::client::{
    parse_response, write_request, ClientRequest,
};
use interlink_protocol::websocket::handshake::{HandshakeError, HandshakeLimits};
use interlink_wire as wire;

/// One client's bytes, with everything that they may touch.
pub(super) struct Stream<'a, W: Workload> {
    pub link: &'a mut Link,
    pub partials: &'a mut Pool,
    pub config: &'a FleetConfig,
    pub workload: &'a mut W,
}

impl<W: Workload> Stream<'_, W> {
    /// Writes the first bytes of a connection.
    pub fn open(&mut self, client: u32) {
        if self.config.greeting == Greeting::Bare {
            self.live(client);
            return;
        }
        let request = self.request(client);
        self.link
            .write(client, |_, out| write_request(&request, out));
    }

    fn request(&self, client: u32) -> ClientRequest<'static> {
        let is_session = self.config.greeting == Greeting::Session;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.config.seed.to_ne_bytes());
        nonce[8..12].copy_from_slice(&client.to_ne_bytes());
        let started = self.link.clients[client as usize].started_ns as u32;
        nonce[12..].copy_from_slice(&started.to_ne_bytes());
        ClientRequest {
            target: "/v1/connect",
            host: "127.0.0.1",
            origin: None,
            subprotocol: is_session.then_some(SUBPROTOCOL),
            nonce,
        }
    }

    fn live(&mut self, client: u32) {
        let state = &mut self.link.clients[client as usize];
        if state.phase.is_unfinished() {
            state.phase = Phase::Live;
            self.link.unfinished -= 1;
            self.link.live += 1;
            self.workload.on_live(self.link, client);
        }
    }

    /// Takes received bytes.
    pub fn take(&mut self, client: u32, bytes: &[u8]) -> Result<(), EndCause> {
        if self.config.greeting == Greeting::Bare {
            self.workload.on_bytes(self.link, client, bytes);
            return Ok(());
        }
        if self.link.clients[client as usize].phase == Phase::Upgrading {
            return self.take_answer(client, bytes);
        }
        self.take_frames(client, bytes)
    }

    /// Takes bytes of the answer to the upgrade.
    fn take_answer(&mut self, client: u32, bytes: &[u8]) -> Result<(), EndCause> {
        let request = self.request(client);
        let mut joined = Vec::new();
        let partial = self.link.clients[client as usize].partial;
        let bytes = if partial == NONE {
            bytes
        } else {
            joined.extend_from_slice(self.partials.get(partial));
            joined.extend_from_slice(bytes);
            &joined
        };
        match parse_response(bytes, &request, &HandshakeLimits::default()) {
            Ok(None) => {
                self.keep(client, bytes);
                Ok(())
            }
            Ok(Some(head)) => {
                self.drop_partial(client);
                self.upgraded(client);
                self.take_frames(client, &bytes[head..])
            }
            Err(HandshakeError::Refused { status }) => Err(EndCause::Refused(status)),
            Err(_) => Err(EndCause::Protocol("the answer to the upgrade is not valid")),
        }
    }

    fn upgraded(&mut self, client: u32) {
        if self.config.greeting == Greeting::WebSocket {
            self.live(client);
            return;
        }
        self.link.clients[client as usize].phase = Phase::Greeting;
        let workload = &mut *self.workload;
        self.link
            .write(client, |writer, out| workload.hello(client, writer, out));
    }

    /// Replaces what is kept of a cut frame.
    fn keep(&mut self, client: u32, bytes: &[u8]) {
        let state = &mut self.link.clients[client as usize];
        if state.partial == NONE {
            state.partial = self.partials.take();
        }
        let buffer = self.partials.get_mut(state.partial);
        buffer.clear();
        buffer.extend_from_slice(bytes);
    }

    fn drop_partial(&mut self, client: u32) {
        let state = &mut self.link.clients[client as usize];
        if state.partial != NONE {
            self.partials.give(state.partial);
            state.partial = NONE;
        }
    }

    fn take_frames(&mut self, client: u32, bytes: &[u8]) -> Result<(), EndCause> {
        let mut bytes = bytes;
        if self.link.clients[client as usize].partial != NONE {
            bytes = self.complete(client, bytes)?;
        }
        while !bytes.is_empty() {
            match cut(bytes) {
                Cut::Frame { opcode, start, end } => {
                    self.on_frame(client, opcode, &bytes[start..end])?;
                    bytes = &bytes[end..];
                }
                Cut::Wanted(_) => {
                    self.keep(client, bytes);
                    break;
                }
                Cut::Failed(what) => return Err(EndCause::Protocol(what)),
            }
        }
        Ok(())
    }

    /// Completes the cut frame with the first of `bytes` and gives the rest.
    fn complete<'b>(&mut self, client: u32, mut bytes: &'b [u8]) -> Result<&'b [u8], EndCause> {
        loop {
            let partial = self.link.clients[client as usize].partial;
            let buffer = self.partials.get_mut(partial);
            match cut(buffer) {
                Cut::Wanted(wanted) => {
                    if bytes.is_empty() {
                        return Ok(bytes);
                    }
                    let missing = (wanted - buffer.len()).min(bytes.len());
                    buffer.extend_from_slice(&bytes[..missing]);
                    bytes = &bytes[missing..];
                }
                Cut::Frame { opcode, start, .. } => {
                    // Taken out of the pool, since the workload may use the pool meanwhile.
                    let whole = std::mem::take(buffer);
                    let result = self.on_frame(client, opcode, &whole[start..]);
                    *self.partials.get_mut(partial) = whole;
                    self.drop_partial(client);
                    return result.map(|()| bytes);
                }
                Cut::Failed(what) => return Err(EndCause::Protocol(what)),
            }
        }
    }

    fn on_frame(&mut self, client: u32, opcode: Opcode, payload: &[u8]) -> Result<(), EndCause> {
        match opcode {
            Opcode::Data(_) => {
                self.link.totals.messages += 1;
                if self.config.greeting == Greeting::WebSocket {
                    self.workload.on_message(self.link, client, payload);
                    return Ok(());
                }
                self.on_session_frame(client, payload)
            }
            Opcode::Control(ControlKind::Close) => {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                Err(EndCause::CloseFrame(code))
            }
            Opcode::Control(ControlKind::Ping) => {
                let pong = Opcode::Control(ControlKind::Pong);
                self.link.write(client, |writer, out| {
                    writer.append_frame(out, pong, payload)
                });
                Ok(())
            }
            Opcode::Control(ControlKind::Pong) => Ok(()),
            Opcode::Continuation => Err(EndCause::Protocol("a continuation without a start")),
        }
    }

    fn on_session_frame(&mut self, client: u32, frame: &[u8]) -> Result<(), EndCause> {
        let Some((kind, body)) = peek::body(frame) else {
            return Err(EndCause::Protocol("a message that is no frame"));
        };
        match kind {
            wire::Body::Heartbeat => {
                self.link.totals.heartbeats += 1;
                let echo_us = body.u64(wire::Heartbeat::VT_SERVER_TIME_US);
                self.link.write(client, |writer, out| {
                    writer.append(out, |encoder| encoder.pong(echo_us, &[]));
                });
            }
            wire::Body::Welcome => {
                self.workload.on_frame(self.link, client, kind, frame);
                self.on_welcome(client);
            }
            wire::Body::Subscribed => {
                self.workload.on_frame(self.link, client, kind, frame);
                return self.on_subscribed(client, frame);
            }
            _ => self.workload.on_frame(self.link, client, kind, frame),
        }
        Ok(())
    }

    fn on_welcome(&mut self, client: u32) {
        if self.link.clients[client as usize].phase != Phase::Greeting {
            return;
        }
        let mut count = 0;
        let workload = &mut *self.workload;
        self.link.write(client, |writer, out| {
            let before = out.len();
            workload.subscribe(client, writer, out);
            count = frames(&out[before..]);
        });
        if count == 0 {
            self.live(client);
        } else {
            let state = &mut self.link.clients[client as usize];
            state.phase = Phase::Subscribing;
            state.answers_due = count;
        }
    }

    fn on_subscribed(&mut self, client: u32, frame: &[u8]) -> Result<(), EndCause> {
        if self.link.clients[client as usize].phase != Phase::Subscribing {
            return Ok(());
        }
        let Ok(ServerFrame::Subscribed(answer)) = decode_server(frame, &FrameLimits::SERVER) else {
            return Err(EndCause::Protocol("a damaged Subscribed"));
        };
        for channel in answer.channels() {
            if channel.state() == wire::SubscriptionState::Refused {
                return Err(EndCause::SubscriptionRefused(channel.code()));
            }
        }
        let state = &mut self.link.clients[client as usize];
        state.answers_due -= 1;
        if state.answers_due == 0 {
            self.live(client);
        }
        Ok(())
    }
}

/// Number of masked frames in `bytes`, which this side wrote.
fn frames(mut bytes: &[u8]) -> u16 {
    use interlink_protocol::websocket::frame::{parse, Parsed, Role};
    let mut count = 0;
    while let Ok(Parsed::Header(header)) = parse(bytes, Role::Server) {
        let end = header.header_bytes + header.payload_bytes as usize;
        let Some(rest) = bytes.get(end..) else { break };
        bytes = rest;
        count += 1;
    }
    count
}
