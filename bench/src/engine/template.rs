//! Writing client frames: whole ones with the encoder, publishes by patching a template.
//!
//! A publish differs from the one before in its id and its stamp only. The template is encoded
//! once by the protocol's own encoder; sending copies it, patches the two places and masks it
//! with a fresh key, as RFC 6455 section 5.3 asks of clients.
//!
//! Runs on: the generator's thread.

use super::payload::Payload;
use super::peek;
use super::stamp::{self, Stamp, STAMP_BYTES};
use anyhow::{Context, Result};
use interlink_protocol::frame::{FrameEncoder, PublishFields};
use interlink_protocol::websocket::frame::{self, DataKind, Opcode};
use interlink_protocol::websocket::mask;
use interlink_wire as wire;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Encodes client frames and masks them.
pub struct FrameWriter {
    /// The protocol's encoder.
    pub encoder: FrameEncoder,
    keys: SmallRng,
}

impl FrameWriter {
    /// A writer whose masking keys follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            encoder: FrameEncoder::new(),
            keys: SmallRng::seed_from_u64(seed),
        }
    }

    fn key(&mut self) -> [u8; 4] {
        self.keys.random::<u32>().to_ne_bytes()
    }

    /// Appends what `encode` makes as one masked binary message.
    pub fn append<'a>(
        &'a mut self,
        out: &mut Vec<u8>,
        encode: impl FnOnce(&'a mut FrameEncoder) -> &'a [u8],
    ) {
        let key = self.key();
        let bytes = encode(&mut self.encoder);
        frame::append_client_frame(Opcode::Data(DataKind::Binary), true, bytes, key, out);
    }

    /// Appends one masked frame with this payload.
    pub fn append_frame(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        let key = self.key();
        frame::append_client_frame(opcode, true, payload, key, out);
    }

    /// Appends a publish of `template`.
    pub fn append_publish(
        &mut self,
        out: &mut Vec<u8>,
        template: &Template,
        id: u64,
        stamp: Stamp,
    ) {
        let key = self.key();
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let message = &mut out[start..];
        let (header, body) = message.split_at_mut(template.header_bytes);
        header[template.header_bytes - key.len()..].copy_from_slice(&key);
        if let Some(place) = template.id_at {
            body[place..place + 8].copy_from_slice(&id.to_le_bytes());
        }
        stamp.write(&mut body[template.stamp_at..]);
        mask::apply(body, key);
    }
}

/// A message that is sent again and again with another id and stamp.
#[derive(Clone, Debug)]
pub struct Template {
    /// Header with an empty key, then the payload unmasked.
    bytes: Box<[u8]>,
    header_bytes: usize,
    /// Where the client message id stands in the payload; an echo message has none.
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// A publish of `payload` to `channel`.
    pub fn publish(encoder: &mut FrameEncoder, channel: &str, payload: &Payload) -> Result<Self> {
        Self::publish_keyed(encoder, channel, payload, None)
    }

    /// A publish with a conflation key.
    pub fn publish_keyed(
        encoder: &mut FrameEncoder,
        channel: &str,
        payload: &Payload,
        conflation_key: Option<&str>,
    ) -> Result<Self> {
        // Any id but the default 0, which would not be stored.
        let fields = PublishFields {
            conflation_key,
            ..PublishFields::new(1, channel, payload.event_type, &payload.bytes)
        };
        let bytes = encoder.publish(&fields);
        let (kind, body) = peek::body(bytes).context("an encoded publish has no body")?;
        anyhow::ensure!(
            kind == wire::Body::Publish,
            "an encoded publish is of another kind"
        );
        let id_at = body
            .place(wire::Publish::VT_CLIENT_MESSAGE_ID)
            .context("no id is stored")?;
        let stamp_at = stamp::place(bytes).context("an encoded publish has no stamp")?;
        Ok(Self::wrap(bytes, Some(id_at), stamp_at))
    }

    /// A plain message of `bytes` bytes with a stamp at its start, for the echo path.
    pub fn message(bytes: usize) -> Self {
        let mut payload = vec![b'.'; bytes.max(STAMP_BYTES)];
        Stamp::default().write(&mut payload);
        Self::wrap(&payload, None, 0)
    }

    fn wrap(payload: &[u8], id_at: Option<usize>, stamp_at: usize) -> Self {
        let mut bytes = Vec::new();
        let opcode = Opcode::Data(DataKind::Binary);
        frame::append_client_frame(opcode, true, payload, [0; 4], &mut bytes);
        let header_bytes = bytes.len() - payload.len();
        Self {
            bytes: bytes.into(),
            header_bytes,
            id_at,
            stamp_at,
        }
    }

    /// Bytes on the wire of one message.
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
    use interlink_protocol::websocket::frame::{find_whole, Role};

    #[test]
    fn a_patched_publish_decodes_to_its_id_and_stamp() {
        let mut writer = FrameWriter::new(1);
        let payload = Payload::new("chat", 128).unwrap();
        let template = Template::publish(&mut writer.encoder, "chat.7", &payload).unwrap();
        let stamp = Stamp {
            sender: 9,
            sequence: 1 << 40,
            scheduled_ns: 123,
        };
        let mut out = Vec::new();
        writer.append_publish(&mut out, &template, 0xABCD, stamp);
        assert_eq!(out.len(), template.wire_bytes());
        let whole = find_whole(&out, Role::Server, 65_536).unwrap();
        let message = &mut out[whole.payload_start..whole.payload_end];
        mask::apply(message, whole.key);
        let frame = decode_client(message, &FrameLimits::CLIENT).unwrap();
        let ClientFrame::Publish(publish) = frame else {
            panic!("{frame:?}")
        };
        assert_eq!(publish.client_message_id(), 0xABCD);
        assert_eq!(publish.channel(), "chat.7");
        assert_eq!(publish.payload().len(), 128);
        assert_eq!(Stamp::find(publish.payload().bytes(), &mut 0), Some(stamp));
    }

    #[test]
    fn an_echo_message_has_the_wanted_size() {
        assert_eq!(Template::message(128).wire_bytes(), 128 + 2 + 2 + 4);
        assert_eq!(Template::message(100).wire_bytes(), 100 + 2 + 4);
    }
}
