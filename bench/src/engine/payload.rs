//! Payloads of an exact size, in the event type that the namespace takes.
//!
//! The bench speaks as any client: each namespace gets an event type of the registry, with a
//! stamp and filler in one of its text fields. A FlatBuffer grows in steps, so the last bytes up
//! to the wanted size are zeros behind it, which readers ignore.
//!
//! Runs on: the generator's thread, before the traffic.

use super::stamp::{self, STAMP_BYTES};
use anyhow::{bail, Result};
use flatbuffers::FlatBufferBuilder;
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

/// Builds the payload of an event type: `$table` with fields of which the values are texts.
macro_rules! payload {
    ($table:ident, $arguments:ident { $($field:ident: $text:expr),* }) => {{
        let mut builder = FlatBufferBuilder::new();
        let fields = events::$arguments {
            $($field: Some(builder.create_string($text)),)*
            ..Default::default()
        };
        let table = events::$table::create(&mut builder, &fields);
        builder.finish(table, None);
        builder.finished_data().to_vec()
    }};
}

fn build(event_type: u16, text: &str) -> Vec<u8> {
    match event_type {
        2 => payload!(
            SecurityAlert,
            SecurityAlertArgs {
                rule: "bench",
                summary: text
            }
        ),
        7 => payload!(
            Notification,
            NotificationArgs {
                kind: "bench",
                title: text
            }
        ),
        9 => payload!(UsageSample, UsageSampleArgs { metric: text }),
        10 => payload!(
            DataRecordChanged,
            DataRecordChangedArgs {
                collection: "bench",
                key: text
            }
        ),
        12 => payload!(
            UserAction,
            UserActionArgs {
                user: "bench",
                action: text
            }
        ),
        _ => payload!(ChatMessage, ChatMessageArgs { text: text }),
    }
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
