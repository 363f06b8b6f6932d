//! Drives a journal over the model disk by a seed, and checks images of it.

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;
use rand::rngs::StdRng;
use rand::Rng;

use super::disk::{Disk, Image};
use crate::journal::{Action, EntryBody, Journal, JournalConfig, SegmentReader};
use crate::record::{Kind, Mark, RecordRef, SegmentId, Sequence, StreamId};
use crate::recovery::{StreamScan, StreamState};

pub(super) const SEGMENT_BYTES: u32 = 8 * 1024;
const EIO: i32 = -5;

/// An operation that the kernel has.
#[derive(Debug)]
enum Flying {
    Write {
        segment: SegmentId,
        offset: u64,
        buffer: Vec<u8>,
        token: u64,
    },
    Sync {
        segment: SegmentId,
        token: u64,
        covers: usize,
    },
    Prepare(SegmentId),
}

/// A journal, its disk, and what was promised.
pub(super) struct Run {
    pub boot: u64,
    pub disk: Disk,
    pub journal: Journal,
    flying: Vec<Flying>,
    /// What was appended, by kind: the id of each sequence.
    pub appended: [Vec<u64>; 2],
    next_id: u64,
    pub now_us: u64,
    /// Contents of retired segments, for reuse.
    recycled: Vec<Vec<u8>>,
    /// Probability that an operation fails.
    faults: f64,
}

impl Run {
    pub fn new(boot: u64, faults: f64, recycled: Vec<Vec<u8>>) -> Self {
        let mut config = JournalConfig::new(boot, 1, 1);
        config.segment_bytes = SEGMENT_BYTES;
        config.frame_bytes_max = 512;
        for policy in &mut config.policies {
            policy.bytes = 1024;
        }
        Self {
            boot,
            disk: Disk::default(),
            journal: Journal::new(&config).expect("a valid configuration"),
            flying: Vec::new(),
            appended: Default::default(),
            next_id: boot << 32,
            now_us: 0,
            recycled,
            faults,
        }
    }

    /// Appends one record or mark if the journal takes it.
    pub fn append(&mut self, class: Priority, frame_bytes: usize, mark: bool) {
        self.next_id += 1;
        let id = self.next_id;
        let kind = if mark { Kind::Urgent } else { Kind::of(class) };
        let frame = vec![id as u8; frame_bytes];
        let appended = if mark {
            let position = Position {
                epoch: 1,
                offset: id,
                chain: id,
            };
            let record = RecordId(u128::from(id));
            let mark = Mark {
                record,
                channel_hash: 5,
                position,
                previous_chain: 3,
            };
            self.journal.append_mark(&mark, self.now_us)
        } else {
            self.journal.append(&record(class, id, &frame), self.now_us)
        };
        if let Ok(sequence) = appended {
            let ids = &mut self.appended[kind.index()];
            ids.push(id);
            assert_eq!(sequence, Sequence(ids.len() as u64));
        }
    }

    /// Takes the journal's next action into the kernel, if there is one.
    pub fn start_action(&mut self) -> bool {
        let Some(action) = self.journal.next_action(self.now_us) else {
            return false;
        };
        match action {
            Action::Write {
                segment,
                offset,
                buffer,
                token,
            } => {
                self.disk.write(segment, offset, buffer.clone());
                self.flying.push(Flying::Write {
                    segment,
                    offset,
                    buffer,
                    token,
                });
            }
            Action::Sync { segment, token } => {
                let covers = self.disk.unsynced(segment) - self.writes_in_flight(segment);
                self.flying.push(Flying::Sync {
                    segment,
                    token,
                    covers,
                });
            }
            Action::Prepare(segment) => self.flying.push(Flying::Prepare(segment)),
            Action::Retire(sealed) => {
                if let Some(file) = self.disk.files.get(&sealed.segment) {
                    self.recycled.push(file.durable.clone());
                }
            }
        }
        true
    }

    /// Ends one operation in flight, chosen by `pick`; preparations end in their order.
    pub fn complete(&mut self, pick: usize, random: &mut StdRng) {
        if self.flying.is_empty() {
            return;
        }
        let fails = random.random_bool(self.faults);
        let picked = pick % self.flying.len();
        let kind_of = |flying: &Flying| match flying {
            Flying::Prepare(segment) => Some(segment.kind),
            _ => None,
        };
        // Preparations of a kind are answered in their order, whichever was picked.
        let index = match kind_of(&self.flying[picked]) {
            None => picked,
            kind => self
                .flying
                .iter()
                .position(|other| kind_of(other) == kind)
                .unwrap_or(picked),
        };
        match self.flying.remove(index) {
            Flying::Write { buffer, token, .. } => {
                let length = buffer.len() as i32;
                let short = if random.random_bool(0.5) {
                    EIO
                } else {
                    length / 2
                };
                self.journal
                    .on_written(token, if fails { short } else { length }, buffer);
            }
            Flying::Sync {
                segment,
                token,
                covers,
            } => {
                self.disk.sync(segment, covers, !fails);
                self.journal.on_synced(token, if fails { EIO } else { 0 });
            }
            Flying::Prepare(segment) => {
                let stale = self.recycled.pop();
                let stale = stale.unwrap_or_else(|| vec![0; SEGMENT_BYTES as usize]);
                self.disk.prepare(segment, stale);
                self.journal.on_prepared(segment);
            }
        }
    }

