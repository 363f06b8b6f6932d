//! Records of a shard on their way to the relay thread of a cluster.
//!
//! Purpose: a record leaves once it is on this node's disk. When the relay thread takes less than
//! the disk does, records wait here for room in the lane, and the oldest are left out: the relay
//! thread sees the hole before the next record and reads that stretch from the journal.
//!
//! Invariants: records of a log leave in its order, through one ring whatever their classes, since
//! the relay thread takes one that is early for a hole; none leaves before it is on the disk; the
//! newest is never left out, so that no hole stays unseen.
//!
//! Limits: [`LEAVING_RECORDS_MAX`] and [`LEAVING_BYTES_MAX`] for each log. Thread: the shard.

use std::collections::VecDeque;

use interlink_protocol::priority::Priority;
use interlink_relay::event_log::LogRecord;
use interlink_relay::record::{Kind, Sequence};

/// Records of a log that wait for the disk or for room: what a shard accepts while the disk is
/// slow ten times over. What is left out costs a read of the journal.
pub const LEAVING_RECORDS_MAX: usize = 16_384;

/// Bytes of them: as many records as that of 1 KiB each, which is more than the usual event.
pub const LEAVING_BYTES_MAX: usize = 16 << 20;

/// Records of one log.
#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Box<LogRecord>>,
    bytes: usize,
}

impl Queue {
    fn pop_through(&mut self, durable: Sequence) -> Option<Box<LogRecord>> {
        let record = self
            .records
            .pop_front_if(|record| record.at.sequence <= durable)?;
        self.bytes -= weight(&record);
        Some(record)
    }

    fn put_back(&mut self, record: Box<LogRecord>) {
        self.bytes += weight(&record);
        self.records.push_front(record);
    }
}

/// What has to leave a shard.
#[derive(Debug, Default)]
pub struct Leaving {
    queues: [Queue; Kind::ALL.len()],
    /// The lane of a log was full when it was last tried.
    is_blocked: [bool; Kind::ALL.len()],
    left_out: u64,
}

impl Leaving {
    /// A record was journaled; the oldest make room for it.
    pub fn push(&mut self, record: Box<LogRecord>) {
        let queue = &mut self.queues[record.at.kind.index()];
        queue.bytes += weight(&record);
        queue.records.push_back(record);
        while queue.records.len() > LEAVING_RECORDS_MAX || queue.bytes > LEAVING_BYTES_MAX {
            if queue.records.len() == 1 || queue.pop_through(Sequence(u64::MAX)).is_none() {
                break;
            }
            self.left_out += 1;
        }
    }

    /// Gives `send` the records of a log that are on the disk, in order, until it gives one back.
    pub fn send(
        &mut self,
        kind: Kind,
        durable: Sequence,
        mut send: impl FnMut(Priority, Box<LogRecord>) -> Result<(), Box<LogRecord>>,
    ) {
        let queue = &mut self.queues[kind.index()];
        self.is_blocked[kind.index()] = false;
        while let Some(record) = queue.pop_through(durable) {
            if let Err(record) = send(ring_of(kind), record) {
                queue.put_back(record);
                self.is_blocked[kind.index()] = true;
                return;
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.records.is_empty())
    }

    /// Whether records wait for room and not for the disk.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.contains(&true)
    }

    /// Records that were left out so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// The ring that the records of a log take.
fn ring_of(kind: Kind) -> Priority {
    match kind {
        Kind::Urgent => Priority::P1,
        Kind::Background => Priority::P3,
    }
}

/// Memory of a record.
fn weight(record: &LogRecord) -> usize {
    size_of::<LogRecord>() + record.channel.len() + record.frame.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use interlink_protocol::ids::{InstanceId, Position, RecordId};
    use interlink_relay::backplane::Published;
    use interlink_relay::event_log::LogPosition;
    use interlink_relay::files::LaneReader;
    use interlink_relay::lines::Lines;
    use interlink_relay::record::Placement;

    use super::*;
    use crate::lanes::{mesh, Port};

    /// Records that one read of the test's journal brings.
    const READ: usize = 1_024;

    fn at(sequence: u64) -> LogPosition {
        LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::Urgent,
            sequence: Sequence(sequence),
        }
    }

    fn record(sequence: u64, bytes: usize) -> Box<LogRecord> {
        let classes = [Priority::P0, Priority::P1, Priority::P2];
        Box::new(LogRecord {
            at: at(sequence),
            class: classes[sequence as usize % classes.len()],
            record: RecordId(sequence.into()),
            instance: InstanceId(1),
            client_message_id: sequence,
            payload_hash: 0,
            accepted_at_us: 0,
            channel: "class.algebra".into(),
            placement: None,
            frame: vec![0; bytes].into(),
        })
    }

