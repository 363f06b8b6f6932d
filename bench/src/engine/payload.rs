//! Payloads of an exact size, in the event type that the namespace takes.
//!
//! The bench speaks as any client: each namespace gets an event type of the registry, with a
//! stamp and filler in one of its text fields. A FlatBuffer grows in steps, so the last bytes up
//! to the wanted size are zeros behind it, which readers ignore.
//!
//! Runs on: the generator's thread, before the traffic.

use super::stamp::{self, STAMP_BYTES};
use anyhow::{bail, Result};
use flatbuffers::{FlatBufferBuilder, WIPOffset};
use interlink_wire::events;

/// A payload with room for a stamp.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Number of the event type.
    pub event_type: u16,
    /// The bytes, with an empty stamp inside.
    pub bytes: Vec<u8>,
    /// Where the stamp stands.
    pub stamp_at: usize,
}

impl Payload {
    /// A payload of `bytes` bytes for a channel of `namespace`.
    pub fn new(namespace: &str, bytes: usize) -> Result<Self> {
        let event_type = match namespace {
            "chat" | "inst" | "dept" | "class" => 3,
            "alert" => 2,
            "user" => 7,
            "activity" => 12,
            "usage" => 9,
            "report" => 10,
            other => bail!("the bench has no payload for namespace {other}"),
        };
        let mut best = None;
        for text_bytes in STAMP_BYTES..=bytes {
            let built = build(event_type, &text(text_bytes));
            if built.len() > bytes {
                break;
            }
            best = Some(built);
        }
        let Some(mut built) = best else {
            let least = build(event_type, &text(STAMP_BYTES)).len();
            bail!(
                "a payload of {bytes} bytes is too small for namespace {namespace}: use --payload \
                 {least} or more"
            );
        };
        built.resize(bytes, 0);
        let Some(stamp_at) = stamp::place(&built) else {
            bail!("the payload of namespace {namespace} lost its stamp while it was built");
        };
        Ok(Self {
            event_type,
            bytes: built,
            stamp_at,
        })
    }
}

/// A stamp's magic and filler, `length` bytes in all.
fn text(length: usize) -> String {
    let mut text = String::from_utf8_lossy(stamp::MAGIC).into_owned();
    let letters = "the quick brown fox jumps over the lazy dog "
        .chars()
        .cycle();
    text.extend(std::iter::repeat_n('0', STAMP_BYTES - stamp::MAGIC.len()));
    text.extend(letters.take(length - STAMP_BYTES));
    text
}

fn build(event_type: u16, text: &str) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let words = builder.create_string(text);
    match event_type {
        2 => {
            let rule = builder.create_string("bench");
            let table = events::SecurityAlert::create(
                &mut builder,
                &events::SecurityAlertArgs {
                    rule: Some(rule),
                    summary: Some(words),
                    ..Default::default()
                },
            );
            finish(builder, table)
        }
        7 => {
            let kind = builder.create_string("bench");
            let table = events::Notification::create(
                &mut builder,
                &events::NotificationArgs {
                    kind: Some(kind),
                    title: Some(words),
                    ..Default::default()
                },
            );
            finish(builder, table)
        }
        9 => {
            let table = events::UsageSample::create(
                &mut builder,
                &events::UsageSampleArgs {
                    metric: Some(words),
                    ..Default::default()
                },
            );
            finish(builder, table)
        }
        10 => {
            let collection = builder.create_string("bench");
            let table = events::DataRecordChanged::create(
                &mut builder,
                &events::DataRecordChangedArgs {
                    collection: Some(collection),
                    key: Some(words),
                    ..Default::default()
                },
            );
            finish(builder, table)
        }
        12 => {
            let user = builder.create_string("bench");
            let table = events::UserAction::create(
                &mut builder,
                &events::UserActionArgs {
                    user: Some(user),
                    action: Some(words),
                    object: None,
                },
            );
            finish(builder, table)
        }
        _ => {
            let table = events::ChatMessage::create(
                &mut builder,
                &events::ChatMessageArgs {
                    text: Some(words),
                    ..Default::default()
                },
            );
            finish(builder, table)
        }
    }
}

fn finish<T>(mut builder: FlatBufferBuilder<'_>, table: WIPOffset<T>) -> Vec<u8> {
    builder.finish(table, None);
    builder.finished_data().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flatbuffers::VerifierOptions;

    const NAMESPACES: [&str; 9] = [
        "chat", "inst", "dept", "class", "alert", "user", "activity", "usage", "report",
    ];

    #[test]
    fn every_payload_has_its_size_and_passes_the_registry() {
        for namespace in NAMESPACES {
            for bytes in [96, 128, 129, 1000] {
                let payload = Payload::new(namespace, bytes).unwrap();
                assert_eq!(payload.bytes.len(), bytes);
                assert!(stamp::place(&payload.bytes) == Some(payload.stamp_at));
                let row = interlink_wire::EVENT_TYPES
                    .iter()
                    .find(|row| row.number == payload.event_type)
                    .unwrap();
                assert!(row.namespaces.contains(&namespace), "{namespace}");
                (row.verify)(&VerifierOptions::default(), &payload.bytes).unwrap();
            }
        }
    }

    #[test]
    fn too_small_a_payload_names_the_least_size() {
        let error = Payload::new("chat", 10).unwrap_err().to_string();
        assert!(error.contains("--payload"), "{error}");
    }
}
