//! `LastValues`: the newest event of each conflation key of each channel of one shard.
//!
//! Purpose: on a conflated channel a newer event replaces an older one of its key. A subscriber
//! that the channel's log has overtaken, or that comes back to a channel without history, is
//! given these events in the place of all that it missed.
//!
//! Invariants: a channel has at most one value a key, and it is the newest that was kept; values
//! of a channel are linked by rising offsets; values of all channels are linked by age, so that
//! the oldest goes when memory is short. Which events neither are a value nor were superseded by
//! one is never forgotten: they are at or below [`LastValues::all_kept_above`].
//!
//! Limits: the bytes given at construction; `VALUES_PER_CHANNEL_MAX` values a channel;
//! `EVICTIONS_PER_VALUE_MAX` values make room for one. Where there is none the event is not kept.
//!
//! Runs on: the shard thread that owns it.

use hashbrown::HashTable;
use interlink_protocol::ids::Position;
use std::collections::HashMap;

use super::limits::{EVICTIONS_PER_VALUE_MAX, VALUES_PER_CHANNEL_MAX};
use super::{BlockClass, BlockId, BlockPool, MemoryError, Slab};
use links::{Ends, Links};

mod links;

/// The largest event that is kept, in bytes, with its key.
const VALUE_BYTES_MAX: usize = BlockClass::K68.bytes();

/// One value.
#[derive(Debug)]
struct Record {
    position: Position,
    hash: u64,
    /// Neighbours by age.
    by_age: Links,
    /// Neighbours in the channel.
    in_channel: Links,
    channel: u32,
    block: BlockId,
    frame_bytes: u32,
    key_bytes: u32,
}

/// The values of one channel, oldest first. It exists while there are some.
#[derive(Debug)]
struct Ring {
    ends: Ends,
    count: u32,
    all_kept_above: u64,
}

/// Values of all channels.
#[derive(Debug)]
pub struct LastValues {
    pool: BlockPool,
    records: Slab<Record>,
    index: HashTable<u32>,
    channels: HashMap<u32, Ring>,
    ages: Ends,
    evicted: u64,
}

