//! A log, nodes and a backplane that fails, for passes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use interlink_protocol::ids::RecordId;
use interlink_relay::backplane::{partition_of, NodeName, Published, Sequencer};
use interlink_relay::kafka::consumer::{Batch, Consumed, Lane};
use interlink_relay::kafka::record::Item;
use interlink_relay::record::Placement;

use crate::testing::Fed;
use crate::unleased::pass::{Call, Counts, Pass, Whose};

/// Partitions of the backplane.
pub const PARTITIONS: u16 = 3;
/// When passes are made, microseconds since the Unix epoch.
pub const NOW_US: u64 = 1_700_000_000_000_000;

/// Numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below another.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Whether something happens that happens so often in a hundred.
    pub fn percent(&mut self, often: usize) -> bool {
        self.below(100) < often
    }
}

/// What the servers have.
#[derive(Default)]
pub struct Servers {
    pub places: HashMap<RecordId, Placement>,
    channels: HashMap<String, Sequencer>,
    /// Records in the order in which they were placed.
    pub order: Vec<RecordId>,
}

impl Servers {
    pub fn place(&mut self, channel: &str, record: RecordId) -> Published {
        if let Some(placement) = self.places.get(&record) {
            return Published {
                placement: *placement,
                repeated: true,
            };
        }
        let channel = self.channels.entry(channel.to_owned());
        let placement = channel.or_insert_with(|| Sequencer::new(1)).place(record);
        self.places.insert(record, placement);
        self.order.push(record);
        Published {
            placement,
            repeated: false,
        }
    }
}

/// A log and servers.
#[derive(Default)]
pub struct World {
    pub log: BTreeMap<Lane, Vec<Consumed>>,
    pub servers: Servers,
}

/// Who has a lease.
pub fn names(nodes: &[&str]) -> BTreeSet<NodeName> {
    nodes.iter().map(|node| NodeName::of(node)).collect()
}

/// Events of the own region.
pub fn whose(has_archive: bool) -> Whose {
    Whose {
        region: "eu".into(),
        partitions: PARTITIONS,
        scope: None,
        has_archive,
    }
}

impl World {
    /// Appends an event.
    pub fn feed(&mut self, lane: &Lane, fed: &Fed<'_>) {
        let records = self.log.entry(lane.clone()).or_default();
        records.push(fed.event(records.len() as i64));
    }

    /// Appends a place.
    pub fn tell(&mut self, lane: &Lane, fed: &Fed<'_>) {
        let records = self.log.entry(lane.clone()).or_default();
        records.push(fed.positioned(records.len() as i64));
    }

    /// Where the log says that events stand, which comes last.
    pub fn told(&self) -> HashMap<RecordId, Placement> {
        let mut told = HashMap::new();
        for consumed in self.log.values().flatten() {
            let (record, place) = match consumed.decode() {
                Ok(Item::Event(event)) => (event.record.record, event.record.placement),
                Ok(Item::Positioned(place)) => (place.record, Some(place.placement)),
                Err(_) => continue,
            };
            if let Some(place) = place {
                told.insert(record, place);
            }
        }
        told
    }

    /// Makes a pass over the whole log. `at_step` may do something with it before each step.
    pub fn pass(
        &mut self,
        pass: Pass,
        random: &mut Random,
        mut at_step: impl FnMut(&mut Pass, usize, u64),
    ) -> Counts {
        let mut run = Run {
            pass,
            rest: self.log.clone(),
            calls: Vec::new(),
            told: Vec::new(),
        };
        for step in 0.. {
            assert!(step < 100_000, "the pass does not end");
            at_step(&mut run.pass, step, NOW_US);
            if run.pass.is_over() && run.calls.is_empty() {
                break;
            }
            self.step(&mut run, random);
        }
        for (lane, id, channel, place) in run.told {
            let fed = Fed {
                origin: "eu",
                node: "told",
                channel: &channel,
                id: id.0 as u64,
                accepted_at_us: NOW_US,
                place: Some(place),
            };
            self.tell(&lane, &fed);
        }
        run.pass.counts()
    }

    fn step(&mut self, run: &mut Run, random: &mut Random) {
        match random.below(4) {
            0 => run.read(random),
            1 => run.call(),
            2 if !run.calls.is_empty() => {
                let call = run.calls.swap_remove(random.below(run.calls.len()));
                let has_effect = random.percent(80);
                let is_answered = has_effect && random.percent(80);
                let placed = match has_effect {
                    true => self.carry_out(&run.pass, &call),
                    false => Vec::new(),
                };
                match is_answered {
                    true => run.pass.on_placed(&call, &placed),
                    false => run.pass.on_failed(&call),
                }
            }
            _ => run.tell(random),
        }
    }

    fn carry_out(&mut self, pass: &Pass, call: &Call) -> Vec<Published> {
        let publishes = pass.publishes(call);
        assert!((1..=256).contains(&publishes.len()));
        let partition = partition_of(publishes[0].channel, PARTITIONS);
        let placed = publishes.iter().map(|publish| {
            assert_eq!(partition_of(publish.channel, PARTITIONS), partition);
            self.servers.place(publish.channel, publish.record)
        });
        placed.collect()
    }
}

/// A pass under way.
struct Run {
    pass: Pass,
    /// What was not read.
    rest: BTreeMap<Lane, Vec<Consumed>>,
    calls: Vec<Call>,
    told: Vec<(Lane, RecordId, String, Placement)>,
}

impl Run {
    fn read(&mut self, random: &mut Random) {
        let lanes: Vec<Lane> = self.rest.keys().cloned().collect();
        if lanes.is_empty() || !self.pass.has_room() {
            return;
        }
        let lane = lanes[random.below(lanes.len())].clone();
        let Some(rest) = self.rest.get_mut(&lane) else {
            return;
        };
        if rest.is_empty() {
            self.pass.end(&lane);
            self.rest.remove(&lane);
            return;
        }
        let count = random.below(rest.len().min(7)) + 1;
        let records = rest.drain(..count).collect();
        self.pass.take(Batch { lane, records });
    }

    fn call(&mut self) {
        if let Some(call) = self.pass.next_call(NOW_US) {
            let key = |call: &Call| (call.lane().clone(), call.partition());
            assert!(
                self.calls.iter().all(|open| key(open) != key(&call)),
                "one call of each partition of both is under way"
            );
            self.calls.push(call);
        }
    }

    fn tell(&mut self, random: &mut Random) {
        let takes = random.percent(90);
        self.pass.tell(|lane, told| {
            for one in told.iter().filter(|_| takes) {
                let Ok(Item::Event(event)) = one.record.decode() else {
                    panic!("no event");
                };
                let record = event.record;
                let channel = record.channel.to_string();
                self.told
                    .push((lane.clone(), record.record, channel, one.placement));
            }
            takes
        });
    }
}
