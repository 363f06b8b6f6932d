//! Text for people as event payloads, and back.
//!
//! Runs on: the main thread of a command.

use flatbuffers::FlatBufferBuilder;
use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::NamespacePolicy;
use interlink_wire::{event_types, events};

/// A payload with its event type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Number of the type; 0 is opaque.
    pub(super) event_type: u16,
    /// The bytes.
    pub(super) bytes: Vec<u8>,
}

/// The text as a payload that the channel's namespace takes: opaque where that is
/// allowed, else as the type for words between people. Nothing when there is none.
pub(super) fn of_text(
    channel: &ChannelName<'_>,
    policy: &NamespacePolicy,
    text: &str,
) -> Option<Payload> {
    if policy.opaque_allowed {
        return Some(Payload {
            event_type: 0,
            bytes: text.as_bytes().to_vec(),
        });
    }
    let takes = |number: u16| {
        let rows = event_types::EVENT_TYPES.iter();
        let mut rows = rows.filter(|row| row.number == number);
        rows.any(|row| row.namespaces.contains(&channel.namespace()))
    };
    let mut builder = FlatBufferBuilder::new();
    let written = builder.create_string(text);
    let event_type = if takes(event_types::CHAT_MESSAGE) {
        let fields = events::ChatMessageArgs {
            text: Some(written),
            ..Default::default()
        };
        let root = events::ChatMessage::create(&mut builder, &fields);
        builder.finish_minimal(root);
        event_types::CHAT_MESSAGE
    } else if takes(event_types::NOTIFICATION) {
        let kind = builder.create_string("note");
        let fields = events::NotificationArgs {
            kind: Some(kind),
            title: Some(written),
            ..Default::default()
        };
        let root = events::Notification::create(&mut builder, &fields);
        builder.finish_minimal(root);
        event_types::NOTIFICATION
    } else if takes(event_types::SECURITY_ALERT) {
        let rule = builder.create_string("manual");
        let fields = events::SecurityAlertArgs {
            rule: Some(rule),
            summary: Some(written),
            ..Default::default()
        };
        let root = events::SecurityAlert::create(&mut builder, &fields);
        builder.finish_minimal(root);
        event_types::SECURITY_ALERT
    } else {
        return None;
    };
    Some(Payload {
        event_type,
        bytes: builder.finished_data().to_vec(),
    })
}

/// The words of a payload, where its type has some or its bytes are text.
pub(super) fn text_of(event_type: u16, bytes: &[u8]) -> Option<String> {
    match event_type {
        event_types::CHAT_MESSAGE => flatbuffers::root::<events::ChatMessage>(bytes)
            .map(|message| message.text().to_owned())
            .ok(),
        event_types::ANNOUNCEMENT => flatbuffers::root::<events::Announcement>(bytes)
            .map(|words| format!("{}: {}", words.title(), words.body()))
            .ok(),
        event_types::NOTIFICATION => flatbuffers::root::<events::Notification>(bytes)
            .map(|words| words.title().to_owned())
            .ok(),
        event_types::SECURITY_ALERT => flatbuffers::root::<events::SecurityAlert>(bytes)
            .map(|alert| alert.summary().to_owned())
            .ok(),
        0 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use interlink_protocol::namespace::Namespaces;
    use interlink_protocol::registry::Registry;

    use super::*;

    #[test]
    fn text_takes_a_form_that_the_registry_accepts_and_reads_back() {
        let namespaces = Namespaces::defaults();
        let registry = Registry::core();
        for name in [
            "chat.a~b",
            "class.m",
            "user.a",
            "alert.a",
            "collab.d",
            "sys.security",
        ] {
            let channel = ChannelName::parse(name).expect("name");
            let policy = namespaces.lookup(&channel).expect("policy");
            let payload = of_text(&channel, policy, "good morning").expect("a form");
            let check = registry.check(payload.event_type, 1, &payload.bytes, policy);
            assert_eq!(check, Ok(()), "{name}");
            let text = text_of(payload.event_type, &payload.bytes);
            assert_eq!(text.as_deref(), Some("good morning"), "{name}");
        }
    }

    #[test]
    fn namespaces_for_numbers_have_no_form_for_words() {
        let channel = ChannelName::parse("usage.north.cpu").expect("name");
        let namespaces = Namespaces::defaults();
        let policy = namespaces.lookup(&channel).expect("policy");
        assert_eq!(of_text(&channel, policy, "x"), None);
        assert_eq!(text_of(event_types::CHAT_MESSAGE, b"no flatbuffer"), None);
    }
}