    fn sequences(leaving: &mut Leaving) -> Vec<u64> {
        let mut sent = Vec::new();
        leaving.send(Kind::Urgent, Sequence(u64::MAX), |_, record| {
            sent.push(record.at.sequence.0);
            Ok(())
        });
        sent
    }

    fn push_to(
        shard: &mut Port<Box<LogRecord>>,
    ) -> impl FnMut(Priority, Box<LogRecord>) -> Result<(), Box<LogRecord>> + '_ {
        |ring, record| shard.sender.push(1, ring, record)
    }

    /// Places what is ready; gives the sequences.
    fn place(lines: &mut Lines) -> Vec<u64> {
        let mut placed = Vec::new();
        while let Some(call) = lines.next_call(0) {
            let answer: Vec<Published> = call.records.iter().map(|it| published(it)).collect();
            placed.extend(call.records.iter().map(|it| it.at.sequence.0));
            lines.placed(call.line, &answer);
        }
        placed
    }

    fn published(record: &LogRecord) -> Published {
        let position = Position {
            epoch: 1,
            offset: record.at.sequence.0,
            chain: 0,
        };
        Published {
            placement: Placement {
                position,
                previous_chain: 0,
            },
            repeated: false,
        }
    }

    #[test]
    fn a_relay_thread_that_stalls_costs_bounded_memory_and_no_record() {
        let records = 3 * LEAVING_RECORDS_MAX as u64;
        let mut ports = mesh::<Box<LogRecord>>(2).expect("lanes");
        let (mut relay, mut shard) = (ports.pop().expect("two"), ports.pop().expect("two"));
        let mut leaving = Leaving::default();
        for sequence in 1..=records {
            leaving.push(record(sequence, 8));
            leaving.send(Kind::Urgent, Sequence(sequence), push_to(&mut shard));
            assert!(leaving.queues[0].records.len() <= LEAVING_RECORDS_MAX);
        }
        assert!(leaving.is_blocked() && leaving.left_out() > 0);

        let mut lines = Lines::new(1, &[at(0)]);
        let (mut taken, mut placed, mut read_from_disk) = (Vec::new(), Vec::new(), 0);
        while placed.len() < records as usize {
            let before = (placed.len(), read_from_disk);
            let took = relay.receiver.take(READ, &mut taken);
            for entry in taken.drain(..) {
                lines.offer(&Arc::from(entry.entry));
            }
            leaving.send(Kind::Urgent, Sequence(records), push_to(&mut shard));
            if let Some((id, read)) = lines.next_read() {
                let durable = read.durable.map_or(0, |at| at.sequence.0);
                let next = read.reader.through().0 + 1;
                let last = durable.min(next + READ as u64 - 1);
                let found: Vec<_> = (next..=last).map(|it| *record(it, 8)).collect();
                read_from_disk += found.len();
                let end = found.last().map_or(read.reader.after(), |record| record.at);
                let reader = LaneReader::new(id.0, id.1, Some(end));
                lines.read(id, Some((reader, found)));
            }
            placed.extend(place(&mut lines));
            let moved = took > 0 || before != (placed.len(), read_from_disk);
            assert!(moved || lines.backlog().1, "nothing moves any more");
        }
        // Each class of a log is a line of its own: among themselves its records keep their order.
        for class in 0..3 {
            let of_class = placed.iter().copied().filter(|it| it % 3 == class);
            let all = (1..=records).filter(|it| it % 3 == class);
            assert!(of_class.eq(all), "in order and each once");
        }
        assert!(read_from_disk >= leaving.left_out() as usize);
        assert!(leaving.is_empty() && !leaving.is_blocked());
    }

    #[test]
    fn the_newest_record_stays_however_large_it_is() {
        let mut leaving = Leaving::default();
        leaving.push(record(1, 8));
        leaving.push(record(2, LEAVING_BYTES_MAX));
        assert_eq!((sequences(&mut leaving), leaving.left_out()), (vec![2], 1));
        leaving.push(record(3, LEAVING_BYTES_MAX / 2));
        leaving.push(record(4, 8));
        assert_eq!(sequences(&mut leaving), [3, 4]);
        assert_eq!(leaving.queues[0].bytes, 0);
    }

    #[test]
    fn nothing_leaves_before_it_is_on_the_disk_and_classes_of_a_log_keep_its_order() {
        let mut ports = mesh::<Box<LogRecord>>(2).expect("lanes");
        let (mut relay, mut shard) = (ports.pop().expect("two"), ports.pop().expect("two"));
        let mut leaving = Leaving::default();
        (1..=60).for_each(|sequence| leaving.push(record(sequence, 8)));
        leaving.send(Kind::Urgent, Sequence(50), push_to(&mut shard));
        let mut taken = Vec::new();
        relay.receiver.take(READ, &mut taken);
        let came = taken.iter().map(|entry| entry.entry.at.sequence.0);
        assert!(came.eq(1..=50));
        assert!(!leaving.is_empty() && !leaving.is_blocked());
    }
}
