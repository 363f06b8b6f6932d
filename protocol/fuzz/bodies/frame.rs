//! Frame headers and the reader. Input: one byte whose lowest bit chooses the role, then bytes
//! of a connection.
//!
//! Properties: an accepted header is what tungstenite reads; the hot reader agrees with the
//! complete one; the messages do not depend on how the bytes were cut; steps always advance.

use std::io::Cursor;

use interlink_protocol::websocket::frame::{find_whole, parse, Opcode, Parsed};
use interlink_protocol::websocket::{ControlKind, DataKind, Limits, Reader, Role, Step, Violation};
use tungstenite::protocol::frame::FrameHeader;

/// Runs the properties over one input.
pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    check_header(bytes, role);
    let whole = read(bytes, role, bytes.len());
    assert_eq!(
        whole,
        read(bytes, role, 1),
        "single bytes differ from the whole"
    );
    assert_eq!(
        whole,
        read(bytes, role, 7),
        "pieces of 7 bytes differ from the whole"
    );
}

fn check_header(bytes: &[u8], role: Role) {
    let parsed = parse(bytes, role);
    match parsed {
        Ok(Parsed::Header(header)) => {
            let peer = FrameHeader::parse(&mut Cursor::new(bytes));
            let (peer, length) = peer
                .expect("an accepted header")
                .expect("a complete header");
            assert_eq!(u8::from(peer.opcode), header.opcode.bits());
            assert_eq!(
                (peer.is_final, length),
                (header.is_final, header.payload_bytes)
            );
            assert_eq!(peer.mask.unwrap_or_default(), header.key);
            assert_eq!(peer.len(length), header.header_bytes);
        }
        Ok(Parsed::Wanted(wanted)) => assert!(wanted > bytes.len()),
        Err(violation) => assert_eq!(violation.close_code(), 1002),
    }
    if let Some(whole) = find_whole(bytes, role, u32::MAX) {
        let Ok(Parsed::Header(header)) = parsed else {
            panic!("found what is no header")
        };
        assert!(header.is_final);
        assert_eq!(header.opcode, Opcode::Data(whole.kind));
        assert_eq!(
            (header.key, header.header_bytes),
            (whole.key, whole.payload_start)
        );
        assert_eq!(
            header.payload_bytes,
            (whole.payload_end - whole.payload_start) as u64
        );
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Data(DataKind, Vec<u8>, bool),
    Control(ControlKind, Vec<u8>),
    Failed(Violation),
}

/// What a session's reader sees when the bytes arrive `piece` at a time.
fn read(bytes: &[u8], role: Role, piece: usize) -> Vec<Seen> {
    let mut reader = Reader::new(role);
    let mut carried = Vec::new();
    let mut seen = Vec::new();
    for arrived in bytes.chunks(piece.max(1)) {
        carried.extend_from_slice(arrived);
        loop {
            let available = carried.len();
            let (step, consumed) = match reader.next(&mut carried, &Limits::SESSION) {
                Step::NeedMore { wanted } => {
                    assert!(wanted > available);
                    break;
                }
                Step::Message {
                    kind,
                    payload,
                    consumed,
                } => (Seen::Data(kind, payload.to_vec(), true), consumed),
                Step::Fragment {
                    kind,
                    payload,
                    consumed,
                    ends_message,
                } => (Seen::Data(kind, payload.to_vec(), ends_message), consumed),
                Step::Control {
                    kind,
                    payload,
                    consumed,
                } => (Seen::Control(kind, payload.to_vec()), consumed),
                Step::Failed(violation) => {
                    seen.push(Seen::Failed(violation));
                    return seen;
                }
            };
            assert!(consumed > 0 && consumed <= available);
            carried.drain(..consumed);
            seen.push(step);
        }
    }
    seen
}
