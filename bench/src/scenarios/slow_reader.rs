//! One client of the slow scenario: it subscribes, stops reading, and reads again.
//!
//! It is apart from the generator's fleet, since it has to leave bytes in its socket. What it
//! gets has to account for every offset of a channel: by an event, or by the count of a
//! `Position`. When its connection was cut off it comes back with its session and positions.
//!
//! Runs on: a thread of its own beside the generator, never while something is measured.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::engine::template::FrameWriter;
use anyhow::{bail, ensure, Context, Result};
use interlink_protocol::frame::{
    decode_server, FrameLimits, HelloFields, ResumeFields, ServerFrame, SubscribeFields,
};
use interlink_protocol::ids::{InstanceId, Position, SessionKey};
use interlink_protocol::limits::SUBPROTOCOL;
use interlink_protocol::websocket::handshake::client::{write_request, ClientRequest};
use interlink_protocol::websocket::{ControlKind, DataKind, Limits, Reader, Step};
use interlink_wire as wire;

/// Longest wait for the next byte of the server, and for all that is to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Longest head of the answer to an upgrade.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A channel that a slow client subscribes to.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Full channel name.
    pub channel: String,
    /// Class of the channel, 0 to 3.
    pub class: usize,
    /// Token that grants it.
    pub token: Option<String>,
    /// Last position that came or was told.
    at: Option<Position>,
    /// Offset at which the first subscription was pinned.
    from: u64,
    /// Highest offset that the server has named.
    top: u64,
    received: u64,
    announced: u64,
}

/// What slow clients found, all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Events of P0 and P1 that never came, and of P3 that neither came nor were counted.
    pub durable_lost: u64,
    /// Events that came, by class.
    pub received: [u64; 4],
    /// Events that were counted as skipped, by class.
    pub announced: [u64; 4],
    /// Offsets that were left out without a word.
    pub unreported_gaps: u64,
    /// Events that came again.
    pub duplicates: u64,
    /// Connections that were opened again after they had been cut off.
    pub resumed: u64,
    /// Of these, sessions that the server did not continue.
    pub not_continued: u64,
}

/// A connection and the bytes of it that were read too far.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    reader: Reader,
}

/// The client.
pub struct SlowReader {
    target: SocketAddr,
    token: String,
    instance: InstanceId,
    session: Option<SessionKey>,
    /// What it subscribes to.
    pub channels: Vec<Followed>,
    writer: FrameWriter,
    wire: Option<Wire>,
    /// `Subscribed` is still to come.
    is_subscribing: bool,
    findings: Findings,
}

impl Followed {
    /// A channel of this class.
    pub fn new(channel: impl Into<String>, class: usize, token: Option<String>) -> Self {
        Self {
            channel: channel.into(),
            class,
            token,
            at: None,
            from: 0,
            top: 0,
            received: 0,
            announced: 0,
        }
    }

    fn is_durable(&self) -> bool {
        self.class != 2
    }

    fn offset(&self) -> u64 {
        self.at.map_or(0, |at| at.offset)
    }

    /// The server continues from `position`, which the client wanted if `recovered`.
    fn pin(&mut self, position: Position, recovered: bool, following: u32) {
        self.top = self.top.max(position.offset + u64::from(following));
        if self.at.is_none() {
            self.from = position.offset;
        }
        if self.at.is_none() || !recovered {
            self.at = Some(position);
        }
    }

    fn lost(&self) -> u64 {
        let missing = (self.top - self.from).saturating_sub(self.received);
        match self.class {
            2 => 0,
            3 => missing.saturating_sub(self.announced),
            _ => missing,
        }
    }
}

impl Wire {
    /// The next message: a frame, or `None` when the server has ended the connection.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let step = self.reader.next(&mut self.received, &Limits::SESSION);
            let (frame, consumed) = match step {
                Step::NeedMore { .. } => {
                    if !self.read_more()? {
                        return Ok(None);
                    }
                    continue;
                }
                Step::Message {
                    kind: DataKind::Binary,
                    payload,
                    consumed,
                } => (Some(payload.to_vec()), consumed),
                Step::Control {
                    kind: ControlKind::Close,
                    ..
                } => return Ok(None),
                Step::Control { consumed, .. } => (None, consumed),
                other => bail!("a server sends no such thing: {other:?}"),
            };
            self.received.drain(..consumed);
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// Reads once; false at the end of the stream, also when it was reset.
    fn read_more(&mut self) -> Result<bool> {
        let start = self.received.len();
        self.received.resize(start + READ_BYTES, 0);
        let read = match self.stream.read(&mut self.received[start..]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error).context("reading from the edge"),
        };
        self.received.truncate(start + read);
        Ok(read > 0)
    }

    fn read_head(&mut self) -> Result<()> {
        loop {
            let ends = self
                .received
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = ends {
                let is_upgraded = self.received.starts_with(b"HTTP/1.1 101 ");
                ensure!(is_upgraded, "the edge refused the upgrade");
                self.received.drain(..end + 4);
                return Ok(());
            }
            ensure!(
                self.received.len() < HEAD_BYTES_MAX && self.read_more()?,
                "the answer to the upgrade does not end"
            );
        }
    }
}

