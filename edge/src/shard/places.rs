//! Where subscribers stand that could not be sent everything.
//!
//! Invariant: nothing is allocated after the start, however many lag.
//!
//! Limits: one place for each subscription, of 24 bytes, touched only when used.
//!
//! Thread: the shard.

use interlink_protocol::ids::Position;

use crate::memory::{MemoryError, Reserved};

/// Epoch, offset plus one, and chain; an offset of nothing is no place.
type Place = [u64; 3];

/// Bytes of one place.
pub const PLACE_BYTES: usize = size_of::<Place>();

/// Positions by the index of the subscription.
#[derive(Debug)]
pub struct Places {
    at: Reserved<Place>,
    count: usize,
}

impl Places {
    /// Room for every subscription.
    ///
    /// # Errors
    /// When the address space is refused.
    pub fn new(subscriptions: usize) -> Result<Self, MemoryError> {
        Ok(Self {
            at: Reserved::new(subscriptions)?,
            count: 0,
        })
    }

    /// Whether nobody lags.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many lag.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the subscription has a place.
    pub fn contains(&self, subscription: u32) -> bool {
        self.at[subscription as usize][1] != 0
    }

    /// Notes where a subscription stands.
    pub fn insert(&mut self, subscription: u32, position: Position) {
        let place = &mut self.at[subscription as usize];
        self.count += usize::from(place[1] == 0);
        *place = [
            position.epoch,
            position.offset.saturating_add(1),
            position.chain,
        ];
    }

    /// Forgets where a subscription stands, and returns it.
    pub fn remove(&mut self, subscription: u32) -> Option<Position> {
        if self.count == 0 {
            return None;
        }
        let [epoch, next, chain] = std::mem::take(&mut self.at[subscription as usize]);
        let offset = next.checked_sub(1)?;
        self.count -= 1;
        Some(Position {
            epoch,
            offset,
            chain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_until_it_is_taken() {
        let mut places = Places::new(8).expect("memory");
        let beginning = Position {
            epoch: 3,
            ..Position::ZERO
        };
        assert!(places.is_empty() && !places.contains(5));
        places.insert(5, beginning);
        places.insert(5, beginning);
        assert!(places.contains(5));
        assert_eq!((places.len(), places.remove(4)), (1, None));
        assert_eq!(places.remove(5), Some(beginning));
        assert_eq!((places.is_empty(), places.remove(5)), (true, None));
    }
}
