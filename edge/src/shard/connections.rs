//! The table of connections, addressed by socket slot.
//!
//! Invariants: entry `ring * slots_per_ring + slot` belongs to that slot of that
//! ring, so a completion finds its connection without a map; an entry is free
//! while its socket is [`SocketId::NONE`], which is what zeroed memory reads as.
//!
//! `unsafe` stands here because the table lives in reserved memory that is zero
//! until used.
//!
//! Thread: the shard.

use std::ops::{Index, IndexMut};

use interlink_uring::SocketId;

use super::connection::Connection;
use crate::config::Rings;
use crate::memory::{prefetch, MemoryError, Reserved, Zeroed};

// SAFETY: a connection is integers all through (the socket's name, indices, flags,
// times and the reader's progress), for which zero bytes are valid values.
unsafe impl Zeroed for Connection {}

/// All connections of a shard.
#[derive(Debug)]
pub struct Connections {
    entries: Reserved<Connection>,
    slots_per_ring: u32,
    used: u32,
}

impl Connections {
    /// Room for every slot of the most rings that the configuration allows; touched only when
    /// used.
    ///
    /// # Errors
    /// When the address space is refused.
    pub fn new(rings: &Rings) -> Result<Self, MemoryError> {
        let capacity = rings.rings_max as usize * rings.slots_per_ring as usize;
        Ok(Self {
            entries: Reserved::new(capacity)?,
            slots_per_ring: rings.slots_per_ring,
            used: 0,
        })
    }

    /// Most connections.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Entries from here on were never used.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The index that belongs to a socket's slot.
    pub fn index_of(&self, socket: SocketId) -> u32 {
        u32::from(socket.ring()) * self.slots_per_ring + socket.slot()
    }

    /// The index of the connection with this socket, unless it has ended.
    pub fn find(&self, socket: SocketId) -> Option<u32> {
        let index = self.index_of(socket);
        (self.entries[index as usize].socket == socket).then_some(index)
    }

    /// Asks the processor for the entry of a socket that will be read soon.
    pub fn prefetch(&self, socket: SocketId) {
        prefetch(&self.entries[self.index_of(socket) as usize]);
    }

    /// Fills the entry of the connection's socket and returns its index.
    pub fn insert(&mut self, connection: Connection) -> u32 {
        let index = self.index_of(connection.socket);
        debug_assert_eq!(self.entries[index as usize].socket, SocketId::NONE);
        self.entries[index as usize] = connection;
        self.used = self.used.max(index + 1);
        index
    }
}

impl Index<u32> for Connections {
    type Output = Connection;

    fn index(&self, index: u32) -> &Connection {
        &self.entries[index as usize]
    }
}

impl IndexMut<u32> for Connections {
    fn index_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.entries[index as usize]
    }
}