impl SlowReader {
    /// A client that is not connected yet.
    pub fn new(
        target: SocketAddr,
        token: String,
        instance: InstanceId,
        channels: Vec<Followed>,
    ) -> Self {
        Self {
            target,
            token,
            instance,
            session: None,
            channels,
            writer: FrameWriter::new(instance.0 as u64),
            wire: None,
            is_subscribing: false,
            findings: Findings::default(),
        }
    }

    /// Connects, subscribes from where it stopped before, and reads what it has missed.
    pub fn begin(&mut self) -> Result<()> {
        self.session = None;
        self.dial()?;
        self.read_to_tops()
    }

    /// Reads until it knows of every event up to the present tops, and ends its connection.
    pub fn read_again(&mut self) -> Result<()> {
        let tops = self.present_tops()?;
        for followed in &mut self.channels {
            let top = tops.get(&followed.channel).copied().unwrap_or(0);
            followed.top = followed.top.max(top);
        }
        self.read_to_tops()?;
        self.wire = None;
        Ok(())
    }

    /// Adds what was found so far to `all`.
    pub fn add_to(&self, all: &mut Findings) {
        let own = &self.findings;
        all.unreported_gaps += own.unreported_gaps;
        all.duplicates += own.duplicates;
        all.resumed += own.resumed;
        all.not_continued += own.not_continued;
        for followed in &self.channels {
            all.durable_lost += followed.lost();
            all.received[followed.class] += followed.received;
            all.announced[followed.class] += followed.announced;
        }
    }

    /// The newest offsets of its channels, as a new session is told them.
    fn present_tops(&self) -> Result<BTreeMap<String, u64>> {
        let channels = self.channels.iter().map(|followed| {
            let mut fresh = followed.clone();
            // A channel with a cursor begins anew without a position.
            fresh.at = fresh.at.filter(|_| followed.is_durable());
            fresh
        });
        let instance = InstanceId(self.instance.0 ^ 1);
        let token = self.token.clone();
        let mut probe = Self::new(self.target, token, instance, channels.collect());
        probe.dial()?;
        let tops = probe.channels.into_iter();
        Ok(tops.map(|entry| (entry.channel, entry.top)).collect())
    }

    fn dial(&mut self) -> Result<()> {
        let stream = TcpStream::connect_timeout(&self.target, PATIENCE)
            .with_context(|| format!("connecting to {}: is it listening?", self.target))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut wire = Wire {
            stream,
            received: Vec::new(),
            reader: Reader::client(),
        };
        let host = self.target.to_string();
        let mut request = Vec::new();
        let fields = ClientRequest {
            target: "/v1/connect",
            host: &host,
            origin: None,
            subprotocol: Some(SUBPROTOCOL),
            nonce: self.instance.0.to_be_bytes(),
        };
        write_request(&fields, &mut request);
        wire.stream.write_all(&request)?;
        wire.read_head()?;
        self.wire = Some(wire);
        self.greet()
    }

    /// `Hello` and, in a new session, `Subscribe`; returns when both are answered.
    fn greet(&mut self) -> Result<()> {
        let positions: Vec<(&str, Position)> = self
            .channels
            .iter()
            .filter_map(|followed| Some((followed.channel.as_str(), followed.at?)))
            .collect();
        let resume = self.session.map(|session| ResumeFields {
            session,
            positions: &positions,
        });
        let wanted = resume.is_some();
        let hello = HelloFields {
            token: &self.token,
            instance: self.instance,
            device: None,
            client_name: Some("interlink-bench"),
            client_version: Some(env!("CARGO_PKG_VERSION")),
            resume,
        };
        let mut out = Vec::new();
        self.writer
            .append(&mut out, |encoder| encoder.hello(&hello));
        self.send(&out)?;
        let Some(frame) = self.next()? else {
            bail!("the edge closed the connection of a slow client before its Welcome");
        };
        let Ok(ServerFrame::Welcome(welcome)) = decode_server(&frame, &FrameLimits::SERVER) else {
            bail!("the first frame of the edge is no Welcome");
        };
        self.session = Some(welcome.session().into());
        if welcome.resumed() {
            for restored in welcome.restored().into_iter().flatten() {
                let position = restored.position().into();
                let (recovered, following) = (restored.recovered(), restored.following());
                self.pin(restored.channel(), position, recovered, following);
            }
            return Ok(());
        }
        self.findings.not_continued += u64::from(wanted);
        self.subscribe()
    }

