//! Random lives of a node with two shards: publishes, marks, hand-overs, kills in the middle of
//! everything, restarts of the system, lost indexes. After each start the positions of
//! every channel are compared with a list that never forgets.
//!
//! `INTERLINK_LIVES` sets the number of lives (8), `INTERLINK_LIVES_SEED` the first seed.

use std::collections::HashMap;
use std::path::Path;

use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::testing::{config, Node};

const NOW_US: u64 = 1_700_000_000_000_000;
const CHANNELS: [(&str, u16, Priority); 4] = [
    ("class.algebra", 0, Priority::P1),
    ("class.biology", 1, Priority::P1),
    ("alert.ada", 1, Priority::P0),
    ("report.x", 0, Priority::P3),
];

/// What was accepted, by channel: ids in the order of their positions, and those that no
/// owner has placed yet.
#[derive(Default)]
struct Reference {
    placed: HashMap<&'static str, Vec<u64>>,
    unplaced: Vec<(&'static str, u64)>,
}

impl Reference {
    fn check(&self, node: &mut Node) {
        for (channel, ids) in &self.placed {
            let mut found = Vec::new();
            let mut after = Position::ZERO;
            loop {
                let page = node.files.history(channel, after, 100).expect("readable");
                assert_eq!(page.gap, None, "{channel} after {after:?}");
                found.extend(page.events.iter().map(|event| event.record.0 as u64));
                after = page.last;
                if !page.more {
                    break;
                }
            }
            assert_eq!(&found, ids, "{channel}");
            assert_eq!(after.offset, ids.len() as u64);
            let top = node.files.top(channel).expect("readable");
            assert_eq!(top, Some(after));
        }
    }

    fn check_recovered(&self, node: &Node) {
        let found = &node.recovered.unmarked;
        let mut unmarked: Vec<_> = found.iter().map(|one| one.client_message_id).collect();
        let mut expected: Vec<_> = self.unplaced.iter().map(|(_, id)| *id).collect();
        unmarked.sort_unstable();
        expected.sort_unstable();
        assert_eq!(unmarked, expected);
        for channel in &node.recovered.channels {
            let ids = &self.placed[&*channel.name];
            assert_eq!(channel.top.offset, ids.len() as u64, "{}", channel.name);
            let events: Vec<_> = channel
                .events
                .iter()
                .map(|one| one.record.0 as u64)
                .collect();
            assert!(ids.ends_with(&events), "{}", channel.name);
        }
    }

    /// Notes what a start places for records without a position, in its order.
    fn place_recovered(&mut self, node: &mut Node) {
        for unmarked in &node.recovered.unmarked {
            let id = unmarked.client_message_id;
            self.unplaced.retain(|(_, known)| *known != id);
            let (name, _, _) = CHANNELS
                .into_iter()
                .find(|(name, _, _)| *name == &*unmarked.channel)
                .expect("a known channel");
            self.placed.entry(name).or_default().push(id);
        }
        node.place_recovered();
    }

    fn step(&mut self, node: &mut Node, random: &mut StdRng) {
        let (channel, owner, class) = CHANNELS[random.random_range(0..CHANNELS.len())];
        match random.random_range(0..20) {
            0..=11 => {
                node.publish(owner, class, channel);
                self.placed.entry(channel).or_default().push(node.next_id);
            }
            12..=15 if class == Priority::P1 => {
                let id = node.publish_unplaced(1 - owner, channel);
                self.unplaced.push((channel, id));
            }
            16..=18 if !self.unplaced.is_empty() => {
                let index = random.random_range(0..self.unplaced.len());
                let (channel, id) = self.unplaced.remove(index);
                let owner = CHANNELS.iter().find(|known| known.0 == channel);
                node.mark(owner.map_or(0, |known| known.1), channel, id);
                self.placed.entry(channel).or_default().push(id);
            }
            _ => {
                node.now_us += random.random_range(0..200_000_000);
                node.drive();
                node.files.tick(node.now_us).expect("a tick");
            }
        }
    }
}

fn remove_some_indexes(directory: &Path, random: &mut StdRng) {
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_some_indexes(&path, random);
        } else if path.extension().is_some_and(|extension| extension == "idx")
            && random.random_bool(0.3)
        {
            std::fs::remove_file(path).expect("removed");
        }
    }
}

fn live(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let mut reference = Reference::default();
    let mut now_us = NOW_US;
    for boot in 0..5 {
        let system = if random.random_bool(0.3) {
            "later"
        } else {
            "first"
        };
        let mut node = Node::start(config(directory.path(), 2, system), now_us);
        reference.check_recovered(&node);
        // Some starts die before they have placed anything.
        let lives = boot == 0 || random.random_bool(0.7);
        if lives {
            reference.place_recovered(&mut node);
            for _ in 0..random.random_range(0..500) {
                reference.step(&mut node, &mut random);
            }
            node.settle();
            reference.check(&mut node);
        }
        now_us = node.now_us + 1;
        // Some hand over to the next one instead of being killed.
        if lives && random.random_bool(0.4) {
            node.files.leave().expect("left");
        } else {
            drop(node);
        }
        if random.random_bool(0.5) {
            remove_some_indexes(directory.path(), &mut random);
        }
    }
}

#[test]
fn nothing_accepted_is_lost_or_moved_over_many_lives() {
    let setting = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let first = setting("INTERLINK_LIVES_SEED", 0);
    for seed in first..first + setting("INTERLINK_LIVES", 8) {
        println!("seed {seed}");
        live(seed);
    }
}
