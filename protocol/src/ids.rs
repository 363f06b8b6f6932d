//! Identities and positions, and the hashes that make them.
//!
//! Purpose: one place for values that must be computed the same way by every node, every
//! version and every language. A change to a function here would break stored data, so the
//! tests compare them with constants.
//!
//! Invariants: `record_id` depends on its four arguments alone and tells their boundaries
//! apart; `placement_hash` never changes.
//! Runs on: any thread; plain values.

use std::fmt;

use interlink_wire as wire;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Random identity of one SDK object; its client message ids count within it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u128);

/// Identity of one published record: the same on every node and every retry.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u128);

/// Identity of a session; secret, since it lets its holder resume.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u128);

/// A place in the stream of one channel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// Identity of one unbroken numbering of the channel.
    pub epoch: u64,
    /// Number of the event: 1, 2, 3 and so on; 0 is before the first.
    pub offset: u64,
    /// Chain value of the event, see [`next_chain`]; 0 before the first and on ephemeral
    /// channels.
    pub chain: u64,
}

impl Position {
    /// Before the first event of any numbering.
    pub const ZERO: Self = Self {
        epoch: 0,
        offset: 0,
        chain: 0,
    };

    /// The position of the event that follows this one.
    pub fn after(self, record: RecordId) -> Self {
        let chain = next_chain(self.chain, record);
        Self {
            epoch: self.epoch,
            offset: self.offset + 1,
            chain,
        }
    }
}

impl From<&wire::StreamPosition> for Position {
    fn from(wire: &wire::StreamPosition) -> Self {
        Self {
            epoch: wire.epoch(),
            offset: wire.offset(),
            chain: wire.chain(),
        }
    }
}

impl From<Position> for wire::StreamPosition {
    fn from(position: Position) -> Self {
        Self::new(position.epoch, position.offset, position.chain)
    }
}

macro_rules! wire_identity {
    ($($name:ident)*) => {$(
        impl From<&wire::Id128> for $name {
            fn from(wire: &wire::Id128) -> Self {
                Self(u128::from(wire.high()) << 64 | u128::from(wire.low()))
            }
        }

        impl From<$name> for wire::Id128 {
            fn from(id: $name) -> Self {
                Self::new((id.0 >> 64) as u64, id.0 as u64)
            }
        }
    )*};
}

wire_identity!(InstanceId RecordId SessionKey);

macro_rules! shown_as_hex {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }
    )*};
}

shown_as_hex!(InstanceId RecordId);

