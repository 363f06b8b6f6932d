//! What nodes tell each other about presence: messages, and the frames that carry them.
//!
//! Purpose: a node asks another one for its users of a scope, and is told them in parts. A stream
//! of parts is numbered by versions: each change of a user of the telling node has a version of
//! its own, and a part covers those behind `from` up to `to`. So who asks knows what is missing,
//! and says with the next ask from where it wants to be told again.
//!
//! Format: numbers are big-endian. A frame is a byte of its format, the sender, and messages with
//! their lengths; a message is its kind, the scope's name and length, and what its kind has.
//! Bytes come from other nodes; whatever does not have the form is no message, never a panic.
//!
//! Limits: [`PRESENCE_FRAME_BYTES`] a frame, [`PRESENCE_PART_USERS`] users a message.
//! Runs on: any thread; plain values.

use std::sync::Arc;

use interlink_protocol::limits::{CHANNEL_BYTES, NAME_BYTES};

use crate::backplane::NodeId;
use crate::limits::{PRESENCE_FRAME_BYTES, PRESENCE_PART_USERS};

/// The format of frames; another one is not read.
const FORMAT: u8 = 1;

/// Bytes of a frame before its messages.
const HEAD_BYTES: usize = 9;

const ASK: u8 = 1;
const REST: u8 = 2;
const PART: u8 = 3;
const NO_ROOM: u8 = 4;

/// Users that a node has in a scope, and how far the stream is then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// The newest ask that the node has taken.
    pub(super) number: u64,
    /// The stream; its first part is behind version 0.
    pub(super) stream: u64,
    /// Changes behind this version are in the part.
    pub(super) from: u64,
    /// The last version that it covers.
    pub(super) to: u64,
    /// Whether nothing was left to be told.
    pub(super) is_end: bool,
    /// Devices of users, 0 for those who have none any more.
    pub(super) users: Vec<(Arc<str>, u32)>,
}

/// What a message says of its scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The sender wants to be told for a lease from now.
    Ask {
        /// Later asks have higher numbers.
        number: u64,
        /// The stream that it knows; 0 when it knows none.
        stream: u64,
        /// What it knows of the stream.
        version: u64,
    },
    /// The sender wants to be told no more.
    Rest {
        /// As high as the last ask.
        number: u64,
    },
    /// Users of the sender.
    Part(Part),
    /// The sender has no room for the scope.
    NoRoom,
}

/// Encodes a message.
pub(super) fn encode(scope: &str, word: &Word) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + scope.len());
    let kind = match word {
        Word::Ask { .. } => ASK,
        Word::Rest { .. } => REST,
        Word::Part(_) => PART,
        Word::NoRoom => NO_ROOM,
    };
    bytes.push(kind);
    put_text(&mut bytes, scope);
    match word {
        Word::Ask {
            number,
            stream,
            version,
        } => put_numbers(&mut bytes, &[*number, *stream, *version]),
        Word::Rest { number } => put_numbers(&mut bytes, &[*number]),
        Word::Part(part) => {
            put_numbers(&mut bytes, &[part.number, part.stream, part.from, part.to]);
            bytes.push(u8::from(part.is_end));
            for (user, devices) in &part.users {
                put_text(&mut bytes, user);
                bytes.extend_from_slice(&devices.to_be_bytes());
            }
        }
        Word::NoRoom => {}
    }
    bytes
}

/// Names are shorter than 256 bytes ([`CHANNEL_BYTES`], [`NAME_BYTES`]).
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_numbers(bytes: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

/// Reads a message: its scope and what it says.
pub(super) fn decode(bytes: &[u8]) -> Option<(&str, Word)> {
    let (kind, rest) = bytes.split_first()?;
    let (scope, mut rest) = take_text(rest, CHANNEL_BYTES)?;
    let word = match *kind {
        ASK => Word::Ask {
            number: take_number(&mut rest)?,
            stream: take_number(&mut rest)?,
            version: take_number(&mut rest)?,
        },
        REST => Word::Rest {
            number: take_number(&mut rest)?,
        },
        PART => Word::Part(take_part(&mut rest)?),
        NO_ROOM => Word::NoRoom,
        _ => return None,
    };
    rest.is_empty().then_some((scope, word))
}

fn take_part(rest: &mut &[u8]) -> Option<Part> {
    let mut part = Part {
        number: take_number(rest)?,
        stream: take_number(rest)?,
        from: take_number(rest)?,
        to: take_number(rest)?,
        is_end: false,
        users: Vec::new(),
    };
    let (is_end, mut users) = rest.split_first()?;
    part.is_end = *is_end == 1;
    while !users.is_empty() {
        let (user, behind) = take_text(users, NAME_BYTES)?;
        let (devices, behind) = behind.split_first_chunk()?;
        part.users.push((user.into(), u32::from_be_bytes(*devices)));
        users = behind;
    }
    *rest = users;
    let is_valid = part.from <= part.to && part.users.len() <= PRESENCE_PART_USERS;
    is_valid.then_some(part)
}

fn take_text(bytes: &[u8], most: usize) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    let text = std::str::from_utf8(text).ok()?;
    (!text.is_empty() && text.len() <= most).then_some((text, rest))
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*number))
}