    /// Random appends, actions and completions.
    pub fn steps(&mut self, count: usize, random: &mut StdRng) {
        for _ in 0..count {
            match random.random_range(0..10) {
                0..=3 => {
                    let class = Priority::ALL[random.random_range(0..4)];
                    let frame_bytes = random.random_range(0..500);
                    let mark = random.random_bool(0.1);
                    self.append(class, frame_bytes, mark);
                }
                4..=6 => {
                    self.start_action();
                }
                7..=8 => self.complete(random.random_range(0..8), random),
                _ => self.now_us += random.random_range(0..200_000),
            }
        }
    }

    /// Until nothing is left to do.
    pub fn settle(&mut self, random: &mut StdRng) {
        for _ in 0..10_000 {
            if self.start_action() {
                continue;
            }
            if self.flying.is_empty() {
                if self.journal.is_idle() {
                    return;
                }
                self.now_us += 100_000;
            }
            self.complete(0, random);
        }
        panic!("the journal does not come to rest");
    }

    /// Writes that the kernel has.
    pub fn in_flight(&self) -> Vec<(SegmentId, u64)> {
        let writes = self.flying.iter().filter_map(|flying| match flying {
            Flying::Write {
                segment, offset, ..
            } => Some((*segment, *offset)),
            _ => None,
        });
        writes.collect()
    }

    pub fn recycled(&self) -> Vec<Vec<u8>> {
        let files = self.disk.files.values().map(|file| file.durable.clone());
        files.chain(self.recycled.iter().cloned()).collect()
    }

    fn writes_in_flight(&self, segment: SegmentId) -> usize {
        self.in_flight()
            .iter()
            .filter(|(other, _)| *other == segment)
            .count()
    }

    /// Compares an image with what was promised; `promised` is by kind.
    pub fn check(&self, image: &Image, promised: [Sequence; 2]) -> Result<(), String> {
        for kind in Kind::ALL {
            let stream = StreamId {
                boot: self.boot,
                shard: 1,
                kind,
            };
            let (state, ids) = recover(stream, image);
            let (again, _) = recover(stream, image);
            if state != again {
                return Err(format!("{kind:?}: recovering twice differs"));
            }
            if !state.damage.is_empty() {
                return Err(format!(
                    "{kind:?}: a crash is taken for damage: {:?}",
                    state.damage
                ));
            }
            let appended = &self.appended[kind.index()];
            if ids.len() as u64 != state.last.0 {
                return Err(format!(
                    "{kind:?}: {} entries through {:?}",
                    ids.len(),
                    state.last
                ));
            }
            if !appended.starts_with(&ids) {
                return Err(format!("{kind:?}: entries differ from what was appended"));
            }
            if state.last < promised[kind.index()] {
                let promised = promised[kind.index()];
                return Err(format!(
                    "{kind:?}: {promised:?} promised, {:?} kept",
                    state.last
                ));
            }
        }
        Ok(())
    }

    pub fn durable(&self) -> [Sequence; 2] {
        Kind::ALL.map(|kind| self.journal.durable_through(kind))
    }

    pub fn written(&self) -> [Sequence; 2] {
        Kind::ALL.map(|kind| self.journal.written_through(kind))
    }
}

/// Recovers one log of an image: the judgement and the ids of what counts.
pub(super) fn recover(stream: StreamId, image: &Image) -> (StreamState, Vec<u64>) {
    let mut scan = StreamScan::new(stream);
    for (segment, bytes) in image
        .iter()
        .filter(|(segment, _)| segment.kind == stream.kind)
    {
        scan.add_segment(segment.number, bytes);
    }
    let state = scan.resolve();
    let mut ids = Vec::new();
    for believed in &state.believed {
        let segment = SegmentId {
            kind: stream.kind,
            number: believed.segment,
        };
        let reader = SegmentReader::new(stream, believed.segment, &image[&segment]);
        let block = reader.block(believed.offset).expect("a believed block");
        for entry in block
            .entries()
            .filter(|entry| entry.sequence >= believed.from)
        {
            match entry.body {
                EntryBody::Record(record) => {
                    let filled = record
                        .frame
                        .iter()
                        .all(|b| *b == record.client_message_id as u8);
                    ids.push(if filled { record.client_message_id } else { 0 });
                }
                EntryBody::Mark(mark) => ids.push(mark.record.0 as u64),
                EntryBody::Unknown { .. } => ids.push(0),
            }
        }
    }
    (state, ids)
}

fn record(class: Priority, id: u64, frame: &[u8]) -> RecordRef<'_> {
    RecordRef {
        class,
        record: RecordId(u128::from(id)),
        instance: InstanceId(1),
        client_message_id: id,
        payload_hash: id,
        accepted_at_us: id,
        channel: "class.a",
        placement: None,
        frame,
    }
}
