//! Records as nodes feed them, for tests without servers. Their form is that of
//! `interlink_relay::kafka::record`.

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_protocol::priority::Priority;
use interlink_relay::kafka::consumer::{Consumed, Lane};
use interlink_relay::record::Placement;

/// A partition of a topic.
pub fn lane(partition: i32) -> Lane {
    Lane {
        topic: "interlink.high".into(),
        partition,
    }
}

/// An event that a node feeds.
#[derive(Clone, Copy, Debug)]
pub struct Fed<'a> {
    pub origin: &'a str,
    pub node: &'a str,
    pub channel: &'a str,
    pub id: u64,
    pub accepted_at_us: u64,
    pub place: Option<Placement>,
}

impl Fed<'_> {
    /// The event at an offset.
    pub fn event(&self, offset: i64) -> Consumed {
        let place = self.place.unwrap_or_default();
        let fields = EventFields {
            channel: self.channel,
            position: place.position,
            previous_chain: place.previous_chain,
            record: RecordId(u128::from(self.id)),
            publisher: "ada",
            priority: Priority::P1,
            event_type: 1,
            schema_version: 1,
            server_time_us: self.id,
            payload: b"x",
            conflation_key: None,
            trace: None,
        };
        let value = FrameEncoder::new().event(&fields).to_vec();
        self.record(offset, b"event", value)
    }

    /// Its place at an offset.
    pub fn positioned(&self, offset: i64) -> Consumed {
        let place = self.place.expect("a place");
        let position = place.position;
        let mut value = Vec::new();
        for number in [
            position.epoch,
            position.offset,
            position.chain,
            place.previous_chain,
        ] {
            value.extend_from_slice(&number.to_le_bytes());
        }
        value.extend_from_slice(self.channel.as_bytes());
        self.record(offset, b"positioned", value)
    }

    fn record(&self, offset: i64, kind: &[u8], value: Vec<u8>) -> Consumed {
        let mut source = Vec::new();
        source.extend_from_slice(&1u32.to_le_bytes());
        source.extend_from_slice(&0u16.to_le_bytes());
        source.push(Priority::P1 as u8);
        source.extend_from_slice(&self.id.to_le_bytes());
        source.extend_from_slice(self.node.as_bytes());
        let mut publish = Vec::new();
        publish.extend_from_slice(&InstanceId(5).0.to_le_bytes());
        for number in [self.id, self.id, self.accepted_at_us] {
            publish.extend_from_slice(&number.to_le_bytes());
        }
        let id = u128::from(self.id).to_le_bytes().to_vec();
        let headers = [
            ("interlink-record", id),
            ("interlink-kind", kind.to_vec()),
            ("interlink-origin", self.origin.as_bytes().to_vec()),
            ("interlink-source", source),
            ("interlink-publish", publish),
        ];
        let headers = headers.map(|(name, value)| (name.into(), value.into()));
        Consumed {
            offset,
            timestamp_ms: 0,
            key: b"ada"[..].into(),
            value: value.into(),
            headers: headers.into(),
        }
    }
}
