//! A scripted server on a real socket: the test says what it sends and sees what it gets.
//!
//! It is written with the protocol crate alone and shares nothing with the client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use interlink_protocol::frame::{
    decode_client, ClientFrame, EventFields, FrameEncoder, FrameLimits, LimitsFields,
    PublishAckFields, RecoveryFields, SubscribedFields, WelcomeFields,
};
use interlink_protocol::ids::{InstanceId, Position, RecordId, SessionKey};
use interlink_protocol::limits::SUBPROTOCOL;
use interlink_protocol::priority::Priority;
use interlink_protocol::websocket::frame::{append_server_frame, ControlKind, DataKind, Opcode};
use interlink_protocol::websocket::handshake::{parse_request, write_accept, HandshakeLimits};
use interlink_protocol::websocket::{close, Limits, Reader, Step};
use interlink_wire as wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A listening server.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens on a port of the tests' own range, which lies below the ports that outgoing
    /// connections are given. No port is used twice, so that a client of one test that goes
    /// on trying can never reach the server of another.
    pub async fn bind() -> Self {
        static NEXT_PORT: AtomicU16 = AtomicU16::new(7_300);
        loop {
            let port = NEXT_PORT.fetch_add(1, Ordering::SeqCst);
            assert!(port < 7_400, "no port of 7300 to 7399 is free");
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                return Self { listener };
            }
        }
    }

    /// Address for a client.
    pub fn address(&self) -> String {
        let address: SocketAddr = self.listener.local_addr().unwrap();
        format!("ws://{address}")
    }

    /// Takes the next connection through the upgrade.
    pub async fn accept(&self) -> Peer {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut input = Vec::new();
        let (consumed, answer) = loop {
            assert!(
                stream.read_buf(&mut input).await.unwrap() > 0,
                "no request came"
            );
            if let Some((consumed, request)) =
                parse_request(&input, &HandshakeLimits::DEFAULT).unwrap()
            {
                let mut answer = Vec::new();
                write_accept(&request, Some(SUBPROTOCOL), &mut answer);
                break (consumed, answer);
            }
        };
        stream.write_all(&answer).await.unwrap();
        input.drain(..consumed);
        Peer {
            stream,
            input,
            reader: Reader::server(),
            encoder: FrameEncoder::new(),
            messages: VecDeque::new(),
            closed: None,
        }
    }

    /// Accepts, takes `Hello` and welcomes.
    pub async fn welcome(&self, resumed: bool) -> Peer {
        let mut peer = self.accept().await;
        peer.expect("Hello").await;
        peer.welcome(resumed).await;
        peer
    }
}

/// One upgraded connection, seen from the server.
pub struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    reader: Reader,
    pub encoder: FrameEncoder,
    messages: VecDeque<Vec<u8>>,
    /// Payload of the client's close frame.
    closed: Option<Vec<u8>>,
}

