//! 20,000 mutated frames: each is answered as the protocol says, and the node never dies.
//!
//! What the answer has to be follows from the bytes alone, by the pure codec; what is tested is
//! that the node with its sockets, pools and tables does the same.

use interlink_protocol::frame::{
    decode_client, ClientFrame, FrameEncoder, FrameLimits, HelloFields, PublishFields, ServerFrame,
    SubscribeFields,
};
use interlink_protocol::ids::{InstanceId, Position};
use interlink_protocol::limits::FRAME_BYTES;
use interlink_protocol::websocket::{close, ControlKind, DataKind, Limits, Opcode, Reader, Step};
use interlink_protocol::CloseCode;

use super::mutation::{mutate, Numbers};
use super::siege::Siege;
use super::support::chat::{chat_message, CHAT_MESSAGE};
use super::support::raw::{binary, data_frame, decode, upgrade_request, Incoming, Raw};
use super::support::Node;

/// Mutated frames.
const MUTANTS: u64 = 20_000;
/// Clients that send them side by side.
const CLIENTS: u64 = 2;
/// Request ids of the questions after each frame start here.
const QUESTIONS: u32 = 0x4000_0000;

/// What has to follow a frame.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// The session goes on.
    Kept,
    /// A close with this code.
    Closed(u16),
    /// The node waits for more bytes of the frame or its message.
    Waits,
}

/// Valid frames of every kind that a client may send.
fn originals(token: &str) -> Vec<Vec<u8>> {
    let mut encoder = FrameEncoder::new();
    let position = Position {
        epoch: 1,
        offset: 2,
        chain: 3,
    };
    let payload = chat_message("hello");
    let channels = [
        SubscribeFields::new("chat.mutant~a"),
        SubscribeFields {
            recover: Some(position),
            token: Some(token),
            ..SubscribeFields::new("collab.paper")
        },
    ];
    let publish = PublishFields::new(1, "chat.mutant~a", CHAT_MESSAGE, &payload);
    let hello = HelloFields {
        token,
        instance: InstanceId(9),
        device: Some("device"),
        client_name: None,
        client_version: None,
        resume: None,
    };
    vec![
        encoder.publish(&publish).to_vec(),
        encoder.subscribe(7, &channels).to_vec(),
        encoder
            .unsubscribe(8, &["chat.mutant~a", "user.mutant"])
            .to_vec(),
        encoder.ack(&[("chat.mutant~a", position)]).to_vec(),
        encoder.pong(99, &[("user.mutant", position)]).to_vec(),
        encoder
            .history(9, "chat.mutant~a", Some(position), 10)
            .to_vec(),
        encoder.presence(10, "chat.mutant~a", Some("page")).to_vec(),
        encoder.refresh(11, token).to_vec(),
        encoder.hello(&hello).to_vec(),
    ]
}

/// Case `case`: bytes as they go on the wire.
fn mutant(case: u64, originals: &[Vec<u8>]) -> Vec<u8> {
    let mut numbers = Numbers::of(case);
    let mut frame = originals[numbers.below(originals.len())].clone();
    if numbers.below(4) > 0 {
        mutate(&mut frame, &mut numbers);
        return binary(&frame);
    }
    let control = Opcode::Control(match numbers.below(3) {
        0 => ControlKind::Ping,
        1 => ControlKind::Pong,
        _ => ControlKind::Close,
    });
    let mut bytes = match numbers.below(3) {
        0 => data_frame(control, true, &frame[..frame.len().min(100)]),
        1 => data_frame(Opcode::Data(DataKind::Binary), false, &frame),
        _ => binary(&frame),
    };
    // Only the header, so that the codec is met and not the frame.
    let header_bytes = numbers.below(8) + 1;
    let rest = bytes.split_off(header_bytes.min(bytes.len()));
    mutate(&mut bytes, &mut numbers);
    bytes.extend(rest);
    bytes
}

/// What the codec says of `bytes` in a fresh session.
fn expected(bytes: &[u8]) -> Expected {
    let mut bytes = bytes.to_vec();
    let mut unread = &mut bytes[..];
    let mut reader = Reader::server();
    let mut message = Vec::new();
    while !unread.is_empty() {
        let (closed, consumed) = match reader.next(unread, &Limits::SESSION) {
            Step::NeedMore { .. } => return Expected::Waits,
            Step::Failed(violation) => return Expected::Closed(violation.close_code()),
            Step::Message {
                kind: DataKind::Text,
                ..
            }
            | Step::Fragment {
                kind: DataKind::Text,
                ..
            } => return Expected::Closed(CloseCode::UnsupportedData.number()),
            Step::Message {
                payload, consumed, ..
            } => (close_of(payload), consumed),
            Step::Fragment {
                payload,
                consumed,
                ends_message,
                ..
            } => {
                message.extend_from_slice(payload);
                let whole = std::mem::take(&mut message);
                match ends_message {
                    true => (close_of(&whole), consumed),
                    false => {
                        message = whole;
                        (None, consumed)
                    }
                }
            }
            Step::Control {
                kind: ControlKind::Close,
                payload,
                ..
            } => {
                let code = close::answer(payload).unwrap_or(CloseCode::NoStatus.number());
                return Expected::Closed(code);
            }
            Step::Control { consumed, .. } => (None, consumed),
        };
        if let Some(code) = closed {
            return Expected::Closed(code.number());
        }
        unread = &mut unread[consumed..];
    }
    match reader.is_between_messages() {
        true => Expected::Kept,
        false => Expected::Waits,
    }
}

