//! Last values against a plain map, with little memory.

use crate::memory::limits::{CHUNK_BYTES, VALUES_PER_CHANNEL_MAX};
use crate::memory::LastValues;
use interlink_protocol::ids::Position;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(offset: u64) -> Position {
    Position {
        epoch: 1,
        offset,
        chain: 0,
    }
}

fn offsets(values: &LastValues, channel: u32) -> Vec<u64> {
    let mut next = values.first_above(channel, 0);
    let mut offsets = Vec::new();
    while let Some(value) = next {
        offsets.push(values.value(value).0.offset);
        next = values.next(value);
    }
    offsets
}

#[test]
fn a_newer_event_takes_the_place_of_the_last_of_its_key() {
    let mut values = LastValues::new(CHUNK_BYTES).expect("memory");
    values.keep(7, at(1), "ada", b"first");
    values.keep(7, at(2), "bob", b"second");
    values.keep(7, at(3), "ada", b"third, and longer");
    values.keep(8, at(1), "ada", b"of another channel");
    assert_eq!(offsets(&values, 7), [2, 3]);
    let value = values.first_above(7, 2).expect("a value");
    assert_eq!(values.value(value), (at(3), &b"third, and longer"[..]));
    assert_eq!(values.all_kept_above(7), 0);
    values.pass_over(7, 4);
    assert_eq!(values.all_kept_above(7), 4);
    values.forget(7);
    assert_eq!((offsets(&values, 7), values.len()), (vec![], 1));
    assert_eq!(values.all_kept_above(7), u64::MAX);
    values.forget(8);
    assert_eq!(values.held_bytes(), 0);
}

#[test]
fn what_is_not_newer_than_the_newest_is_known_already() {
    let mut values = LastValues::new(CHUNK_BYTES).expect("memory");
    values.keep(1, at(5), "ada", b"five");
    values.keep(1, at(4), "bob", b"four");
    assert_eq!(offsets(&values, 1), [5]);
}

#[test]
fn values_of_another_table_are_taken_over_with_what_it_knows() {
    let mut values = LastValues::new(CHUNK_BYTES).expect("memory");
    let told = [(at(5), "ada", &b"five"[..]), (at(9), "bob", b"nine")];
    values.adopt(1, 2, told.into_iter());
    assert_eq!(
        (offsets(&values, 1), values.all_kept_above(1)),
        (vec![5, 9], 2)
    );
    // What is known better here is not changed by it.
    values.pass_over(1, 10);
    values.adopt(1, 2, told.into_iter());
    assert_eq!(
        (offsets(&values, 1), values.all_kept_above(1)),
        (vec![5, 9], 10)
    );
}

#[test]
fn a_channel_keeps_so_many_values_and_says_from_where_on() {
    let mut values = LastValues::new(64 * CHUNK_BYTES).expect("memory");
    let most = u64::from(VALUES_PER_CHANNEL_MAX);
    for offset in 1..=most + 3 {
        values.keep(1, at(offset), &offset.to_string(), b"value");
    }
    assert_eq!(offsets(&values, 1), (4..=most + 3).collect::<Vec<_>>());
    assert_eq!((values.all_kept_above(1), values.evicted()), (3, 3));
    let first_of = |most| {
        let first = values.first_of_newest(1, most);
        first.map(|first| values.value(first).0.offset)
    };
    assert_eq!((first_of(2), first_of(1)), (Some(most + 2), Some(most + 3)));
    assert_eq!((first_of(2_000), first_of(0)), (Some(4), None));
}

#[test]
fn without_memory_an_event_is_not_kept_and_that_is_known() {
    let mut values = LastValues::new(0).expect("memory");
    values.keep(1, at(1), "ada", b"value");
    assert!(values.is_empty());
    assert_eq!(values.all_kept_above(1), u64::MAX);
    let mut values = LastValues::new(CHUNK_BYTES).expect("memory");
    values.keep(1, at(1), "ada", b"small");
    values.keep(1, at(2), "bob", &vec![0; CHUNK_BYTES]);
    assert_eq!(offsets(&values, 1), [1]);
    assert_eq!(values.all_kept_above(1), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Keep { channel: u32, key: u8, bytes: usize },
    PassOver { channel: u32 },
    Forget { channel: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![8 => 1..300usize, 3 => 300..5_000usize, 1 => 5_000..70_000usize];
    let step = prop_oneof![
        20 => (0..3u32, 0..9u8, bytes)
            .prop_map(|(channel, key, bytes)| Step::Keep { channel, key, bytes }),
        2 => (0..3u32).prop_map(|channel| Step::PassOver { channel }),
        1 => (0..3u32).prop_map(|channel| Step::Forget { channel }),
    ];
    prop::collection::vec(step, 1..150)
}

/// What was published on a channel since it was forgotten.
#[derive(Default)]
struct Oracle {
    top: u64,
    last: BTreeMap<String, (u64, Vec<u8>)>,
    without_key: u64,
}

fn check(values: &LastValues, channel: u32, oracle: &Oracle) {
    let above = values.all_kept_above(channel);
    let listed = offsets(values, channel);
    assert!(listed.is_sorted_by(|before, after| before < after));
    assert_eq!(listed.is_empty(), above == u64::MAX);
    for (offset, bytes) in oracle.last.values() {
        match values.first_above(channel, offset - 1) {
            Some(value) if values.value(value).0.offset == *offset => {
                assert_eq!(values.value(value).1, bytes);
            }
            _ => assert!(*offset <= above, "{offset} is missing above {above}"),
        }
    }
    let newest: Vec<u64> = oracle.last.values().map(|value| value.0).collect();
    assert!(listed.iter().all(|offset| newest.contains(offset)));
    assert!(oracle.without_key <= above);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn values_are_the_newest_of_their_keys_or_known_to_be_missing(steps in steps()) {
        let mut values = LastValues::new(3 * CHUNK_BYTES).expect("memory");
        let mut oracles: [Oracle; 3] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep { channel, key, bytes } => {
                    let oracle = &mut oracles[channel as usize];
                    oracle.top += 1;
                    let (key, frame) = (key.to_string(), vec![number as u8; bytes]);
                    values.keep(channel, at(oracle.top), &key, &frame);
                    oracle.last.insert(key, (oracle.top, frame));
                }
                Step::PassOver { channel } => {
                    let oracle = &mut oracles[channel as usize];
                    oracle.top += 1;
                    oracle.without_key = oracle.top;
                    values.pass_over(channel, oracle.top);
                }
                Step::Forget { channel } => {
                    values.forget(channel);
                    oracles[channel as usize].last.clear();
                    oracles[channel as usize].without_key = 0;
                }
            }
            for channel in 0..3 {
                check(&values, channel, &oracles[channel as usize]);
            }
        }
        (0..3).for_each(|channel| values.forget(channel));
        prop_assert_eq!((values.len(), values.held_bytes()), (0, 0));
    }
}
