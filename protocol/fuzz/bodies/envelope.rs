//! Frames of both sides. Input: a byte that chooses what the rest is, then the bytes.
//!
//! Properties: nothing panics; what was accepted can be read in full and stays within its
//! bounds; an accepted event can be encoded again with the same meaning, and its position can be
//! rewritten without touching anything else; a payload verdict depends on the payload alone.

use interlink_protocol::frame::event::{EventFields, EventPlaces};
use interlink_protocol::frame::{decode_client, decode_server, ClientFrame};
use interlink_protocol::frame::{FrameEncoder, FrameLimits, ServerFrame};
use interlink_protocol::ids::Position;
use interlink_protocol::limits;
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::registry::Registry;

/// Runs the properties over one input.
pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    match choice % 3 {
        0 => check_client(bytes),
        1 => check_server(bytes),
        _ => check_payload(choice / 3, bytes),
    }
}

fn check_client(bytes: &[u8]) {
    let Ok(frame) = decode_client(bytes, &FrameLimits::CLIENT) else {
        return;
    };
    // Printing reads every field of every table.
    let text = format!("{frame:?}");
    assert!(text.starts_with(frame.kind()));
    let items = match frame {
        ClientFrame::Subscribe(frame) => frame.channels().len(),
        ClientFrame::Unsubscribe(frame) => frame.channels().len(),
        ClientFrame::Ack(frame) => frame.positions().len(),
        _ => 0,
    };
    assert!(items <= limits::ITEMS_PER_FRAME);
}

fn check_server(bytes: &[u8]) {
    let Ok(frame) = decode_server(bytes, &FrameLimits::SERVER) else {
        return;
    };
    let text = format!("{frame:?}");
    assert!(text.starts_with(frame.kind()));
    let ServerFrame::Event(event) = frame else {
        return;
    };
    let fields = EventFields::from(event);
    let mut encoder = FrameEncoder::new();
    let mut again = encoder.event(&fields).to_vec();
    // Texts that share their bytes in the input are written out, so the copy may be too large.
    let large = FrameLimits {
        frame_bytes: again.len(),
    };
    let Ok(ServerFrame::Event(copy)) = decode_server(&again, &large) else {
        panic!("an encoded event is no event");
    };
    assert_eq!(
        format!("{fields:?}"),
        format!("{:?}", EventFields::from(copy))
    );
    check_positions(&mut again);
}

fn check_positions(event: &mut [u8]) {
    let before = event.to_vec();
    let places = EventPlaces::find(event).expect("an encoded event has its places");
    let (position, previous_chain) = places.read(event);
    let other = Position {
        epoch: !position.epoch,
        offset: 1,
        chain: !position.chain,
    };
    places.patch(event, other, !previous_chain);
    assert_eq!(places.read(event), (other, !previous_chain));
    places.patch(event, position, previous_chain);
    assert_eq!(event, before, "a position was written outside its place");
}

fn check_payload(choice: u8, bytes: &[u8]) {
    let registry = Registry::core();
    let types = registry.iter().count();
    let event_type = registry
        .iter()
        .nth(usize::from(choice) % types)
        .expect("within the table");
    let namespaces = Namespaces::defaults();
    for policy in namespaces.iter() {
        let (number, version) = (event_type.number, event_type.version);
        let verdict = registry.check(number, version, bytes, policy);
        assert_eq!(verdict, registry.check(number, version, bytes, policy));
        if bytes.len() > policy.payload_bytes as usize {
            assert!(verdict.is_err());
        }
    }
}
