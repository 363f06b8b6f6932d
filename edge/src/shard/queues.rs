//! Replies that wait for their socket.
//!
//! Purpose: frames for one connection that belong to no channel: `Welcome`,
//! `Subscribed`, acknowledgements, heartbeats, pages. They are queued as bytes
//! ready for the wire, and a queue exists only while something waits in it.
//!
//! Limits: [`QUEUE_BYTES_MAX`] a connection; a connection that needs more has
//! stopped reading and is closed. When all queues of the shard hold [`HELD_BYTES_MAX`]
//! of memory, a queue in which something waits may grow to [`QUEUE_BYTES_CROWDED`] only.
//! Buffers are recycled, so a steady state allocates nothing.
//!
//! Thread: the shard.

use super::connection::NONE;

/// Most bytes that may wait for one connection.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Memory of all queues of a shard from which on clients that do not read are closed early.
pub const HELD_BYTES_MAX: usize = crate::config::REPLY_BYTES as usize;
/// Most bytes that may wait for a connection while the shard holds [`HELD_BYTES_MAX`].
pub const QUEUE_BYTES_CROWDED: usize = 4 * 1024;
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
    /// Capacity of all buffers.
    held: usize,
}

impl Queues {
    /// Appends to the queue that `index` names, taking a new one if it is [`NONE`].
    pub fn push(&mut self, index: &mut u32, parts: &[&[u8]]) -> Result<(), QueueFull> {
        if *index == NONE {
            *index = self.take();
        }
        let crowded = self.is_crowded();
        let queue = &mut self.slots[*index as usize];
        let more: usize = parts.iter().map(|part| part.len()).sum();
        let waiting = queue.bytes.len() - queue.sent;
        let bytes_max = match crowded && waiting > 0 {
            true => QUEUE_BYTES_CROWDED,
            false => QUEUE_BYTES_MAX,
        };
        if waiting + more > bytes_max {
            return Err(QueueFull);
        }
        let capacity = queue.bytes.capacity();
        if queue.sent > 0 && queue.sent * 2 >= queue.bytes.len() {
            queue.bytes.drain(..queue.sent);
            queue.sent = 0;
        }
        for part in parts {
            queue.bytes.extend_from_slice(part);
        }
        self.held += queue.bytes.capacity() - capacity;
        Ok(())
    }

    /// Whether all queues together hold so much that clients which do not read are closed early.
    pub fn is_crowded(&self) -> bool {
        self.held >= HELD_BYTES_MAX
    }

    /// Whether the queues hold half of what they may: what can wait elsewhere should.
    pub fn are_filling(&self) -> bool {
        self.held >= HELD_BYTES_MAX / 2
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
            self.held -= queue.bytes.capacity();
            queue.bytes = Vec::new();
        } else if queue.bytes.capacity() > 0 {
            self.kept += 1;
        }
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_and_empties_to_nothing() {
        let (mut queues, mut index) = (Queues::default(), NONE);
        let half = vec![1; QUEUE_BYTES_MAX / 2];
        assert_eq!(queues.push(&mut index, &[&half, &half]), Ok(()));
        assert_eq!(queues.push(&mut index, &[&[1]]), Err(QueueFull));
        queues.advance(&mut index, QUEUE_BYTES_MAX);
        assert_eq!((index, queues.held), (NONE, 0));
    }

    #[test]
    fn in_a_crowd_only_those_who_do_not_read_find_no_room() {
        let mut queues = Queues::default();
        let full = vec![1; QUEUE_BYTES_MAX];
        let mut stalled = Vec::new();
        while queues.held < HELD_BYTES_MAX {
            let mut index = NONE;
            assert_eq!(queues.push(&mut index, &[&full]), Ok(()));
            stalled.push(index);
        }
        let mut reading = NONE;
        assert_eq!(queues.push(&mut reading, &[&full[..60_000]]), Ok(()));
        assert_eq!(queues.push(&mut reading, &[&[1]]), Err(QueueFull));
        queues.advance(&mut reading, 60_000);
        assert_eq!(queues.push(&mut reading, &[&[1; 100]]), Ok(()));
        assert_eq!(queues.push(&mut stalled[0], &[&[1]]), Err(QueueFull));
        for mut index in stalled {
            queues.drop_queue(&mut index);
        }
        assert_eq!(queues.push(&mut reading, &[&full[..60_000]]), Ok(()));
    }
}
