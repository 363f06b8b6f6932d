//! Bytes of messages that have not arrived completely.
//!
//! Purpose: the exception to "nothing is held across turns". A connection whose
//! last bytes end inside a frame, or inside a message of several frames, gets a
//! buffer here until the message is complete.
//!
//! Limits: one budget a shard (64 MiB by default) for the memory of these buffers,
//! used or not, and [`SPARE_BUFFERS`] recycled ones of [`SPARE_CAPACITY`] beside it. A
//! client whose bytes find no room is closed, and so is one that does not finish a
//! message in time: both may reconnect and lose nothing that was acknowledged.
//!
//! Thread: the shard.

use super::connection::NONE;

/// Largest capacity of a recycled buffer.
const SPARE_CAPACITY: usize = 4 * 1024;
/// Most recycled buffers.
const SPARE_BUFFERS: usize = 1_024;

/// No room for the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What a connection has of an unfinished message.
#[derive(Debug, Default)]
pub struct Partial {
    /// Bytes from the first unread one: a cut frame.
    pub unread: Vec<u8>,
    /// Payload of the frames of a fragmented message so far.
    pub message: Vec<u8>,
    /// The beginning of a TLS record.
    pub sealed: Vec<u8>,
    /// Shard milliseconds at which the message began; 0 when it begins with these bytes.
    pub since_ms: u32,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.message.is_empty() && self.sealed.is_empty()
    }

    fn held(&self) -> usize {
        self.unread.capacity() + self.message.capacity() + self.sealed.capacity()
    }
}

/// Partial messages by index.
#[derive(Debug)]
pub struct Partials {
    slots: Vec<Partial>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl Partials {
    /// A pool of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes the partial out for use; an empty one if there is none. Give it back with
    /// [`Self::put`].
    pub fn take(&mut self, index: u32) -> Partial {
        if index == NONE {
            return Partial {
                unread: self.spare.pop().unwrap_or_default(),
                ..Partial::default()
            };
        }
        let partial = std::mem::take(&mut self.slots[index as usize]);
        self.bytes -= partial.held();
        partial
    }

    /// Takes the beginning of a TLS record out for use.
    pub fn take_sealed(&mut self, index: u32) -> Vec<u8> {
        if index == NONE {
            return Vec::new();
        }
        let sealed = std::mem::take(&mut self.slots[index as usize].sealed);
        self.bytes -= sealed.capacity();
        sealed
    }

    /// Gives back what [`Self::take_sealed`] took.
    pub fn put_sealed(&mut self, index: u32, sealed: Vec<u8>) {
        if index != NONE {
            self.bytes += sealed.capacity();
            self.slots[index as usize].sealed = sealed;
        }
    }

    /// Stores a partial under `index`, or frees the slot when nothing is left of it. Returns
    /// whether a message begins with it, whose time is to be watched.
    pub fn put(
        &mut self,
        index: &mut u32,
        mut partial: Partial,
        now_ms: u32,
    ) -> Result<bool, NoRoom> {
        if partial.is_empty() {
            self.recycle(index, partial);
            return Ok(false);
        }
        if self.bytes + partial.held() > self.bytes_max {
            self.recycle(index, partial);
            return Err(NoRoom);
        }
        let begins = partial.since_ms == 0;
        if begins {
            partial.since_ms = now_ms.max(1);
        }
        if *index == NONE {
            *index = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Partial::default());
                (self.slots.len() - 1) as u32
            });
        }
        self.bytes += partial.held();
        self.slots[*index as usize] = partial;
        Ok(begins)
    }

    /// Drops the partial that `index` names.
    pub fn give(&mut self, index: &mut u32) {
        if *index != NONE {
            let partial = self.take(*index);
            self.recycle(index, partial);
        }
    }

    /// When the partial's message began, in shard milliseconds.
    pub fn since_ms(&self, index: u32) -> Option<u32> {
        (index != NONE).then(|| self.slots[index as usize].since_ms)
    }

    /// Lets the time of an unfinished message begin anew; whether there is one.
    pub fn restart(&mut self, index: u32, now_ms: u32) -> bool {
        let begun = index != NONE && self.slots[index as usize].since_ms != 0;
        if begun {
            self.slots[index as usize].since_ms = now_ms;
        }
        begun
    }

    /// Bytes of memory held now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn recycle(&mut self, index: &mut u32, partial: Partial) {
        for mut buffer in [partial.unread, partial.message, partial.sealed] {
            let fits = (1..=SPARE_CAPACITY).contains(&buffer.capacity());
            if fits && self.spare.len() < SPARE_BUFFERS {
                buffer.clear();
                self.spare.push(buffer);
            }
        }
        if *index != NONE {
            self.free.push(*index);
            *index = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: usize) -> Partial {
        Partial {
            unread: vec![7; bytes],
            ..Partial::default()
        }
    }

    #[test]
    fn a_message_is_timed_from_its_own_first_bytes() {
        let mut partials = Partials::new(1 << 20);
        let mut index = NONE;
        assert_eq!(partials.put(&mut index, cut(10), 5), Ok(true));
        let mut partial = partials.take(index);
        partial.unread.push(1);
        assert_eq!(partials.put(&mut index, partial, 9), Ok(false));
        assert_eq!(partials.since_ms(index), Some(5));
        let mut partial = partials.take(index);
        // The message ended in the same bytes in which the next one begins.
        partial.since_ms = 0;
        assert_eq!(partials.put(&mut index, partial, 12), Ok(true));
        assert_eq!(partials.since_ms(index), Some(12));
    }

    #[test]
    fn the_budget_counts_memory_and_is_given_back() {
        let mut partials = Partials::new(10_000);
        let (mut first, mut second) = (NONE, NONE);
        let mut roomy = cut(1);
        roomy.unread.reserve_exact(8_000);
        assert_eq!(partials.put(&mut first, roomy, 1), Ok(true));
        assert_eq!(partials.put(&mut second, cut(3_000), 1), Err(NoRoom));
        assert_eq!(second, NONE);
        partials.give(&mut first);
        assert_eq!((first, partials.bytes()), (NONE, 0));
        assert_eq!(partials.put(&mut second, cut(3_000), 1), Ok(true));
    }

    #[test]
    fn buffers_are_used_again() {
        let mut partials = Partials::new(10_000);
        let mut index = NONE;
        assert_eq!(partials.put(&mut index, cut(100), 1), Ok(true));
        partials.give(&mut index);
        let partial = partials.take(NONE);
        assert!(partial.unread.is_empty() && partial.unread.capacity() >= 100);
    }
}
