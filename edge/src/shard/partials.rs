//! Bytes of messages that have not arrived completely.
//!
//! Purpose: the exception to "nothing is held across turns". A connection whose
//! last bytes end inside a frame, or inside a message of several frames, gets a
//! buffer here until the message is complete.
//!
//! Limits: one budget of bytes a shard (64 MiB by default). A client whose bytes
//! find no room is closed, and so is one that does not finish a message in time:
//! both may reconnect and lose nothing that was acknowledged.
//!
//! Thread: the shard.

use super::connection::NONE;

/// Capacity that a recycled buffer keeps.
const KEPT_CAPACITY: usize = 4 * 1024;
/// Most recycled buffers.
const KEPT_BUFFERS: usize = 1_024;

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
    /// Shard milliseconds at which the message began.
    pub since_ms: u32,
}

impl Partial {
    fn len(&self) -> usize {
        self.unread.len() + self.message.len()
    }
}

/// Partial messages by index.
#[derive(Debug)]
pub struct Partials {
    slots: Vec<Partial>,
    free: Vec<u32>,
    bytes: usize,
    bytes_max: usize,
}

impl Partials {
    /// A pool of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes the partial out for use; an empty one if there is none. Give it back with
    /// [`Self::put`].
    pub fn take(&mut self, index: u32) -> Partial {
        if index == NONE {
            return Partial::default();
        }
        let partial = std::mem::take(&mut self.slots[index as usize]);
        self.bytes -= partial.len();
        partial
    }

    /// Stores a partial under `index`, or frees the slot when nothing is left of it.
    pub fn put(&mut self, index: &mut u32, partial: Partial, now_ms: u32) -> Result<bool, NoRoom> {
        if partial.len() == 0 {
            self.recycle(index, partial);
            return Ok(false);
        }
        if self.bytes + partial.len() > self.bytes_max {
            self.recycle(index, Partial::default());
            return Err(NoRoom);
        }
        let begins = *index == NONE || partial.since_ms == 0;
        if *index == NONE {
            *index = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Partial::default());
                (self.slots.len() - 1) as u32
            });
        }
        self.bytes += partial.len();
        let slot = &mut self.slots[*index as usize];
        *slot = partial;
        if begins {
            slot.since_ms = now_ms.max(1);
        }
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

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn recycle(&mut self, index: &mut u32, mut partial: Partial) {
        if *index == NONE {
            return;
        }
        partial.unread.clear();
        partial.message = Vec::new();
        partial.since_ms = 0;
        if partial.unread.capacity() > KEPT_CAPACITY || self.free.len() >= KEPT_BUFFERS {
            partial.unread = Vec::new();
        }
        self.slots[*index as usize] = partial;
        self.free.push(*index);
        *index = NONE;
    }
}
