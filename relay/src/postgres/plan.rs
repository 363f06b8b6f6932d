//! What a batch of a topic means for the archive. Pure.
//!
//! A repeat is told by the sequence of its source, then by its id; it is counted and changes
//! nothing but positions: a record that was fed again may carry the position that it lacked, and
//! one that the backplane placed anew stands at both places, or history would have a hole.

use std::collections::{BTreeMap, HashMap, HashSet};

use interlink_protocol::ids::{Position, RecordId};

use super::offsets::Sequences;
use crate::archive::{ArchivedEvent, Stored, TopicEntry, TopicRecord};
use crate::record::Placement;

/// What is to be stored.
#[derive(Default, Debug)]
pub(super) struct Plan<'a> {
    /// New events, each with its newest placement.
    pub accepted: Vec<ArchivedEvent<'a>>,
    /// Events at their places.
    pub placed: Vec<(ArchivedEvent<'a>, Placement)>,
    /// New events without a place.
    pub unplaced: Vec<ArchivedEvent<'a>>,
    /// Places of events of earlier batches.
    pub moved: Vec<(RecordId, Placement)>,
    /// The newest position of each channel.
    pub tops: BTreeMap<&'a str, Position>,
    /// Sources that have risen.
    pub sequences: Sequences,
    /// Counts.
    pub counts: Stored,
}

/// Events of a batch that are no repeats by their sequence, as positions in the batch, and the
/// sequences after it.
pub(super) fn fresh(records: &[TopicRecord<'_>], known: &Sequences) -> (HashSet<usize>, Sequences) {
    let mut risen = Sequences::new();
    let mut fresh = HashSet::new();
    for (index, record) in records.iter().enumerate() {
        // A position has the sequence of its event and is not judged by it.
        if !matches!(record.entry, TopicEntry::Event(_)) {
            continue;
        }
        let highest = risen.get(record.source).or(known.get(record.source));
        if highest.is_none_or(|highest| record.sequence > *highest) {
            risen.insert(record.source.clone(), record.sequence);
            fresh.insert(index);
        }
    }
    (fresh, risen)
}

/// Plans a batch; `known` are ids of it that earlier batches have stored.
pub(super) fn plan<'a>(
    records: &[TopicRecord<'a>],
    sequences: &Sequences,
    known: &HashSet<RecordId>,
) -> Plan<'a> {
    let (fresh, risen) = fresh(records, sequences);
    let mut plan = Plan {
        sequences: risen,
        ..Plan::default()
    };
    // Events of this batch, new or not, for positions that follow in it.
    let mut here: HashMap<RecordId, ArchivedEvent<'a>> = HashMap::new();
    let mut newest: HashMap<RecordId, Placement> = HashMap::new();
    let mut order = Vec::new();
    let mut places = HashSet::new();
    for (index, record) in records.iter().enumerate() {
        let (id, placement) = match &record.entry {
            TopicEntry::Event(event) => {
                let is_known = known.contains(&event.record) || here.contains_key(&event.record);
                if !is_known && fresh.contains(&index) {
                    order.push(event.record);
                    plan.counts.events += 1;
                } else {
                    plan.counts.repeats += 1;
                }
                here.entry(event.record).or_insert(*event);
                (event.record, event.placement)
            }
            TopicEntry::Positioned {
                record, placement, ..
            } => (*record, Some(*placement)),
        };
        let Some(placement) = placement else {
            continue;
        };
        if !places.insert((id, placement.position)) {
            continue;
        }
        let known_place = newest.entry(id).or_insert(placement);
        if sorts(placement.position) > sorts(known_place.position) {
            *known_place = placement;
        }
        let channel = channel_of(record);
        let top = plan.tops.entry(channel).or_insert(placement.position);
        if sorts(placement.position) > sorts(*top) {
            *top = placement.position;
        }
        match here.get(&id) {
            Some(event) => plan.placed.push((*event, placement)),
            None => plan.moved.push((id, placement)),
        }
    }
    for id in order {
        let Some(event) = here.get(&id) else {
            continue;
        };
        let placement = newest.get(&id).copied();
        plan.accepted.push(ArchivedEvent {
            placement,
            ..*event
        });
        if placement.is_none() {
            plan.unplaced.push(*event);
        }
    }
    plan
}

