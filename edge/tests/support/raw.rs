//! A client that sends exactly the bytes that a test wants.
//!
//! It shares the codec of frames with the project and nothing of the SDK's conduct, so that a
//! test can break every rule of the protocol, and can look at each frame of the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use interlink_protocol::frame::{
    decode_server, FrameEncoder, FrameLimits, HelloFields, ResumeFields, ServerFrame,
};
use interlink_protocol::ids::{InstanceId, SessionKey};
use interlink_protocol::limits::SUBPROTOCOL;
use interlink_protocol::websocket::frame::append_client_frame;
use interlink_protocol::websocket::handshake::client::{write_request, ClientRequest};
use interlink_protocol::websocket::{ControlKind, DataKind, Limits, Opcode, Reader, Step};

use rustls::{ClientConnection, Stream};

use super::PATIENCE;

/// Path of the WebSocket endpoint.
pub const PATH: &str = "/v1/connect";
/// Masking key of every frame; a test needs no secret one.
pub const KEY: [u8; 4] = [0x21, 0x43, 0x65, 0x87];
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// What came from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A binary message: one frame of the protocol.
    Frame(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A close frame with its code.
    Close(u16),
    /// The end of the stream, or its reset.
    Ended,
}

/// A connection and the bytes of it that nobody has read.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// TLS, if the client speaks it.
    secure: Option<Box<ClientConnection>>,
    received: Vec<u8>,
    reader: Reader,
    encoder: FrameEncoder,
    close_reason: String,
}