/// The code with which a message ends a session, if it does.
fn close_of(payload: &[u8]) -> Option<CloseCode> {
    let limits = FrameLimits {
        frame_bytes: FRAME_BYTES,
    };
    match decode_client(payload, &limits) {
        Ok(ClientFrame::Hello(_)) => Some(CloseCode::UnexpectedFrame),
        Ok(_) => None,
        Err(error) => Some(error.close_code()),
    }
}

/// One client that sends its share of the mutants.
struct Sender<'a> {
    node: &'a Node,
    opening: Vec<u8>,
    raw: Option<Raw>,
    kept: u64,
    closed: u64,
    waited: u64,
}

impl<'a> Sender<'a> {
    fn new(node: &'a Node, token: &str) -> Self {
        let hello = HelloFields {
            token,
            instance: InstanceId(9),
            device: None,
            client_name: None,
            client_version: None,
            resume: None,
        };
        let mut opening = upgrade_request("mutant");
        // The Hello does not wait for the answer to the upgrade.
        opening.extend(binary(FrameEncoder::new().hello(&hello)));
        Self {
            node,
            opening,
            raw: None,
            kept: 0,
            closed: 0,
            waited: 0,
        }
    }

    /// A welcomed connection.
    fn connection(&mut self) -> Raw {
        if let Some(raw) = self.raw.take() {
            return raw;
        }
        let mut raw = Raw::connect(self.node.clients());
        raw.send(&self.opening);
        assert_eq!(raw.read_answer().0, 101);
        let welcome = raw.next_frame();
        assert!(matches!(decode(&welcome), ServerFrame::Welcome(_)));
        raw
    }

    fn send(&mut self, case: u64, bytes: &[u8]) {
        let mut raw = self.connection();
        let mut sent = bytes.to_vec();
        let question = QUESTIONS + case as u32;
        let ask = binary(FrameEncoder::new().unsubscribe(question, &["activity.nobody"]));
        let expected = expected(bytes);
        if expected == Expected::Kept {
            sent.extend(ask);
        }
        raw.send(&sent);
        match expected {
            Expected::Waits => self.waited += 1,
            Expected::Closed(code) => {
                assert_eq!(raw.close_code(), code, "case {case}");
                self.closed += 1;
            }
            Expected::Kept => {
                while !answers(&raw.next(), question, case) {}
                self.kept += 1;
                self.raw = Some(raw);
            }
        }
    }
}

/// Whether this is the answer to the question; everything before it has to be a valid frame.
fn answers(incoming: &Incoming, question: u32, case: u64) -> bool {
    match incoming {
        Incoming::Pong(_) => false,
        Incoming::Frame(frame) => match decode(frame) {
            ServerFrame::Subscribed(answer) => answer.request_id() == question,
            _ => false,
        },
        other => panic!("case {case}: the session is kept, but {other:?} came"),
    }
}

#[test]
fn twenty_thousand_mutated_frames_are_answered_as_the_protocol_says() {
    let mut siege = Siege::lay("20,000 mutated frames", "");
    let token = siege.node.token("mutant");
    let originals = originals(&token);
    let node = &siege.node;
    let counts = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (originals, token) = (&originals, &token);
                scope.spawn(move || {
                    let mut sender = Sender::new(node, token);
                    for case in (client..MUTANTS).step_by(CLIENTS as usize) {
                        sender.send(case, &mutant(case, originals));
                    }
                    (sender.kept, sender.closed, sender.waited)
                })
            })
            .collect();
        let ended = senders
            .into_iter()
            .map(|sender| sender.join().expect("no surprise"));
        ended.fold((0, 0, 0), |sum, (kept, closed, waited)| {
            (sum.0 + kept, sum.1 + closed, sum.2 + waited)
        })
    });
    println!("kept, closed, waiting: {counts:?}");
    assert_eq!(counts.0 + counts.1 + counts.2, MUTANTS);
    assert!(
        counts.0 > MUTANTS / 20 && counts.1 > MUTANTS / 4,
        "{counts:?}"
    );
    siege.attack(|_| ());
    siege.lift();
}