impl fmt::Debug for SessionKey {
    /// Hides the value: whoever reads it in a log could take the session over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

/// Separates record ids from every other use of the same hash.
const RECORD_DOMAIN: &[u8] = b"interlink record id 1";

/// The part of a record id that is the same for all publishes of one publisher instance.
///
/// A session keeps one and pays a single hash block for each publish.
#[derive(Clone)]
pub struct RecordIdPrefix(Sha256);

impl RecordIdPrefix {
    /// Prepares the ids of one publisher instance.
    pub fn new(institution: &str, user: &str, instance: InstanceId) -> Self {
        let mut hash = Sha256::new();
        hash.update(RECORD_DOMAIN);
        // Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
        for part in [
            institution.as_bytes(),
            user.as_bytes(),
            &instance.0.to_be_bytes(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    /// The record id of one client message id.
    pub fn id(&self, client_message_id: u64) -> RecordId {
        let mut hash = self.0.clone();
        hash.update(client_message_id.to_be_bytes());
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // RFC 9562 section 5.8: version 8 and the variant `10`, so that stores that check
        // UUIDs accept the value.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        RecordId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Debug for RecordIdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordIdPrefix")
    }
}

/// Separates the hashes of idempotency keys from every other use of the same hash.
const KEY_DOMAIN: &[u8] = b"interlink idempotency key 1";

/// The instance that stands for an idempotency key of a service: the first 128 bits of a
/// SHA-256 of caller, channel and key, so that a key counts for one caller and channel.
pub fn key_instance(institution: &str, user: &str, channel: &str, key: &str) -> InstanceId {
    let mut hash = Sha256::new();
    hash.update(KEY_DOMAIN);
    for part in [institution, user, channel, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    InstanceId(u128::from_be_bytes(bytes))
}

/// The identity of a publish: a UUID of version 8 (RFC 9562 section 5.8) from the SHA-256 of
/// its publisher and client message id.
pub fn record_id(
    institution: &str,
    user: &str,
    instance: InstanceId,
    client_message_id: u64,
) -> RecordId {
    RecordIdPrefix::new(institution, user, instance).id(client_message_id)
}

/// The chain value of an event: the first 8 bytes, big-endian, of the SHA-1 of the previous
/// event's chain value and the record id, both big-endian.
///
/// SHA-1 is enough: the chain tells histories apart after failures, it does not resist forgery,
/// and scripts inside Redis can compute it.
pub fn next_chain(previous: u64, record: RecordId) -> u64 {
    let mut input = [0; 24];
    input[..8].copy_from_slice(&previous.to_be_bytes());
    input[8..].copy_from_slice(&record.0.to_be_bytes());
    let digest = Sha1::digest(input);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The hash that places users and channels on shards and partitions: XXH3-64 with seed 0.
pub fn placement_hash(name: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data depends on these values; they were computed once and must never change.
    #[test]
    fn hashes_have_their_fixed_values() {
        let id = record_id("north", "ada", InstanceId(7), 1);
        assert_eq!(id.to_string(), FIXED_RECORD);
        assert_eq!(next_chain(0, id), FIXED_CHAIN);
        assert_eq!(placement_hash(b"class.algebra-1"), FIXED_PLACEMENT);
        assert_eq!(placement_hash(b""), 0x2d06_8005_38d3_94c2);
    }

    const FIXED_RECORD: &str = "5d4294488fae81928e03db76a56f30eb";
    const FIXED_CHAIN: u64 = 0x1551_107d_55ea_95a6;
    const FIXED_PLACEMENT: u64 = 0x1104_6d9e_8b2c_2564;

    #[test]
    fn an_idempotency_key_counts_for_one_caller_and_channel() {
        let one = key_instance("north", "grades", "user.ada", "1");
        // Journals hold it: it must never change.
        assert_eq!(one.to_string(), "e00ee4e03fd22b5b7de16113e16e640b");
        assert_eq!(one, key_instance("north", "grades", "user.ada", "1"));
        for other in [
            key_instance("south", "grades", "user.ada", "1"),
            key_instance("north", "mail", "user.ada", "1"),
            key_instance("north", "grades", "user.bob", "1"),
            key_instance("north", "grades", "user.ada", "2"),
            key_instance("north", "grades", "user.ad", "a1"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_record_id_is_a_uuid_of_version_8() {
        for client_message_id in 0..64 {
            let text = record_id("i", "u", InstanceId(1), client_message_id).to_string();
            assert_eq!(&text[12..13], "8");
            assert!(matches!(&text[16..17], "8" | "9" | "a" | "b"));
        }
    }

    #[test]
    fn parts_of_a_record_id_do_not_run_into_each_other() {
        let one = record_id("ab", "c", InstanceId(1), 1);
        assert_ne!(one, record_id("a", "bc", InstanceId(1), 1));
        assert_ne!(one, record_id("ab", "c", InstanceId(1 << 64), 1));
        assert_ne!(one, record_id("ab", "c", InstanceId(1), 2));
    }

    #[test]
    fn ids_and_positions_survive_the_wire() {
        let id = RecordId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(RecordId::from(&wire::Id128::from(id)), id);
        let position = Position {
            epoch: 3,
            offset: 9,
            chain: u64::MAX,
        };
        assert_eq!(
            Position::from(&wire::StreamPosition::from(position)),
            position
        );
    }

    #[test]
    fn a_session_key_does_not_show_itself() {
        assert!(!format!("{:?}", SessionKey(0xdead_beef)).contains("beef"));
    }
}
