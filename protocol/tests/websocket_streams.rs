//! Whole byte streams through the WebSocket codec: cut anywhere, and against tungstenite.
//!
//! A stream is a list of frames, valid or broken by changed bytes. Properties: the cuts of the
//! input change neither messages nor verdict, both delivery rules give the same messages, and
//! tungstenite's complete codec reads the same messages up to the end or the first violation.

use std::io::{Cursor, Read, Write};

use interlink_protocol::websocket::close;
use interlink_protocol::websocket::frame::append_client_frame;
use interlink_protocol::websocket::limits::{Delivery, CARRIED_BYTES_MAX};
use interlink_protocol::websocket::{
    Assembler, ControlKind, DataKind, Limits, Opcode, Reader, Step, Violation,
};
use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const MESSAGE_BYTES: u32 = 3_000;

/// Limits that generated streams reach now and then. No fragment limit: the peer has none.
fn limits(delivery: Delivery) -> Limits {
    Limits {
        frame_bytes: MESSAGE_BYTES,
        message_bytes: MESSAGE_BYTES,
        fragments: 1 << 20,
        delivery,
    }
}

/// What an application sees of a stream, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Data(DataKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// How a stream ended: cut off, closed, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Closed,
    Refused(Violation),
}

/// The driver that a connection needs around a reader.
struct Ours {
    reader: Reader,
    assembler: Assembler,
    limits: Limits,
    carried: Vec<u8>,
    seen: Vec<Seen>,
    verdict: Verdict,
}

impl Ours {
    fn new(delivery: Delivery) -> Self {
        Ours {
            reader: Reader::server(),
            assembler: Assembler::new(1_000),
            limits: limits(delivery),
            carried: Vec::new(),
            seen: Vec::new(),
            verdict: Verdict::Open,
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        self.carried.extend_from_slice(piece);
        let mut at = 0;
        while self.verdict == Verdict::Open {
            let rest = &mut self.carried[at..];
            let available = rest.len();
            match step(
                &mut self.reader,
                &mut self.assembler,
                rest,
                &self.limits,
                &mut self.seen,
            ) {
                Taken::Consumed(consumed) => {
                    assert!(consumed > 0 && consumed <= available);
                    at += consumed;
                }
                Taken::NeedMore(wanted) => {
                    assert!(wanted > available, "{wanted} bytes are here");
                    if self.limits.delivery == Delivery::Pieces {
                        assert!(available < CARRIED_BYTES_MAX);
                    }
                    break;
                }
                Taken::Ended(verdict) => self.verdict = verdict,
            }
        }
        self.carried.drain(..at);
    }

    fn run(delivery: Delivery, pieces: &[&[u8]]) -> (Vec<Seen>, Verdict) {
        let mut ours = Ours::new(delivery);
        for piece in pieces {
            ours.receive(piece);
        }
        (ours.seen, ours.verdict)
    }
}

enum Taken {
    Consumed(usize),
    NeedMore(usize),
    Ended(Verdict),
}

fn step(
    reader: &mut Reader,
    assembler: &mut Assembler,
    input: &mut [u8],
    limits: &Limits,
    seen: &mut Vec<Seen>,
) -> Taken {
    let (assembled, consumed) = match reader.next(input, limits) {
        Step::NeedMore { wanted } => return Taken::NeedMore(wanted),
        Step::Failed(violation) => return Taken::Ended(Verdict::Refused(violation)),
        Step::Message {
            kind,
            payload,
            consumed,
        } => (assembler.whole(kind, payload).map(Some), consumed),
        Step::Fragment {
            kind,
            payload,
            consumed,
            ends_message,
        } => (assembler.fragment(kind, payload, ends_message), consumed),
        Step::Control {
            kind,
            payload,
            consumed,
        } => {
            seen.push(match kind {
                ControlKind::Ping => Seen::Ping(payload.to_vec()),
                ControlKind::Pong => Seen::Pong(payload.to_vec()),
                ControlKind::Close => match close::parse(payload) {
                    Ok(frame) => {
                        seen.push(Seen::Close(frame.code));
                        return Taken::Ended(Verdict::Closed);
                    }
                    Err(violation) => return Taken::Ended(Verdict::Refused(violation)),
                },
            });
            return Taken::Consumed(consumed);
        }
    };
    match assembled {
        Ok(Some(message)) => seen.push(Seen::Data(message.kind, message.payload.to_vec())),
        Ok(None) => {}
        Err(violation) => return Taken::Ended(Verdict::Refused(violation)),
    }
    Taken::Consumed(consumed)
}

/// A transport that plays the stream and swallows what is written.
struct Played<'a>(Cursor<&'a [u8]>);

impl Read for Played<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Played<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite sees, and whether it refused the stream.
fn run_tungstenite(stream: &[u8]) -> (Vec<Seen>, bool) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .max_frame_size(Some(MESSAGE_BYTES as usize))
        .max_message_size(Some(MESSAGE_BYTES as usize));
    let played = Played(Cursor::new(stream));
    let mut peer = WebSocket::from_raw_socket(played, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match peer.read() {
            Ok(Message::Text(text)) => Seen::Data(DataKind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Seen::Data(DataKind::Binary, bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(Message::Close(frame)) => {
                seen.push(Seen::Close(frame.map(|frame| frame.code.into())));
                return (seen, false);
            }
            Ok(Message::Frame(frame)) => panic!("raw frames are not read: {frame}"),
            // The stream is over without a close frame.
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ))
            | Err(Error::ConnectionClosed) => return (seen, false),
            Err(_) => return (seen, true),
        });
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        3 => "[a-zé€😀]{0,30}".prop_map(String::into_bytes),
        2 => (0usize..1_500).prop_map(|length| vec![b'x'; length]),
    ]
}

fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![
        Just(Opcode::Data(DataKind::Text)),
        Just(Opcode::Data(DataKind::Binary)),
        Just(Opcode::Control(ControlKind::Ping)),
        Just(Opcode::Control(ControlKind::Pong)),
    ]
}

fn append(out: &mut Vec<u8>, opcode: Opcode, is_final: bool, payload: &[u8], key: [u8; 4]) {
    append_client_frame(opcode, is_final, payload, key, out);
}

/// One item of a stream: a control frame, or a message in fragments with pings between them.
fn item() -> impl Strategy<Value = Vec<u8>> {
    (
        opcode(),
        prop::collection::vec((payload(), any::<bool>()), 1..4),
        any::<[u8; 4]>(),
    )
        .prop_map(|(opcode, parts, key)| {
            let mut out = Vec::new();
            if let Opcode::Control(_) = opcode {
                let length = parts[0].0.len().min(125);
                append(&mut out, opcode, true, &parts[0].0[..length], key);
                return out;
            }
            let last = parts.len() - 1;
            for (index, (part, has_ping)) in parts.iter().enumerate() {
                let opcode = if index == 0 {
                    opcode
                } else {
                    Opcode::Continuation
                };
                append(&mut out, opcode, index == last, part, key);
                if *has_ping && index < last {
                    append(
                        &mut out,
                        Opcode::Control(ControlKind::Ping),
                        true,
                        b"beat",
                        key,
                    );
                }
            }
            out
        })
}

fn close_item() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![Just(1000u16), 900u16..1_100, 2_900u16..5_100];
    prop::option::weighted(0.5, (code, "[a-zé]{0,10}")).prop_map(|close| {
        let mut out = Vec::new();
        if let Some((code, reason)) = close {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            append(
                &mut out,
                Opcode::Control(ControlKind::Close),
                true,
                &payload,
                [3; 4],
            );
        }
        out
    })
}

/// Items, perhaps a close frame, then up to three changed bytes near the starts of frames or
/// anywhere, and perhaps a missing tail.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let tail = prop::option::weighted(0.3, any::<prop::sample::Index>());
    let changes = prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(change, 1..4)];
    let items = prop::collection::vec(item(), 0..6);
    (items, close_item(), changes, tail).prop_map(|(items, close, changes, tail)| {
        let mut bytes = items.concat();
        bytes.extend_from_slice(&close);
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Some(tail) = tail {
            bytes.truncate(tail.index(bytes.len() + 1));
        }
        bytes
    })
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in ends {
        pieces.push(&bytes[start..end]);
        start = end;
    }
    pieces
}

/// What tungstenite reports for what we saw: it reads close code 1014, which was registered after
/// RFC 6455, as a protocol error of the peer.
fn as_tungstenite_sees(mut seen: Vec<Seen>) -> Vec<Seen> {
    if let Some(Seen::Close(Some(code @ 1014))) = seen.last_mut() {
        *code = 1002;
    }
    seen
}

/// Our verdicts that tungstenite has no rule for.
fn is_stricter(violation: Violation) -> bool {
    matches!(violation, Violation::LengthNotMinimal)
}

/// A close frame that we refuse by its payload and tungstenite answers as a close.
fn is_bad_close(violation: Violation) -> bool {
    matches!(
        violation,
        Violation::CloseCodeInvalid(_) | Violation::CloseTooShort
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn cuts_change_neither_messages_nor_verdict(
        bytes in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for delivery in [Delivery::Whole, Delivery::Pieces] {
            let whole = Ours::run(delivery, &[&bytes]);
            prop_assert_eq!(&Ours::run(delivery, &cut(&bytes, &cuts)), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&Ours::run(delivery, &single), &whole);
        }
    }

    #[test]
    fn both_deliveries_give_the_same_messages(bytes in stream()) {
        let (whole, whole_verdict) = Ours::run(Delivery::Whole, &[&bytes]);
        let (pieces, pieces_verdict) = Ours::run(Delivery::Pieces, &[&bytes]);
        prop_assert_eq!(whole, pieces);
        // Text in pieces is refused earlier, so a cut stream may be open under the other rule.
        let is_early = pieces_verdict == Verdict::Refused(Violation::TextNotUtf8);
        prop_assert!(whole_verdict == pieces_verdict || is_early && whole_verdict == Verdict::Open);
    }

    #[test]
    fn tungstenite_reads_the_same(bytes in stream()) {
        let (ours, verdict) = Ours::run(Delivery::Whole, &[&bytes]);
        let ours = as_tungstenite_sees(ours);
        let (theirs, refused) = run_tungstenite(&bytes);
        match verdict {
            Verdict::Refused(violation) if is_stricter(violation) => {
                prop_assert!(theirs.starts_with(&ours));
            }
            Verdict::Refused(violation) if is_bad_close(violation) => {
                prop_assert_eq!(&theirs[..ours.len()], &ours[..]);
                prop_assert!(refused || matches!(theirs.last(), Some(Seen::Close(_))));
            }
            Verdict::Refused(violation) => {
                prop_assert_eq!(&theirs, &ours);
                // It refuses some frames only when they are complete: then complete the last
                // one. Zeros may complete a control frame with a length that is not minimal.
                let completed = [&bytes[..], &[0; MESSAGE_BYTES as usize]].concat();
                let is_let_through = !refused
                    && violation != Violation::ControlTooLong
                    && run_tungstenite(&completed) != (ours, true);
                prop_assert!(!is_let_through, "{:?} was let through", violation);
            }
            Verdict::Open | Verdict::Closed => {
                prop_assert_eq!(&theirs, &ours);
                prop_assert!(!refused);
            }
        }
    }
}
