//! The model disk: segments, and which of their bytes a crash may take.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::Rng;

use crate::record::SegmentId;

/// A write that no sync has covered.
#[derive(Clone, Debug)]
pub(super) struct Unsynced {
    pub offset: usize,
    pub bytes: Vec<u8>,
    /// A sync that should have covered it failed: the page is clean for the kernel, and no
    /// later sync writes it.
    pub forgotten: bool,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    pub durable: Vec<u8>,
    pub unsynced: Vec<Unsynced>,
}

/// All segments of one boot.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub files: BTreeMap<SegmentId, File>,
}

/// The files after a crash.
pub(super) type Image = BTreeMap<SegmentId, Vec<u8>>;

impl Disk {
    /// A prepared segment; `content` is what an earlier life left in it.
    pub fn prepare(&mut self, segment: SegmentId, content: Vec<u8>) {
        self.files.insert(
            segment,
            File {
                durable: content,
                unsynced: Vec::new(),
            },
        );
    }

    /// A write is on its way: from now on a crash may leave any part of it.
    pub fn write(&mut self, segment: SegmentId, offset: u64, bytes: Vec<u8>) {
        if let Some(file) = self.files.get_mut(&segment) {
            let offset = offset as usize;
            file.unsynced.push(Unsynced {
                offset,
                bytes,
                forgotten: false,
            });
        }
    }

    /// How many writes a sync that starts now covers.
    pub fn unsynced(&self, segment: SegmentId) -> usize {
        self.files
            .get(&segment)
            .map_or(0, |file| file.unsynced.len())
    }

    /// A sync that covers the first `count` writes has ended.
    pub fn sync(&mut self, segment: SegmentId, count: usize, succeeded: bool) {
        let Some(file) = self.files.get_mut(&segment) else {
            return;
        };
        if !succeeded {
            file.unsynced
                .iter_mut()
                .take(count)
                .for_each(|write| write.forgotten = true);
            return;
        }
        let mut position = 0;
        let durable = &mut file.durable;
        file.unsynced.retain(|write| {
            position += 1;
            let covered = position <= count && !write.forgotten;
            if covered {
                put(durable, write.offset, &write.bytes);
            }
            !covered
        });
    }

    /// The machine stops: every sector of every unsynced write is kept or lost.
    pub fn crash(&self, random: &mut StdRng) -> Image {
        let sector = if random.random_bool(0.5) { 512 } else { 4_096 };
        // Whole extremes are likely enough to be seen, mixtures are the rule.
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        self.image(|write| {
            let mut kept = Vec::new();
            for (index, chunk) in write.bytes.chunks(sector).enumerate() {
                if random.random_bool(keep) {
                    kept.push((index * sector, chunk.len()));
                }
            }
            kept
        })
    }

    /// An image with exactly the sectors that `chosen` numbers, over all unsynced writes.
    pub fn crash_choosing(&self, mut chosen: impl FnMut(usize) -> bool) -> Image {
        let mut number = 0;
        self.image(|write| {
            let mut kept = Vec::new();
            for (index, chunk) in write.bytes.chunks(512).enumerate() {
                if chosen(number) {
                    kept.push((index * 512, chunk.len()));
                }
                number += 1;
            }
            kept
        })
    }

    /// Sectors of 512 bytes in unsynced writes.
    pub fn unsynced_sectors(&self) -> usize {
        let writes = self.files.values().flat_map(|file| &file.unsynced);
        writes.map(|write| write.bytes.len().div_ceil(512)).sum()
    }

    /// The process dies: the page cache survives, except a part of a write in the kernel.
    pub fn kill(&self, in_flight: &[(SegmentId, u64)], random: &mut StdRng) -> Image {
        let mut image = Image::new();
        for (segment, file) in &self.files {
            let mut bytes = file.durable.clone();
            for write in &file.unsynced {
                let flying = in_flight.contains(&(*segment, write.offset as u64));
                let length = write.bytes.len();
                let kept = if flying {
                    random.random_range(0..=length)
                } else {
                    length
                };
                put(&mut bytes, write.offset, &write.bytes[..kept]);
            }
            image.insert(*segment, bytes);
        }
        image
    }

    fn image(&self, mut kept: impl FnMut(&Unsynced) -> Vec<(usize, usize)>) -> Image {
        let mut image = Image::new();
        for (segment, file) in &self.files {
            let mut bytes = file.durable.clone();
            for write in &file.unsynced {
                for (start, length) in kept(write) {
                    put(
                        &mut bytes,
                        write.offset + start,
                        &write.bytes[start..start + length],
                    );
                }
            }
            image.insert(*segment, bytes);
        }
        image
    }
}

fn put(bytes: &mut [u8], offset: usize, part: &[u8]) {
    bytes[offset..offset + part.len()].copy_from_slice(part);
}