impl Raw {
    /// A fresh TCP connection.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the node listens");
        stream.set_nodelay(true).expect("a socket takes options");
        let raw = Self {
            stream,
            secure: None,
            received: Vec::new(),
            reader: Reader::client(),
            encoder: FrameEncoder::new(),
            close_reason: String::new(),
        };
        raw.patience(PATIENCE);
        raw
    }

    /// A fresh TCP connection on which TLS is spoken from the first byte sent.
    pub fn secure(address: SocketAddr, tls: ClientConnection) -> Self {
        let mut raw = Self::connect(address);
        raw.secure = Some(Box::new(tls));
        raw
    }

    /// Speaks TLS on from where `tls` is, on the same TCP connection.
    pub fn over(mut raw: Self, tls: ClientConnection) -> Self {
        raw.secure = Some(Box::new(tls));
        raw
    }

    /// Reads plaintext once, with the errors of TLS.
    pub fn read_tls(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let tls = self.secure.as_mut().expect("the client speaks TLS");
        Stream::new(&mut **tls, &mut self.stream).read(room)
    }

    /// The TLS connection of a client that speaks it.
    pub fn tls(&mut self) -> &mut ClientConnection {
        self.secure.as_mut().expect("the client speaks TLS")
    }

    /// A connection after the WebSocket upgrade.
    pub fn upgraded(address: SocketAddr) -> Self {
        Self::connect(address).upgrade(address)
    }

    /// Goes through the WebSocket upgrade.
    pub fn upgrade(mut self, address: SocketAddr) -> Self {
        let raw = &mut self;
        raw.send(&upgrade_request(&address.to_string()));
        let (status, head) = raw.read_answer();
        assert_eq!(status, 101, "{head}");
        self
    }

    /// A welcomed connection of the token's user.
    pub fn welcomed(address: SocketAddr, token: &str, instance: u128) -> Self {
        Self::resumed(address, token, instance, None).0
    }

    /// A welcomed connection that may ask to resume, with the session of its `Welcome` and
    /// whether an earlier one was continued.
    pub fn resumed(
        address: SocketAddr,
        token: &str,
        instance: u128,
        session: Option<SessionKey>,
    ) -> (Self, SessionKey, bool) {
        Self::upgraded(address).greet(token, instance, session)
    }

    /// Sends a `Hello` after the upgrade, as [`Self::resumed`] does.
    pub fn greet(
        mut self,
        token: &str,
        instance: u128,
        session: Option<SessionKey>,
    ) -> (Self, SessionKey, bool) {
        let resume = session.map(|session| ResumeFields {
            session,
            positions: &[],
        });
        self.hello(token, instance, resume);
        let answer = self.next_frame();
        let ServerFrame::Welcome(welcome) = decode(&answer) else {
            panic!("the first frame is no Welcome: {answer:?}");
        };
        let (session, resumed) = (SessionKey::from(welcome.session()), welcome.resumed());
        (self, session, resumed)
    }

    /// How long reads and writes wait.
    pub fn patience(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a socket takes options");
        self.stream
            .set_write_timeout(Some(patience))
            .expect("a socket takes options");
    }

    /// The socket, for tests that need more than frames.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes bytes");
    }

    /// Sends bytes as they are to a server that may have closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.secure {
            Some(tls) => {
                let mut stream = Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes)?;
                stream.flush()
            }
            None => self.stream.write_all(bytes),
        }
    }

    /// Sends one frame of the protocol.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let bytes = binary(frame);
        self.send(&bytes);
    }

    /// Sends what `encode` encodes.
    pub fn send_encoded(&mut self, encode: impl FnOnce(&mut FrameEncoder) -> &[u8]) {
        let bytes = binary(encode(&mut self.encoder));
        self.send(&bytes);
    }

    /// Sends a `Hello`.
    pub fn hello(&mut self, token: &str, instance: u128, resume: Option<ResumeFields<'_>>) {
        let fields = HelloFields {
            token,
            instance: InstanceId(instance),
            device: None,
            client_name: None,
            client_version: None,
            resume,
        };
        self.send_encoded(|encoder| encoder.hello(&fields));
    }

    /// Reads the head of an HTTP answer: its status and text.
    pub fn read_answer(&mut self) -> (u16, String) {
        let end = loop {
            let ends = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = ends {
                break end + 4;
            }
            let received = String::from_utf8_lossy(&self.received).into_owned();
            assert!(self.read_more(), "the answer ended early: {received:?}");
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads are ASCII");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("an HTTP answer has a status"), head)
    }

    /// The next message or control frame. A ping of the server is not expected.
    pub fn next(&mut self) -> Incoming {
        loop {
            let step = self.reader.next(&mut self.received, &Limits::SESSION);
            let (incoming, consumed) = match step {
                Step::NeedMore { .. } => {
                    if !self.read_more() {
                        return Incoming::Ended;
                    }
                    continue;
                }
                Step::Message {
                    kind: DataKind::Binary,
                    payload,
                    consumed,
                } => (Incoming::Frame(payload.to_vec()), consumed),
                Step::Control {
                    kind: ControlKind::Pong,
                    payload,
                    consumed,
                } => (Incoming::Pong(payload.to_vec()), consumed),
                Step::Control {
                    kind: ControlKind::Close,
                    payload,
                    consumed,
                } => {
                    let code = payload
                        .get(..2)
                        .map(|code| u16::from_be_bytes([code[0], code[1]]));
                    let reason = payload.get(2..).unwrap_or_default();
                    self.close_reason = String::from_utf8_lossy(reason).into_owned();
                    (Incoming::Close(code.unwrap_or(1005)), consumed)
                }
                other => panic!("a server sends no such thing: {other:?}"),
            };
            self.received.drain(..consumed);
            return incoming;
        }
    }

    /// The next frame of the protocol that is no heartbeat.
    pub fn next_frame(&mut self) -> Vec<u8> {
        loop {
            match self.next() {
                Incoming::Frame(frame) => {
                    if !matches!(decode(&frame), ServerFrame::Heartbeat(_)) {
                        return frame;
                    }
                }
                other => panic!("a frame was expected: {other:?}"),
            }
        }
    }

    /// Frames until the close frame, whose code is returned with them.
    pub fn read_to_close(&mut self) -> (Vec<Vec<u8>>, u16) {
        let mut frames = Vec::new();
        loop {
            match self.next() {
                Incoming::Frame(frame) => frames.push(frame),
                Incoming::Pong(_) => {}
                Incoming::Close(code) => return (frames, code),
                Incoming::Ended => panic!("the stream ended without a close frame"),
            }
        }
    }

    /// The code of the close frame that ends the connection.
    pub fn close_code(&mut self) -> u16 {
        self.read_to_close().1
    }

    /// The reason in the last close frame.
    pub fn close_reason(&self) -> &str {
        &self.close_reason
    }

    /// Reads once; whether anything came before the end of the stream.
    fn read_more(&mut self) -> bool {
        let start = self.received.len();
        self.received.resize(start + READ_BYTES, 0);
        let room = &mut self.received[start..];
        let read = match &mut self.secure {
            Some(tls) => Stream::new(&mut **tls, &mut self.stream).read(room),
            None => self.stream.read(room),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing came from the server: {error}"),
        };
        self.received.truncate(start + read);
        read > 0
    }
}

/// A valid upgrade request.
pub fn upgrade_request(host: &str) -> Vec<u8> {
    let request = ClientRequest {
        target: PATH,
        host,
        origin: None,
        subprotocol: Some(SUBPROTOCOL),
        nonce: [7; 16],
    };
    let mut bytes = Vec::new();
    write_request(&request, &mut bytes);
    bytes
}

/// A masked binary message.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    data_frame(Opcode::Data(DataKind::Binary), true, payload)
}

/// A masked frame of any kind.
pub fn data_frame(opcode: Opcode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    append_client_frame(opcode, is_final, payload, KEY, &mut bytes);
    bytes
}

/// A frame of the server, which has to be valid.
pub fn decode(frame: &[u8]) -> ServerFrame<'_> {
    decode_server(frame, &FrameLimits::SERVER).expect("the server sends valid frames")
}