fn channel_of<'a>(record: &TopicRecord<'a>) -> &'a str {
    match record.entry {
        TopicEntry::Event(event) => event.channel,
        TopicEntry::Positioned { channel, .. } => channel,
    }
}

fn sorts(position: Position) -> (u64, u64) {
    (position.epoch, position.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Source;
    use interlink_protocol::priority::Priority;

    fn source(node: &str) -> Source {
        Source {
            node: node.into(),
            boot: 1,
            shard: 0,
            class: Priority::P1,
        }
    }

    fn place(epoch: u64, offset: u64) -> Placement {
        Placement {
            position: Position {
                epoch,
                offset,
                chain: offset,
            },
            previous_chain: offset - 1,
        }
    }

    fn event(source: &Source, sequence: u64, id: u128, at: Option<Placement>) -> TopicRecord<'_> {
        TopicRecord {
            source,
            sequence,
            entry: TopicEntry::Event(ArchivedEvent {
                record: RecordId(id),
                class: Priority::P1,
                channel: "class.algebra",
                payload_hash: 1,
                accepted_at_us: 1,
                placement: at,
                frame: b"frame",
            }),
        }
    }

    fn positioned(source: &Source, sequence: u64, id: u128, at: Placement) -> TopicRecord<'_> {
        TopicRecord {
            source,
            sequence,
            entry: TopicEntry::Positioned {
                record: RecordId(id),
                channel: "class.algebra",
                placement: at,
            },
        }
    }

    #[test]
    fn repeats_are_told_by_sequence_and_then_by_id() {
        let (a, b) = (source("a"), source("b"));
        let known = Sequences::from([(a.clone(), 5)]);
        let records = [
            event(&a, 5, 1, None),
            event(&a, 6, 2, None),
            event(&a, 6, 2, None),
            event(&b, 1, 2, None),
            event(&b, 2, 3, None),
        ];
        let plan = plan(&records, &known, &HashSet::from([RecordId(3)]));
        let ids: Vec<_> = plan.accepted.iter().map(|event| event.record.0).collect();
        assert_eq!(ids, [2]);
        assert_eq!((plan.counts.events, plan.counts.repeats), (1, 4));
        assert_eq!(
            plan.sequences,
            Sequences::from([(a.clone(), 6), (b.clone(), 2)])
        );
    }

    #[test]
    fn a_position_places_an_event_of_its_batch_and_moves_others() {
        let a = source("a");
        let records = [
            event(&a, 1, 1, None),
            positioned(&a, 1, 1, place(1, 7)),
            positioned(&a, 0, 9, place(1, 6)),
        ];
        let plan = plan(&records, &Sequences::new(), &HashSet::new());
        assert!(plan.unplaced.is_empty());
        assert_eq!(plan.accepted[0].placement, Some(place(1, 7)));
        assert_eq!(plan.placed.len(), 1);
        assert_eq!(plan.moved, [(RecordId(9), place(1, 6))]);
        assert_eq!(plan.tops["class.algebra"].offset, 7);
    }

    #[test]
    fn a_record_that_was_placed_twice_stands_at_both_places() {
        let a = source("a");
        let records = [
            event(&a, 1, 1, Some(place(1, 7))),
            event(&a, 1, 1, Some(place(1, 7))),
            positioned(&a, 1, 1, place(2, 5)),
        ];
        let plan = plan(&records, &Sequences::new(), &HashSet::new());
        let places: Vec<_> = plan.placed.iter().map(|(_, place)| *place).collect();
        assert_eq!(places, [place(1, 7), place(2, 5)]);
        assert_eq!(plan.accepted[0].placement, Some(place(2, 5)), "the newest");
        assert_eq!(plan.tops["class.algebra"].epoch, 2);
    }

    #[test]
    fn a_repeat_brings_the_position_that_its_first_copy_lacked() {
        let a = source("a");
        let known = Sequences::from([(a.clone(), 5)]);
        let records = [event(&a, 5, 1, Some(place(1, 3)))];
        let plan = plan(&records, &known, &HashSet::from([RecordId(1)]));
        assert!(plan.accepted.is_empty());
        assert_eq!(plan.placed.len(), 1);
    }
}
