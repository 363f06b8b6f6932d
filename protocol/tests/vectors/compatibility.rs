//! What never changes: numbers, names, and that a reader skips what it does not know.

use flatbuffers::FlatBufferBuilder;
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_protocol::registry::Registry;
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;

use super::committed;

/// Every committed line must still be among the present ones; new ones may join.
fn check_lines(file: &str, present: &[String]) {
    let fresh = format!("{}\n", present.join("\n"));
    let golden = String::from_utf8(committed(file, fresh.as_bytes())).expect("text");
    for line in golden.lines() {
        assert!(
            present.iter().any(|other| other == line),
            "{file}: `{line}` was changed or lost"
        );
    }
    assert!(golden.lines().count() > 10, "{file} holds a table");
}

#[test]
fn event_types_keep_number_version_and_name() {
    let present: Vec<String> = Registry::core()
        .iter()
        .map(|entry| format!("{} {} {}", entry.number, entry.version, entry.name))
        .collect();
    check_lines("event-types.txt", &present);
}

#[test]
fn codes_keep_number_name_and_kind() {
    let errors = ErrorCode::ALL.iter().map(|code| {
        let kind = if code.is_temporary() {
            "temporary"
        } else {
            "permanent"
        };
        format!("error {} {} {kind}", code.number(), code.name())
    });
    let closes = CloseCode::ALL.iter().map(|code| {
        let kind = if code.reconnects() {
            "reconnect"
        } else {
            "final"
        };
        format!("close {} {} {kind}", code.number(), code.name())
    });
    let present: Vec<String> = errors.chain(closes).collect();
    check_lines("codes.txt", &present);
}

#[test]
fn kinds_of_frames_keep_their_numbers() {
    let present: Vec<String> = wire::Body::ENUM_VALUES
        .iter()
        .map(|kind| format!("{} {}", kind.0, kind.variant_name().unwrap_or_default()))
        .collect();
    check_lines("frame-kinds.txt", &present);
}

/// Writes a heartbeat as a later version might: with one more field.
fn heartbeat_of_a_later_version() -> Vec<u8> {
    const LATER_FIELD: u16 = 40;
    let mut builder = FlatBufferBuilder::new();
    let text = builder.create_string("a field that this version does not know");
    let table = builder.start_table();
    builder.push_slot_always(LATER_FIELD, text);
    builder.push_slot_always(wire::Heartbeat::VT_SERVER_TIME_US, 7u64);
    let body = builder.end_table(table);
    let args = wire::FrameArgs {
        body_type: wire::Body::Heartbeat,
        body: Some(flatbuffers::WIPOffset::new(body.value())),
    };
    let frame = wire::Frame::create(&mut builder, &args);
    wire::finish_frame_buffer(&mut builder, frame);
    builder.finished_data().to_vec()
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    let bytes = heartbeat_of_a_later_version();
    match decode_server(&bytes, &FrameLimits::SERVER).expect("a valid frame") {
        ServerFrame::Heartbeat(frame) => assert_eq!(frame.server_time_us(), 7),
        other => panic!("not a heartbeat: {}", other.kind()),
    }
}