/// Messages for one node, as they travel.
#[derive(Debug)]
pub struct PresenceFrame(Vec<u8>);

impl PresenceFrame {
    /// A frame without messages.
    pub fn new(from: NodeId) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&from.0.to_be_bytes());
        Self(bytes)
    }

    /// Adds a message if there is room; says whether there was.
    pub fn push(&mut self, message: &[u8]) -> bool {
        let fits = self.0.len() + 2 + message.len() <= PRESENCE_FRAME_BYTES;
        if fits {
            self.put(message);
        }
        fits
    }

    fn put(&mut self, message: &[u8]) {
        let length = message.len() as u16;
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(message);
    }

    /// The frame as bytes.
    pub fn into_bytes(self) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }

    /// Reads who sent a frame; nothing when it is none.
    pub fn sender(bytes: &[u8]) -> Option<NodeId> {
        let (head, _) = bytes.split_at_checked(HEAD_BYTES)?;
        let (format, sender) = head.split_first()?;
        let sender = u64::from_be_bytes(sender.try_into().ok()?);
        (*format == FORMAT).then_some(NodeId(sender))
    }

    /// The messages of a frame with the names of their scopes, up to where it has no form any
    /// more.
    pub fn messages(bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (message, behind) = behind.split_at_checked(length)?;
            rest = behind;
            let (scope, _) = take_text(message.get(1..)?, CHANNEL_BYTES)?;
            Some((scope, message))
        })
    }
}

const _: () = assert!(CHANNEL_BYTES < 256 && NAME_BYTES < 256, "lengths are bytes");
const _: () = assert!(
    HEAD_BYTES + 64 + CHANNEL_BYTES + PRESENCE_PART_USERS * (NAME_BYTES + 5)
        <= PRESENCE_FRAME_BYTES,
    "a frame takes the largest message"
);
const _: () = assert!(
    PRESENCE_FRAME_BYTES <= u16::MAX as usize,
    "lengths are 16 bits"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = Word> {
        let users = prop::collection::vec(("[a-z]{1,64}", any::<u32>()), 0..PRESENCE_PART_USERS);
        let part = (any::<[u64; 3]>(), any::<u32>(), any::<bool>(), users).prop_map(
            |([number, stream, from], behind, is_end, users)| {
                let users = users.into_iter();
                Word::Part(Part {
                    number,
                    stream,
                    from,
                    to: from.saturating_add(u64::from(behind)),
                    is_end,
                    users: users
                        .map(|(user, devices)| (user.into(), devices))
                        .collect(),
                })
            },
        );
        let ask = any::<[u64; 3]>().prop_map(|[number, stream, version]| Word::Ask {
            number,
            stream,
            version,
        });
        let rest = any::<u64>().prop_map(|number| Word::Rest { number });
        prop_oneof![part, ask, rest, Just(Word::NoRoom)]
    }

    proptest! {
        #[test]
        fn messages_come_out_of_a_frame_as_they_went_in(
            words in prop::collection::vec(("[a-z]{2,9}\\.[a-z]{1,150}", word()), 0..20),
            from: u64,
        ) {
            let mut frame = PresenceFrame::new(NodeId(from));
            let mut sent = Vec::new();
            for (scope, word) in words {
                if frame.push(&encode(&scope, &word)) {
                    sent.push((scope, word));
                }
            }
            let bytes = frame.into_bytes();
            prop_assert!(bytes.len() <= PRESENCE_FRAME_BYTES);
            prop_assert_eq!(PresenceFrame::sender(&bytes), Some(NodeId(from)));
            let read: Vec<_> = PresenceFrame::messages(&bytes)
                .map(|(scope, message)| (scope.to_owned(), decode(message)))
                .collect();
            let expected: Vec<_> = sent
                .iter()
                .map(|(scope, word)| (scope.clone(), Some((scope.as_str(), word.clone()))))
                .collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn bytes_of_others_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            PresenceFrame::sender(&bytes);
            PresenceFrame::messages(&bytes).for_each(|(_, message)| drop(decode(message)));
            decode(&bytes);
        }
    }
}
