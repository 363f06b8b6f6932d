//! Numbers as PostgreSQL has them: signed, with the same bits.
//!
//! Epochs and offsets stay below 2^63, so that they sort there as here; chains and hashes are
//! compared only. Runs on: any thread; plain values.

use bytes::BytesMut;
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use tokio_postgres::types::{accepts, to_sql_checked, FromSql, IsNull, ToSql, Type};

use crate::record::Placement;

type Fault = Box<dyn std::error::Error + Sync + Send>;

/// A record id as a `uuid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Uuid(pub u128);

impl From<RecordId> for Uuid {
    fn from(record: RecordId) -> Self {
        Self(record.0)
    }
}

impl From<Uuid> for RecordId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.0)
    }
}

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self(u128::from_be_bytes(raw.try_into()?)))
    }

    accepts!(UUID);
}

/// An unsigned number with its bits.
pub(super) fn signed(value: u64) -> i64 {
    value as i64
}

/// Back again.
pub(super) fn unsigned(value: i64) -> u64 {
    value as u64
}

/// A class.
pub(super) fn class_number(class: Priority) -> i16 {
    class as i16
}

/// Back again; what nobody wrote counts as the least urgent one.
pub(super) fn class_of(number: i16) -> Priority {
    let index = usize::try_from(number).ok();
    index.and_then(Priority::from_index).unwrap_or(Priority::P3)
}

/// A position out of three columns.
pub(super) fn position(epoch: i64, offset: i64, chain: i64) -> Position {
    Position {
        epoch: unsigned(epoch),
        offset: unsigned(offset),
        chain: unsigned(chain),
    }
}

/// Days since 1970.
pub(super) fn day_of(us: u64) -> i32 {
    i32::try_from(us / 86_400_000_000).unwrap_or(i32::MAX)
}

/// Positions as columns.
#[derive(Default, Debug)]
pub(super) struct Placements {
    pub epochs: Vec<i64>,
    pub offsets: Vec<i64>,
    pub chains: Vec<i64>,
    pub previous: Vec<i64>,
}

impl Placements {
    pub fn push(&mut self, placement: &Placement) {
        self.epochs.push(signed(placement.position.epoch));
        self.offsets.push(signed(placement.position.offset));
        self.chains.push(signed(placement.position.chain));
        self.previous.push(signed(placement.previous_chain));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bits_and_positions_their_order() {
        assert_eq!(unsigned(signed(u64::MAX)), u64::MAX);
        // The last epoch before the year 2248.
        let last = ((1_u64 << 43) - 1) << 20;
        assert!(signed(last) > signed(last - 1));
        assert_eq!(class_of(class_number(Priority::P0)), Priority::P0);
        assert_eq!(class_of(-1), Priority::P3);
        assert_eq!(day_of(86_400_000_000), 1);
    }
}