    fn subscribe(&mut self) -> Result<()> {
        let fields: Vec<SubscribeFields<'_>> = self
            .channels
            .iter()
            .map(|followed| SubscribeFields {
                recover: followed.at,
                token: followed.token.as_deref(),
                ..SubscribeFields::new(&followed.channel)
            })
            .collect();
        let mut out = Vec::new();
        self.writer
            .append(&mut out, |encoder| encoder.subscribe(1, &fields));
        self.send(&out)?;
        self.is_subscribing = true;
        while self.is_subscribing {
            let Some(frame) = self.next()? else {
                bail!("the edge closed the connection of a slow client before its Subscribed");
            };
            self.take(&frame)?;
        }
        Ok(())
    }

    /// Reads until nothing durable is missing, or nothing more comes.
    fn read_to_tops(&mut self) -> Result<()> {
        let deadline = Instant::now() + 3 * PATIENCE;
        let is_behind =
            |followed: &Followed| followed.is_durable() && followed.offset() < followed.top;
        while self.channels.iter().any(is_behind) && Instant::now() < deadline {
            match self.next() {
                Ok(Some(frame)) => self.take(&frame)?,
                Ok(None) => {
                    self.findings.resumed += 1;
                    self.dial()?;
                }
                // Nothing came for long: what is missing counts as lost.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: &[u8]) -> Result<()> {
        let frame = decode_server(frame, &FrameLimits::SERVER).context("a frame of the edge")?;
        match frame {
            ServerFrame::Event(event) => self.on_event(&event),
            ServerFrame::Position(told) => {
                if let Some(followed) = find(&mut self.channels, told.channel()) {
                    followed.announced += told.skipped();
                    followed.at = Some(told.position().into());
                }
            }
            ServerFrame::Subscribed(answer) => {
                self.is_subscribing = false;
                for entry in answer.channels() {
                    let is_live = entry.state() == wire::SubscriptionState::Live;
                    let position = entry.position().filter(|_| is_live);
                    let refused = || format!("{} was refused: {}", entry.channel(), entry.code());
                    let position = position.with_context(refused)?.into();
                    let (recovered, following) = (entry.recovered(), entry.following());
                    self.pin(entry.channel(), position, recovered, following);
                }
            }
            ServerFrame::Heartbeat(heartbeat) => {
                let echo_us = heartbeat.server_time_us();
                let mut out = Vec::new();
                self.writer
                    .append(&mut out, |encoder| encoder.pong(echo_us, &[]));
                // A connection that ends is noticed by the next read.
                let _ = self.send(&out);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_event(&mut self, event: &wire::Event<'_>) {
        let Some(followed) = find(&mut self.channels, event.channel()) else {
            return;
        };
        let position = Position::from(event.position());
        let at = followed.offset();
        if followed.at.is_some() && position.offset <= at {
            self.findings.duplicates += 1;
            return;
        }
        self.findings.unreported_gaps += position.offset - at - 1;
        followed.received += 1;
        followed.at = Some(position);
    }

    fn pin(&mut self, channel: &str, position: Position, recovered: bool, following: u32) {
        if let Some(followed) = find(&mut self.channels, channel) {
            followed.pin(position, recovered, following);
        }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.wire.as_mut().context("not connected")?.next()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let wire = self.wire.as_mut().context("not connected")?;
        wire.stream.write_all(bytes).context("writing to the edge")
    }
}

fn find<'c>(channels: &'c mut [Followed], name: &str) -> Option<&'c mut Followed> {
    channels
        .iter_mut()
        .find(|followed| followed.channel == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position {
            epoch: 1,
            offset,
            chain: offset,
        }
    }

    #[test]
    fn what_is_not_recovered_of_a_durable_channel_is_lost() {
        let mut followed = Followed::new("chat.a~b", 1, None);
        followed.pin(at(10), false, 0);
        followed.received = 5;
        followed.at = Some(at(15));
        followed.pin(at(15), true, 4);
        assert_eq!((followed.offset(), followed.lost()), (15, 4));
        followed.pin(at(19), false, 0);
        assert_eq!((followed.offset(), followed.lost()), (19, 4));
    }

    #[test]
    fn what_is_counted_is_lost_for_p1_and_not_for_p3() {
        for (class, lost) in [(0, 2), (1, 2), (2, 0), (3, 0)] {
            let mut followed = Followed::new("channel", class, None);
            followed.pin(at(0), false, 5);
            (followed.received, followed.announced) = (3, 2);
            assert_eq!(followed.lost(), lost, "class {class}");
        }
    }
}