impl LastValues {
    /// At most `bytes` of values.
    ///
    /// # Errors
    /// When the address space is refused.
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        let pool = BlockPool::new(bytes)?;
        let most = pool.stats().capacity_bytes / BlockClass::B256.bytes();
        Ok(Self {
            pool,
            records: Slab::new(most)?,
            index: HashTable::new(),
            channels: HashMap::new(),
            ages: Ends::default(),
            evicted: 0,
        })
    }

    /// Keeps an encoded event in the place of the last one of its key. Events come in the order
    /// of their offsets; one that is not above the channel's newest value is known already.
    pub fn keep(&mut self, channel: u32, position: Position, key: &str, frame: &[u8]) {
        if let Some(ring) = self.channels.get(&channel) {
            let newest = self.records[ring.ends.last].position;
            if newest.epoch == position.epoch && newest.offset >= position.offset {
                return;
            }
        }
        let hash = hash_of(channel, key);
        if let Some(known) = self.find(hash, channel, key) {
            self.take_out(known);
        } else if self.count(channel) >= VALUES_PER_CHANNEL_MAX {
            self.evict_oldest_of(channel);
        }
        match self.take_block(key.len() + frame.len()) {
            Some(block) => self.put_in(channel, position, (hash, block), key, frame),
            None => self.pass_over(channel, position.offset),
        }
        self.drop_ring_if_empty(channel);
    }

    /// Takes over the values of another table, oldest first, which says above which offset it has
    /// kept all.
    pub fn adopt<'v>(
        &mut self,
        channel: u32,
        all_kept_above: u64,
        values: impl Iterator<Item = (Position, &'v str, &'v [u8])>,
    ) {
        let had_some = self.channels.contains_key(&channel);
        let mut told = 0;
        for (position, key, frame) in values {
            self.keep(channel, position, key, frame);
            told += 1;
        }
        if let Some(ring) = self.channels.get_mut(&channel) {
            if !had_some && ring.count == told {
                ring.all_kept_above = all_kept_above;
            }
        }
    }

    /// An event at `offset` is no value: it has no key.
    pub fn pass_over(&mut self, channel: u32, offset: u64) {
        if let Some(ring) = self.channels.get_mut(&channel) {
            ring.all_kept_above = ring.all_kept_above.max(offset);
        }
    }

    /// The offset above which each event of the channel is a value or was superseded by one.
    #[must_use]
    pub fn all_kept_above(&self, channel: u32) -> u64 {
        let ring = self.channels.get(&channel);
        ring.map_or(u64::MAX, |ring| ring.all_kept_above)
    }

    /// The oldest value above an offset, by its name until something is kept or forgotten.
    #[must_use]
    pub fn first_above(&self, channel: u32, offset: u64) -> Option<u32> {
        let mut at = self.channels.get(&channel)?.ends.first();
        while let Some(value) = at {
            if self.records[value].position.offset > offset {
                return Some(value);
            }
            at = self.next(value);
        }
        None
    }

    /// The oldest of the newest `most` values of a channel.
    #[must_use]
    pub fn first_of_newest(&self, channel: u32, most: u32) -> Option<u32> {
        let ring = self.channels.get(&channel)?;
        let mut at = ring.ends.first();
        for _ in most..ring.count {
            at = self.next(at?);
        }
        at
    }

    /// The value after this one in its channel.
    #[must_use]
    pub fn next(&self, value: u32) -> Option<u32> {
        self.records[value].in_channel.next()
    }

    /// Position and encoded event of a value.
    #[must_use]
    pub fn value(&self, value: u32) -> (Position, &[u8]) {
        let record = &self.records[value];
        let start = record.key_bytes as usize;
        let bytes = &self.pool.bytes(record.block)[start..];
        (record.position, &bytes[..record.frame_bytes as usize])
    }

    /// Forgets the values of a channel.
    pub fn forget(&mut self, channel: u32) {
        while let Some(first) = self.first_above(channel, 0) {
            self.take_out(first);
        }
        self.channels.remove(&channel);
    }

    /// Bytes of memory that the values hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.pool.stats().held_bytes
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Values that went to make room, since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn count(&self, channel: u32) -> u32 {
        self.channels.get(&channel).map_or(0, |ring| ring.count)
    }

    fn find(&self, hash: u64, channel: u32, key: &str) -> Option<u32> {
        let same = |&at: &u32| {
            let record = &self.records[at];
            let bytes = record.key_bytes as usize;
            record.channel == channel && &self.pool.bytes(record.block)[..bytes] == key.as_bytes()
        };
        self.index.find(hash, same).copied()
    }

    /// A block of this size, at the cost of the oldest values when none is free.
    fn take_block(&mut self, bytes: usize) -> Option<BlockId> {
        if bytes > VALUE_BYTES_MAX || self.records.is_full() && !self.evict_oldest() {
            return None;
        }
        let class = BlockClass::for_bytes(bytes)?;
        for _ in 0..EVICTIONS_PER_VALUE_MAX {
            if let Some(block) = self.pool.alloc(class) {
                return Some(block);
            }
            if !self.evict_oldest() {
                return None;
            }
        }
        self.pool.alloc(class)
    }

    fn put_in(
        &mut self,
        channel: u32,
        position: Position,
        (hash, block): (u64, BlockId),
        key: &str,
        frame: &[u8],
    ) {
        let bytes = self.pool.bytes_mut(block);
        bytes[..key.len()].copy_from_slice(key.as_bytes());
        bytes[key.len()..key.len() + frame.len()].copy_from_slice(frame);
        let record = Record {
            position,
            hash,
            by_age: Links::default(),
            in_channel: Links::default(),
            channel,
            block,
            frame_bytes: frame.len() as u32,
            key_bytes: key.len() as u32,
        };
        let Some(at) = self.records.insert(record) else {
            // The smallest block of each record is counted in, so the pool is empty before.
            return self.pool.free(block);
        };
        let ring = self.channels.entry(channel).or_insert_with(|| Ring {
            ends: Ends::default(),
            count: 0,
            // Nothing is known of what came before.
            all_kept_above: position.offset.saturating_sub(1),
        });
        ring.count += 1;
        let records = &mut self.records;
        links::push(&mut ring.ends, records, at, |record| &mut record.in_channel);
        links::push(&mut self.ages, records, at, |record| &mut record.by_age);
        let records = &self.records;
        self.index.insert_unique(hash, at, |&at| records[at].hash);
    }

    /// Takes a value out of every list and gives its memory back; its ring may be empty then.
    fn take_out(&mut self, at: u32) {
        let (channel, hash) = (self.records[at].channel, self.records[at].hash);
        let records = &mut self.records;
        if let Some(ring) = self.channels.get_mut(&channel) {
            ring.count -= 1;
            links::unlink(&mut ring.ends, records, at, |record| &mut record.in_channel);
        }
        links::unlink(&mut self.ages, records, at, |record| &mut record.by_age);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        let record = self.records.remove(at);
        self.pool.free(record.block);
    }

    fn evict_oldest_of(&mut self, channel: u32) {
        let ring = self.channels.get(&channel);
        if let Some(first) = ring.and_then(|ring| ring.ends.first()) {
            self.evict(first);
        }
    }

    fn evict_oldest(&mut self) -> bool {
        let Some(oldest) = self.ages.first() else {
            return false;
        };
        let channel = self.records[oldest].channel;
        self.evict(oldest);
        self.drop_ring_if_empty(channel);
        true
    }

    fn evict(&mut self, at: u32) {
        let (channel, offset) = (self.records[at].channel, self.records[at].position.offset);
        self.pass_over(channel, offset);
        self.take_out(at);
        self.evicted += 1;
    }

    fn drop_ring_if_empty(&mut self, channel: u32) {
        if self.count(channel) == 0 {
            self.channels.remove(&channel);
        }
    }
}

fn hash_of(channel: u32, key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), u64::from(channel))
}