impl Peer {
    /// The next message of the client; `None` when it closed.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            self.take_messages();
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            if self.closed.is_some() {
                return None;
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message, which must be of this kind.
    pub async fn expect(&mut self, kind: &str) -> Vec<u8> {
        let message = self.next().await.expect("the client is connected");
        let frame = decode_client(&message, &FrameLimits::CLIENT).unwrap();
        assert_eq!(frame.kind(), kind);
        message
    }

    /// The next message, which must be a publish: its id and payload.
    pub async fn expect_publish(&mut self) -> (u64, Vec<u8>) {
        let message = self.expect("Publish").await;
        match decode_client(&message, &FrameLimits::CLIENT).unwrap() {
            ClientFrame::Publish(publish) => (
                publish.client_message_id(),
                publish.payload().bytes().to_vec(),
            ),
            other => panic!("{}", other.kind()),
        }
    }

    /// The next message, which must ask for one channel: request, channel and position.
    pub async fn expect_subscribe(&mut self) -> (u32, String, Option<Position>) {
        let message = self.expect("Subscribe").await;
        match decode_client(&message, &FrameLimits::CLIENT).unwrap() {
            ClientFrame::Subscribe(subscribe) => {
                assert_eq!(subscribe.channels().len(), 1);
                let wanted = subscribe.channels().get(0);
                let recover = wanted.recover().map(Position::from);
                (
                    subscribe.request_id(),
                    wanted.channel().to_string(),
                    recover,
                )
            }
            other => panic!("{}", other.kind()),
        }
    }

    /// Close code of the client, after `next` gave `None`.
    pub fn close_code(&self) -> Option<u16> {
        let payload = self.closed.as_deref()?;
        close::parse(payload).unwrap().code
    }

    /// Sends one message.
    pub async fn send(&mut self, message: &[u8]) {
        let mut bytes = Vec::new();
        append_server_frame(Opcode::Data(DataKind::Binary), true, message, &mut bytes);
        self.write(&bytes).await;
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a close frame and ends the connection.
    pub async fn close(mut self, code: u16, reason: &str) {
        let mut bytes = Vec::new();
        close::append_server_close(Some(code), reason, &mut bytes);
        self.write(&bytes).await;
        // Unread bytes would turn the end into a reset, which could overtake the frame.
        while self.next().await.is_some() {}
    }

    pub async fn welcome(&mut self, resumed: bool) {
        let fields = WelcomeFields {
            session: SessionKey(9),
            session_epoch: 1,
            user: "ada",
            node: "node-1",
            region: "eu",
            server_time_us: 1,
            heartbeat_ms: 30_000,
            heartbeat_timeout_ms: 5_000,
            limits: LimitsFields::default(),
            resume_window_ms: 60_000,
            resumed,
            restored: &[],
            highest_accepted: 0,
            settled_through: None,
        };
        let message = self.encoder.welcome(&fields).to_vec();
        self.send(&message).await;
    }

    pub async fn subscribed(&mut self, request: u32, channel: &str, at: Position, follow: u32) {
        let fields = SubscribedFields {
            channel,
            state: wire::SubscriptionState::Live,
            position: Some(at),
            recovery: RecoveryFields {
                recovered: follow > 0,
                following: follow,
                ..RecoveryFields::default()
            },
            code: 0,
        };
        let message = self.encoder.subscribed(request, &[fields]).to_vec();
        self.send(&message).await;
    }

    pub async fn refuse_subscription(&mut self, request: u32, channel: &str, code: u16) {
        let fields = SubscribedFields {
            channel,
            state: wire::SubscriptionState::Refused,
            position: None,
            recovery: RecoveryFields::default(),
            code,
        };
        let message = self.encoder.subscribed(request, &[fields]).to_vec();
        self.send(&message).await;
    }

    pub async fn acknowledge(&mut self, id: u64, count: u32, settled: Option<[u64; 4]>) {
        let fields = PublishAckFields {
            client_message_id: id,
            count,
            status: wire::PublishStatus::Accepted,
            level: wire::AckLevel::Local,
            degraded: false,
            position: None,
            settled_through: settled,
            code: 0,
            retry_after_ms: 0,
        };
        let message = self.encoder.publish_ack(&fields).to_vec();
        self.send(&message).await;
    }

    pub async fn event(&mut self, channel: &str, offset: u64) {
        let message = event(&mut self.encoder, channel, offset);
        self.send(&message).await;
    }

    fn take_messages(&mut self) {
        let mut start = 0;
        loop {
            match self.reader.next(&mut self.input[start..], &Limits::SESSION) {
                Step::NeedMore { .. } => break,
                Step::Message {
                    payload, consumed, ..
                } => {
                    self.messages.push_back(payload.to_vec());
                    start += consumed;
                }
                Step::Control {
                    kind,
                    payload,
                    consumed,
                } => {
                    if kind == ControlKind::Close {
                        self.closed = Some(payload.to_vec());
                    }
                    start += consumed;
                }
                other => panic!("the client sends whole messages: {other:?}"),
            }
        }
        self.input.drain(..start);
    }
}

/// Position number `offset` of the tests' channels.
pub fn at(offset: u64) -> Position {
    Position {
        epoch: 1,
        offset,
        chain: offset,
    }
}

/// Event number `offset` of a channel.
pub fn event(encoder: &mut FrameEncoder, channel: &str, offset: u64) -> Vec<u8> {
    let payload = offset.to_be_bytes();
    let fields = EventFields {
        channel,
        position: at(offset),
        previous_chain: offset - 1,
        record: RecordId(offset.into()),
        publisher: "bob",
        priority: Priority::P1,
        event_type: 0,
        schema_version: 1,
        server_time_us: 1,
        payload: &payload,
        conflation_key: None,
        trace: None,
    };
    encoder.event(&fields).to_vec()
}

/// Instance of a `Hello`.
pub fn instance_of(hello: &[u8]) -> InstanceId {
    match decode_client(hello, &FrameLimits::HELLO).unwrap() {
        ClientFrame::Hello(hello) => hello.instance().into(),
        other => panic!("{}", other.kind()),
    }
}
