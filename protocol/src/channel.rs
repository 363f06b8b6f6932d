//! Channel names: `namespace.id`.
//!
//! Limits: at most [`limits::CHANNEL_BYTES`] bytes; the namespace consists of lower-case
//! letters and `-`; the id of letters, digits and `. _ - : @ ~`. The set has no space, slash,
//! brace or control character, so that a name can stand in keys, paths and logs as it is.
//! Runs on: any thread; borrows its text.

use crate::limits;

/// Why a name is not a channel name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChannelError {
    /// The name has no bytes or too many.
    #[error("a channel name has 3 to {most} bytes, this one has {0}", most = limits::CHANNEL_BYTES)]
    Length(usize),
    /// There is no dot, or nothing before or after the first one.
    #[error("a channel name is a namespace, a dot and an id")]
    Shape,
    /// A character is outside the allowed set.
    #[error("byte {0} of the channel name is not allowed; use letters, digits and . _ - : @ ~")]
    Character(usize),
}

/// A checked channel name that borrows its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelName<'a> {
    text: &'a str,
    /// Length of the namespace; the dot stands there.
    dot: u8,
}

const _: () = assert!(
    limits::CHANNEL_BYTES <= u8::MAX as usize,
    "the dot's place is one byte"
);

impl<'a> ChannelName<'a> {
    /// Checks a name.
    pub fn parse(text: &'a str) -> Result<Self, ChannelError> {
        let bytes = text.as_bytes();
        if bytes.len() < 3 || bytes.len() > limits::CHANNEL_BYTES {
            return Err(ChannelError::Length(bytes.len()));
        }
        let dot = bytes
            .iter()
            .position(|&byte| byte == b'.')
            .ok_or(ChannelError::Shape)?;
        if dot == 0 || dot + 1 == bytes.len() {
            return Err(ChannelError::Shape);
        }
        let wrong = bytes.iter().enumerate().position(|(at, &byte)| {
            let class = CLASSES[usize::from(byte)];
            class & if at < dot { IN_NAMESPACE } else { IN_ID } == 0
        });
        match wrong {
            Some(at) => Err(ChannelError::Character(at)),
            None => Ok(Self {
                text,
                dot: dot as u8,
            }),
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// What stands before the first dot.
    pub fn namespace(&self) -> &'a str {
        &self.text[..usize::from(self.dot)]
    }

    /// What stands after the first dot.
    pub fn id(&self) -> &'a str {
        &self.text[usize::from(self.dot) + 1..]
    }

    /// The two users of a direct chat, `<u1>~<u2>`; `None` when the id has no single `~`
    /// between two names.
    pub fn pair(&self) -> Option<(&'a str, &'a str)> {
        let (first, second) = self.id().split_once('~')?;
        let whole = !first.is_empty() && !second.is_empty() && !second.contains('~');
        whole.then_some((first, second))
    }

    /// What orders the publishes of services on this channel: the user whom a personal channel
    /// is for, so that everything for one user passes through one shard, else the channel.
    pub fn service_key(&self) -> &'a str {
        match self.namespace() {
            "user" | "alert" | "activity" => self.id(),
            _ => self.text,
        }
    }

    /// The hash that places the channel on a shard and a partition.
    pub fn placement_hash(&self) -> u64 {
        crate::ids::placement_hash(self.text.as_bytes())
    }
}

const IN_NAMESPACE: u8 = 1;
const IN_ID: u8 = 2;

/// For every byte, where it may stand.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_lowercase() || c == b'-' {
            classes[byte] |= IN_NAMESPACE;
        }
        if c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b':' | b'@' | b'~') {
            classes[byte] |= IN_ID;
        }
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_at_the_first_dot() {
        let name = ChannelName::parse("dept.north.maths").unwrap();
        assert_eq!((name.namespace(), name.id()), ("dept", "north.maths"));
        assert_eq!(ChannelName::parse("collab-awareness.d").unwrap().id(), "d");
    }

    #[test]
    fn what_services_publish_is_ordered_by_user_where_a_channel_has_one() {
        for (name, key) in [
            ("user.ada", "ada"),
            ("alert.ada", "ada"),
            ("class.algebra", "class.algebra"),
            ("chat.ada~bob", "chat.ada~bob"),
        ] {
            assert_eq!(ChannelName::parse(name).unwrap().service_key(), key);
        }
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        use ChannelError::{Character, Length, Shape};
        let long = format!("chat.{}", "x".repeat(limits::CHANNEL_BYTES));
        for (text, error) in [
            ("", Length(0)),
            (long.as_str(), Length(long.len())),
            ("chat", Shape),
            (".chat", Shape),
            ("chat.", Shape),
            ("Chat.a", Character(0)),
            ("chat.a b", Character(6)),
            ("chat.{a}", Character(5)),
            ("chat.a/b", Character(6)),
            ("chat.é", Character(5)),
            ("chat.a\n", Character(6)),
        ] {
            assert_eq!(ChannelName::parse(text), Err(error), "{text:?}");
        }
        let fits = format!("chat.{}", "x".repeat(limits::CHANNEL_BYTES - 5));
        assert!(ChannelName::parse(&fits).is_ok());
    }

    #[test]
    fn only_two_named_users_are_a_pair() {
        let pair = |text| ChannelName::parse(text).unwrap().pair();
        assert_eq!(pair("chat.ada~bob"), Some(("ada", "bob")));
        for text in ["chat.ada", "chat.~bob", "chat.ada~", "chat.a~b~c"] {
            assert_eq!(pair(text), None, "{text}");
        }
    }
}
