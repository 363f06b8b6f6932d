//! The event types that may be published.
//!
//! Purpose: ingestion refuses what nobody could read. A type has a number, a version, a form of
//! its payload and the namespaces that it belongs to.
//!
//! Invariants: a number and version never change their meaning; number 0 is no type but an
//! opaque payload, which a namespace may allow.
//! Limits: payloads are verified with depth 4 and 16 tables, which core types stay below.
//! Runs on: any thread; built at start, read only afterwards.

use flatbuffers::{InvalidFlatbuffer, VerifierOptions};
use interlink_wire::EVENT_TYPES;

use crate::limits;
use crate::namespace::NamespacePolicy;
use crate::ErrorCode;

/// Number of payloads that have no registered type.
pub const OPAQUE: u16 = 0;

/// Verifies the form of a payload.
pub type VerifyPayload = fn(&VerifierOptions, &[u8]) -> Result<(), InvalidFlatbuffer>;

/// One version of one event type.
#[derive(Clone, Debug)]
pub struct EventType {
    /// `event_type` on the wire; not 0.
    pub number: u16,
    /// `schema_version` on the wire; not 0.
    pub version: u16,
    /// Stable name.
    pub name: String,
    /// Namespaces on whose channels it may be published.
    pub namespaces: Vec<String>,
    /// Verifies a payload; `None` accepts every form.
    pub verify: Option<VerifyPayload>,
}

/// Why a type cannot be registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistryError {
    /// Number or version is 0.
    #[error("event type `{0}` has number or version 0; both count from 1")]
    Zero(String),
    /// Number and version are taken.
    #[error("event type `{0}` has the number and version of `{1}`; choose others")]
    Taken(String, String),
}

/// The event types of a node.
#[derive(Clone, Debug)]
pub struct Registry {
    /// In order of number and version.
    types: Vec<EventType>,
}

impl Registry {
    /// The core types.
    pub fn core() -> Self {
        let mut registry = Self { types: Vec::new() };
        for row in &EVENT_TYPES {
            let registered = registry.register(EventType {
                number: row.number,
                version: row.version,
                name: row.name.into(),
                namespaces: row.namespaces.iter().map(|&name| name.into()).collect(),
                verify: Some(row.verify),
            });
            registered.expect("the generator refuses a table with repeated numbers");
        }
        registry
    }

    /// Adds a type.
    pub fn register(&mut self, new: EventType) -> Result<(), RegistryError> {
        if new.number == OPAQUE || new.version == 0 {
            return Err(RegistryError::Zero(new.name));
        }
        match self.types.binary_search_by_key(&key(&new), key) {
            Ok(at) => Err(RegistryError::Taken(new.name, self.types[at].name.clone())),
            Err(at) => {
                self.types.insert(at, new);
                Ok(())
            }
        }
    }

    /// The type of a number and version.
    pub fn find(&self, number: u16, version: u16) -> Option<&EventType> {
        let at = self
            .types
            .binary_search_by_key(&(number, version), key)
            .ok()?;
        Some(&self.types[at])
    }

    /// Every type, in order of number and version.
    pub fn iter(&self) -> impl Iterator<Item = &EventType> {
        self.types.iter()
    }

    /// Checks a payload against its type and the namespace that it is published in.
    pub fn check(
        &self,
        number: u16,
        version: u16,
        payload: &[u8],
        policy: &NamespacePolicy,
    ) -> Result<(), ErrorCode> {
        if payload.len() > policy.payload_bytes as usize {
            return Err(ErrorCode::PayloadTooLarge);
        }
        if number == OPAQUE {
            return if policy.opaque_allowed {
                Ok(())
            } else {
                Err(ErrorCode::OpaqueRefused)
            };
        }
        let Some(event_type) = self.find(number, version) else {
            let known = self
                .types
                .iter()
                .any(|event_type| event_type.number == number);
            return Err(if known {
                ErrorCode::EventVersionUnknown
            } else {
                ErrorCode::EventTypeUnknown
            });
        };
        // A policy of a whole channel name belongs to the namespace before its dot.
        let namespace = policy.name.split('.').next().unwrap_or_default();
        if !event_type.namespaces.iter().any(|name| name == namespace) {
            return Err(ErrorCode::EventNotAllowed);
        }
        match event_type.verify {
            Some(verify) if verify(&PAYLOAD_OPTIONS, payload).is_err() => {
                Err(ErrorCode::PayloadInvalid)
            }
            _ => Ok(()),
        }
    }
}

