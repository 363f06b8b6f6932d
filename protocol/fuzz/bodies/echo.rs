//! The echo connection: reader, assembler, UTF-8 and closing handshake together. Input: one byte
//! that chooses the size of pieces, then the frames of a client.
//!
//! Properties: the output does not depend on how the input was cut; all of it is valid frames of
//! a server, and after a close frame comes nothing.

use interlink_protocol::websocket::echo::Next;
use interlink_protocol::websocket::limits::{Delivery, Limits};
use interlink_protocol::websocket::{Assembler, ControlKind, EchoConnection, Reader, Step};

/// Small enough that short inputs reach every limit.
const LIMITS: Limits = Limits {
    frame_bytes: 200,
    message_bytes: 300,
    fragments: 8,
    delivery: Delivery::Pieces,
};

/// Runs the properties over one input.
pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let whole = answer(bytes, bytes.len());
    assert_eq!(
        answer(bytes, 1),
        whole,
        "single bytes differ from the whole"
    );
    let piece = 2 + usize::from(*choice);
    assert_eq!(
        answer(bytes, piece),
        whole,
        "pieces of {piece} bytes differ from the whole"
    );
    check_output(whole);
}

/// The output for `bytes` that arrive `piece` at a time, and whether the connection ended.
fn answer(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut connection = EchoConnection::opened(LIMITS);
    let mut out = Vec::new();
    for arrived in bytes.to_vec().chunks_mut(piece.max(1)) {
        let next = connection.receive(arrived, &mut out);
        assert_eq!(next == Next::Close, connection.is_ended());
    }
    (out, connection.is_ended())
}

fn check_output((mut out, is_ended): (Vec<u8>, bool)) {
    // A message that came in fragments is answered in one frame.
    let limits = Limits {
        frame_bytes: LIMITS.message_bytes,
        delivery: Delivery::Whole,
        ..LIMITS
    };
    let mut reader = Reader::client();
    let mut assembler = Assembler::new(0);
    let mut at = 0;
    let mut has_close = false;
    while at < out.len() {
        assert!(!has_close, "bytes after the close frame");
        at += match reader.next(&mut out[at..], &limits) {
            Step::Message {
                kind,
                payload,
                consumed,
            } => {
                assembler.whole(kind, payload).expect("valid text");
                consumed
            }
            Step::Control { kind, consumed, .. } => {
                has_close = kind == ControlKind::Close;
                consumed
            }
            other => panic!("not an answer of an echo: {other:?}"),
        };
    }
    assert_eq!(is_ended, has_close);
}
