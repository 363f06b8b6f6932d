//! What every implementation of a port has to do, as functions that take one.
//!
//! Each suite gets a closure that makes a fresh, empty implementation, and panics with the
//! broken rule. One-node implementations run them in this crate's tests, implementations
//! over brokers and stores against the real servers.

mod archive;
mod backplane;
mod event_log;
mod floors;
mod leases;

pub use archive::archive;
pub use backplane::{backplane, backplane_between_nodes};
pub use event_log::event_log;

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::record::{Placement, RecordRef};

/// Attempts to complete before a suite gives an answer up.
const COMPLETIONS_MAX: usize = 1_000_000;

/// An encoded event of a channel, without a position.
fn event(channel: &str, id: u64) -> Vec<u8> {
    placed_event(channel, id, Placement::default())
}

fn placed_event(channel: &str, id: u64, placement: Placement) -> Vec<u8> {
    let payload = id.to_le_bytes();
    let fields = EventFields {
        channel,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: id,
        payload: &payload,
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn record<'a>(
    class: Priority,
    channel: &'a str,
    id: u64,
    placement: Option<Placement>,
    frame: &'a [u8],
) -> RecordRef<'a> {
    RecordRef {
        class,
        record: RecordId(u128::from(id)),
        instance: InstanceId(5),
        client_message_id: id,
        payload_hash: id * 3,
        accepted_at_us: id,
        channel,
        placement,
        frame,
    }
}

/// A position with the offset of `position` that was never issued.
fn forged(position: Position) -> Position {
    Position {
        chain: position.chain ^ 1,
        ..position
    }
}
