//! What leaves a publisher's home for the shard that owns the channel.
//!
//! Purpose: a record that home has journaled, and an event that nobody stores, go to the owner
//! as bytes that lack only their position.
//!
//! Thread: the home shard.

use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;
use interlink_relay::record::{Kind, Sequence};

use super::mesh::{Foreign, Message};
use super::Shard;

impl Shard {
    /// Hands a journaled record to the owner of its channel once it is written.
    pub(super) fn forward_record(
        &mut self,
        class: Priority,
        sequence: Sequence,
        record: RecordId,
        (owner, frame): (u16, &[u8]),
    ) {
        let foreign = Foreign {
            home: self.id,
            kind: Kind::of(class),
            sequence,
            record,
            durable: true,
            since_us: self.clock.now_us(),
            frame: frame.to_vec(),
        };
        self.journal
            .await_forward(class, sequence, owner, Box::new(foreign));
    }

    /// Hands an event that is not stored to the owner of its channel.
    pub(super) fn send_ephemeral(
        &mut self,
        class: Priority,
        record: RecordId,
        (owner, frame): (u16, &[u8]),
    ) {
        let foreign = Foreign {
            home: self.id,
            kind: Kind::of(class),
            sequence: Sequence::NONE,
            record,
            durable: false,
            since_us: self.clock.now_us(),
            frame: frame.to_vec(),
        };
        self.mesh
            .send(owner, class, Message::Place(Box::new(foreign)));
    }
}
