//! Delivery cursors: how far each device has acknowledged.
//!
//! Purpose: for channels whose policy keeps a cursor, the client's cumulative
//! acknowledgement moves a cursor that only goes forward within an epoch.
//!
//! Limits: one cursor for each acknowledged channel of a user that this shard knows.
//!
//! Thread: the home shard of the user.

use std::collections::HashMap;

use flatbuffers::{ForwardsUOffset, Vector};
use interlink_protocol::ids::Position;
use interlink_wire as wire;

use super::connection::NONE;
use super::Shard;

/// Cursors by user and channel.
#[derive(Debug, Default)]
pub struct Cursors {
    positions: HashMap<(u32, u32), Position>,
}

impl Cursors {
    /// Moves a cursor forward; returns whether it moved.
    pub fn advance(&mut self, user: u32, channel: u32, position: Position) -> bool {
        let cursor = self.positions.entry((user, channel)).or_default();
        let forward = (position.epoch, position.offset) > (cursor.epoch, cursor.offset);
        if forward {
            *cursor = position;
        }
        forward
    }
}

impl Shard {
    /// A client acknowledges what it has processed.
    pub(super) fn on_ack(
        &mut self,
        connection: u32,
        positions: Vector<'_, ForwardsUOffset<wire::ChannelPosition<'_>>>,
    ) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let user = self.sessions[session].user;
        for entry in positions {
            let Some(channel) = self.find_channel(entry.channel()) else {
                continue;
            };
            let record = &self.channels[channel];
            let position = Position::from(entry.position());
            let known = position.offset <= record.sequencer.top().offset;
            if known && self.policy(record.policy).cursor {
                self.cursors.advance(user, channel, position);
            }
        }
    }
}