fn key(event_type: &EventType) -> (u16, u16) {
    (event_type.number, event_type.version)
}

/// Payloads of the core types are one table with texts and lists.
const PAYLOAD_OPTIONS: VerifierOptions = VerifierOptions {
    max_depth: 4,
    max_tables: 16,
    max_apparent_size: limits::PAYLOAD_BYTES * limits::APPARENT_SIZE_FACTOR,
    ignore_missing_null_terminator: false,
};

/// Numbers of the core types, by name.
pub use interlink_wire::event_types as numbers;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::namespace::Namespaces;
    use interlink_wire::events;

    fn chat_message(text: &str) -> Vec<u8> {
        let mut builder = flatbuffers::FlatBufferBuilder::new();
        let text = Some(builder.create_string(text));
        let args = events::ChatMessageArgs {
            text,
            ..Default::default()
        };
        let root = events::ChatMessage::create(&mut builder, &args);
        builder.finish_minimal(root);
        builder.finished_data().to_vec()
    }

    fn check(channel: &str, number: u16, version: u16, payload: &[u8]) -> Result<(), ErrorCode> {
        let namespaces = Namespaces::defaults();
        let policy = namespaces
            .lookup(&ChannelName::parse(channel).unwrap())
            .unwrap();
        Registry::core().check(number, version, payload, policy)
    }

    #[test]
    fn a_payload_passes_where_its_type_belongs() {
        let payload = chat_message("good morning");
        assert_eq!(
            check("chat.a~b", numbers::CHAT_MESSAGE, 1, &payload),
            Ok(())
        );
        let refused = check("user.a", numbers::CHAT_MESSAGE, 1, &payload);
        assert_eq!(refused, Err(ErrorCode::EventNotAllowed));
    }

    #[test]
    fn unknown_types_and_versions_are_told_apart() {
        let payload = chat_message("hi");
        assert_eq!(
            check("chat.a", 999, 1, &payload),
            Err(ErrorCode::EventTypeUnknown)
        );
        assert_eq!(
            check("chat.a", 3, 2, &payload),
            Err(ErrorCode::EventVersionUnknown)
        );
        assert_eq!(
            check("chat.a", 3, 0, &payload),
            Err(ErrorCode::EventVersionUnknown)
        );
    }

    #[test]
    fn a_payload_of_another_form_is_refused() {
        assert_eq!(
            check("chat.a", 3, 1, b"{\"text\":1}"),
            Err(ErrorCode::PayloadInvalid)
        );
        assert_eq!(check("chat.a", 3, 1, b""), Err(ErrorCode::PayloadInvalid));
        let long = chat_message(&"x".repeat(limits::PAYLOAD_DEFAULT_BYTES));
        assert_eq!(
            check("chat.a", 3, 1, &long),
            Err(ErrorCode::PayloadTooLarge)
        );
    }

    #[test]
    fn opaque_payloads_pass_where_the_namespace_allows_them() {
        assert_eq!(check("collab.a", OPAQUE, 0, b"anything"), Ok(()));
        assert_eq!(check("sys.status", OPAQUE, 1, b"{}"), Ok(()));
        assert_eq!(
            check("chat.a", OPAQUE, 0, b"anything"),
            Err(ErrorCode::OpaqueRefused)
        );
    }

    #[test]
    fn every_core_type_belongs_to_namespaces_that_exist() {
        let namespaces = Namespaces::defaults();
        for event_type in Registry::core().iter() {
            assert!(!event_type.namespaces.is_empty());
            for name in &event_type.namespaces {
                let exists = namespaces
                    .iter()
                    .any(|policy| policy.name.split('.').next() == Some(name));
                assert!(exists, "{}: no namespace {name}", event_type.name);
            }
        }
    }

    #[test]
    fn an_own_type_takes_no_number_of_another() {
        let mut registry = Registry::core();
        let own = |number| EventType {
            number,
            version: 1,
            name: "own".into(),
            namespaces: vec!["chat".into()],
            verify: None,
        };
        let taken = registry.register(own(3)).unwrap_err();
        assert_eq!(
            taken,
            RegistryError::Taken("own".into(), "chat_message".into())
        );
        assert_eq!(
            registry.register(own(0)).unwrap_err(),
            RegistryError::Zero("own".into())
        );
        registry.register(own(5_000)).unwrap();
        let namespaces = Namespaces::defaults();
        let policy = namespaces
            .lookup(&ChannelName::parse("chat.a").unwrap())
            .unwrap();
        assert_eq!(registry.check(5_000, 1, b"any form", policy), Ok(()));
    }
}
