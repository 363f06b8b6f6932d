//! Replies that wait for their socket.
//!
//! Purpose: frames for one connection that belong to no channel: `Welcome`,
//! `Subscribed`, acknowledgements, heartbeats, pages. They are queued as bytes
//! ready for the wire, and a queue exists only while something waits in it.
//!
//! Limits: [`QUEUE_BYTES_MAX`] a connection; a connection that needs more has
//! stopped reading and is closed. Buffers are recycled, so a steady state
//! allocates nothing.
//!
//! Thread: the shard.

use super::connection::NONE;

/// Most bytes that may wait for one connection.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// A recycled buffer keeps at most this capacity.
const KEPT_CAPACITY: usize = 4 * 1024;
/// Most recycled buffers that are kept.
const KEPT_BUFFERS: usize = 4096;

/// The queue of a connection is full.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueFull;

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    sent: usize,
}

/// Queues by index.
#[derive(Debug, Default)]
pub struct Queues {
    slots: Vec<Queue>,
    free: Vec<u32>,
    kept: usize,
}

impl Queues {
    /// Appends to the queue that `index` names, taking a new one if it is [`NONE`].
    pub fn push(&mut self, index: &mut u32, parts: &[&[u8]]) -> Result<(), QueueFull> {
        if *index == NONE {
            *index = self.take();
        }
        let queue = &mut self.slots[*index as usize];
        let more: usize = parts.iter().map(|part| part.len()).sum();
        if queue.bytes.len() - queue.sent + more > QUEUE_BYTES_MAX {
            return Err(QueueFull);
        }
        if queue.sent > 0 && queue.sent * 2 >= queue.bytes.len() {
            queue.bytes.drain(..queue.sent);
            queue.sent = 0;
        }
        for part in parts {
            queue.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// What waits in the queue.
    pub fn waiting(&self, index: u32) -> &[u8] {
        if index == NONE {
            return &[];
        }
        let queue = &self.slots[index as usize];
        &queue.bytes[queue.sent..]
    }

    /// Notes that `sent` bytes left; frees the queue when nothing is left.
    pub fn advance(&mut self, index: &mut u32, sent: usize) {
        if *index == NONE || sent == 0 {
            return;
        }
        let queue = &mut self.slots[*index as usize];
        queue.sent += sent;
        debug_assert!(queue.sent <= queue.bytes.len());
        if queue.sent == queue.bytes.len() {
            self.give(*index);
            *index = NONE;
        }
    }

    /// Drops the queue and what waits in it.
    pub fn drop_queue(&mut self, index: &mut u32) {
        if *index != NONE {
            self.give(*index);
            *index = NONE;
        }
    }

    fn take(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            if self.slots[index as usize].bytes.capacity() > 0 {
                self.kept -= 1;
            }
            return index;
        }
        self.slots.push(Queue::default());
        (self.slots.len() - 1) as u32
    }

    fn give(&mut self, index: u32) {
        let queue = &mut self.slots[index as usize];
        queue.bytes.clear();
        queue.sent = 0;
        if queue.bytes.capacity() > KEPT_CAPACITY || self.kept >= KEPT_BUFFERS {
            queue.bytes = Vec::new();
        } else if queue.bytes.capacity() > 0 {
            self.kept += 1;
        }
        self.free.push(index);
    }
}
