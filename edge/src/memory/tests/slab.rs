//! Slabs: against an ordinary map, and the life of records.

use crate::memory::limits::SLAB_SLOTS_MAX;
use crate::memory::Slab;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;

#[test]
fn a_full_slab_answers_none_and_takes_again_after_a_removal() {
    let mut slab = Slab::new(2).expect("slab");
    assert_eq!((slab.insert('a'), slab.insert('b')), (Some(0), Some(1)));
    assert!(slab.is_full());
    assert_eq!(slab.insert('c'), None);
    assert_eq!(slab.remove(0), 'a');
    assert_eq!(slab.insert('d'), Some(0));
    assert_eq!(slab[0], 'd');
}

#[test]
fn the_slot_freed_last_is_used_first() {
    let mut slab = Slab::new(8).expect("slab");
    for value in 0..4u64 {
        slab.insert(value);
    }
    slab.remove(1);
    slab.remove(3);
    assert_eq!(
        (slab.insert(10), slab.insert(11), slab.insert(12)),
        (Some(3), Some(1), Some(4))
    );
}

#[test]
#[should_panic(expected = "slot 0 is free")]
fn a_removed_slot_cannot_be_removed_again() {
    let mut slab = Slab::new(1).expect("slab");
    slab.insert(1u8);
    slab.remove(0);
    slab.remove(0);
}

#[test]
#[should_panic(expected = "slot 3 is free")]
fn a_slot_never_used_cannot_be_indexed() {
    let slab = Slab::<u64>::new(64).expect("slab");
    let _ = slab[3];
}

#[test]
fn records_are_dropped_once_by_removal_or_with_the_slab() {
    let witness = Rc::new(());
    let mut slab = Slab::new(200).expect("slab");
    for _ in 0..150 {
        slab.insert(Rc::clone(&witness));
    }
    for index in 0..20 {
        slab.remove(index * 3);
    }
    assert_eq!(Rc::strong_count(&witness), 131);
    drop(slab);
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn a_capacity_beyond_the_index_type_is_refused() {
    assert!(Slab::<u32>::new(SLAB_SLOTS_MAX + 1).is_err());
    assert!(Slab::<u32>::new(SLAB_SLOTS_MAX).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64),
    Remove(usize),
    Change(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u64>().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(at, value)| Step::Change(at, value)),
    ]
}

proptest! {
    #[test]
    fn a_slab_behaves_as_a_map(steps in prop::collection::vec(step(), 1..400)) {
        const CAPACITY: usize = 90;
        let mut slab = Slab::new(CAPACITY).expect("slab");
        let mut oracle = BTreeMap::new();
        for step in steps {
            let live: Vec<u32> = oracle.keys().copied().collect();
            match step {
                Step::Insert(value) => match slab.insert(value) {
                    Some(index) => prop_assert_eq!(oracle.insert(index, value), None),
                    None => prop_assert_eq!(oracle.len(), CAPACITY),
                },
                Step::Remove(at) if !live.is_empty() => {
                    let index = live[at % live.len()];
                    prop_assert_eq!(Some(slab.remove(index)), oracle.remove(&index));
                }
                Step::Change(at, value) if !live.is_empty() => {
                    let index = live[at % live.len()];
                    slab[index] = value;
                    oracle.insert(index, value);
                }
                Step::Remove(_) | Step::Change(..) => {}
            }
            prop_assert_eq!(slab.len(), oracle.len());
            let seen: Vec<_> = slab.iter().map(|(index, value)| (index, *value)).collect();
            let wanted: Vec<_> = oracle.iter().map(|(index, value)| (*index, *value)).collect();
            prop_assert_eq!(seen, wanted);
            for index in 0..CAPACITY as u32 + 2 {
                prop_assert_eq!(slab.get(index), oracle.get(&index));
            }
        }
    }
}
