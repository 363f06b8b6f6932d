//! Three nodes of a cluster over a network that loses, delays and reorders, with deaths, a
//! backplane that goes away or forgets, and users who move: against what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{
    ClusterView, LeaseTable, PresenceAction, PresenceRules, PresenceTable, Present, Round,
};
use crate::backplane::{
    Backplane, BackplaneAnswer, BackplaneEvent, BackplaneRequest, NodeId, OneNodeBackplane,
};
use crate::limits::{LEASE_MS, LEASE_RENEW_MS, PRESENCE_LINGER_MS};

const SCOPE: &str = "class.m1";
const GRACE_MS: u64 = 15_000;
/// Shorter than what a new node needs until all others know it, so that nobody dies then.
const SHORT_GRACE_MS: u64 = 2_000;
const INTERVAL_MS: u64 = 500;
const TICK_MS: u64 = 20;
const NODES: usize = 3;
const USERS: usize = 6;

/// Until everybody who left has been told: a death is known after a lease and a renewal, then come
/// the grace and the interval; what is in doubt is asked once more.
const QUIET_MS: u64 = 2 * LEASE_MS + 2 * LEASE_RENEW_MS + GRACE_MS + 10 * INTERVAL_MS;

fn user(number: usize) -> Arc<str> {
    format!("user{number}").into()
}

/// One life of a node.
struct Node {
    id: NodeId,
    table: PresenceTable,
    leases: LeaseTable,
    view: ClusterView,
    round: Option<Round>,
    is_watched: bool,
    /// Whom the watcher believes present, and since when; none before it has read the pages.
    believed: Option<BTreeMap<Arc<str>, u64>>,
    rereads: bool,
    /// Nobody may be told to have left before; none while the backplane is away.
    quiet_until_ms: Option<u64>,
    /// Since when that is so: a change may have been gathered before.
    quiet_ms: u64,
    is_reachable: bool,
}

impl Node {
    fn new(id: NodeId, grace_ms: u64) -> Self {
        Self {
            id,
            table: PresenceTable::new(PresenceRules {
                sources: 1,
                is_clustered: true,
                grace_ms,
                interval_ms: INTERVAL_MS,
                bytes_max: usize::MAX,
            }),
            leases: LeaseTable::new(id),
            view: ClusterView::new(id),
            round: None,
            is_watched: false,
            believed: None,
            rereads: false,
            quiet_until_ms: None,
            quiet_ms: 0,
            is_reachable: false,
        }
    }

    /// All pages, read two at a time: users and devices.
    fn read(&self) -> BTreeMap<Arc<str>, u32> {
        let round = self.round.expect("a watched scope is kept");
        let (mut all, mut after) = (BTreeMap::new(), None::<Arc<str>>);
        loop {
            let page = self.table.page(round, after.as_deref(), 2).expect("ready");
            for member in page.members {
                let again = all.insert(member.user, member.devices);
                assert_eq!(again, None, "a user is listed once");
            }
            after = page.next;
            if after.is_none() {
                assert_eq!(page.count as usize, all.len());
                return all;
            }
        }
    }

    fn believe(&mut self, joined: &[Present], left: &[Present], now_ms: u64) {
        match &mut self.believed {
            Some(believed) if !joined.is_empty() || !left.is_empty() => {
                believed.retain(|user, _| left.iter().all(|gone| gone.user != *user));
                for here in joined {
                    believed.entry(Arc::clone(&here.user)).or_insert(now_ms);
                }
            }
            _ => self.rereads = true,
        }
    }
}

struct Travelling {
    at_ms: u64,
    from: NodeId,
    to: NodeId,
    message: Vec<u8>,
}

struct World {
    random: StdRng,
    grace_ms: u64,
    now_ms: u64,
    nodes: [Option<Node>; NODES],
    /// What is true: devices by node and user, and since when a user has been present somewhere
    /// without a break.
    devices: [[u32; USERS]; NODES],
    since_ms: [Option<u64>; USERS],
    redis: OneNodeBackplane,
    is_away: bool,
    loss_percent: u32,
    travelling: Vec<Travelling>,
    lives: u64,
    sent: usize,
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Devices(usize, usize, u32),
    Move(usize, usize, usize),
    Watch(usize, bool),
    Wait(u64),
    Kill(usize),
    Away(bool),
    Forget,
    Loss(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    let times = prop_oneof![
        4 => 0..1_000_u64,
        2 => 1_000..6_000_u64,
        1 => Just(GRACE_MS),
        1 => 15_000..40_000_u64,
        1 => Just(PRESENCE_LINGER_MS)
    ];
    prop_oneof![
        8 => (node(), 0..USERS, 0..3_u32).prop_map(|(n, u, d)| Step::Devices(n, u, d)),
        6 => (node(), node(), 0..USERS).prop_map(|(a, b, u)| Step::Move(a, b, u)),
        4 => (node(), prop::bool::weighted(0.8)).prop_map(|(n, on)| Step::Watch(n, on)),
        10 => times.prop_map(Step::Wait),
        1 => node().prop_map(Step::Kill),
        2 => any::<bool>().prop_map(Step::Away),
        1 => Just(Step::Forget),
        // With more a node may not be heard for a whole lease, and counts as dead.
        2 => prop_oneof![Just(0), 1..25_u32].prop_map(Step::Loss),
    ]
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            grace_ms: [GRACE_MS, SHORT_GRACE_MS][(seed % 2) as usize],
            now_ms: 0,
            nodes: [None, None, None],
            devices: [[0; USERS]; NODES],
            since_ms: [None; USERS],
            redis: OneNodeBackplane::new(1),
            is_away: false,
            loss_percent: 0,
            travelling: Vec::new(),
            lives: 0,
            sent: 0,
        };
        (0..NODES).for_each(|node| world.start(node));
        world
    }

    fn start(&mut self, node: usize) {
        self.lives += 1;
        // Numbers of processes are in no order.
        let id = NodeId(self.random.random_range(0..1 << 40) << 20 | self.lives);
        self.nodes[node] = Some(Node::new(id, self.grace_ms));
    }

    fn set_devices(&mut self, node: usize, number: usize, devices: u32) {
        self.devices[node][number] = devices;
        if let Some(node) = &mut self.nodes[node] {
            if let Some(round) = node.round {
                let user = user(number);
                node.table.tell(round, 0, &user, devices, self.now_ms);
            }
        }
        self.note_truth();
    }

    fn note_truth(&mut self) {
        for number in 0..USERS {
            let is_present = self.devices.iter().any(|devices| devices[number] > 0);
            let since = &mut self.since_ms[number];
            *since = is_present.then(|| since.unwrap_or(self.now_ms));
        }
    }

    fn truth(&self) -> BTreeMap<Arc<str>, u32> {
        let devices = |number: usize| self.devices.iter().map(|node| node[number]).sum::<u32>();
        let users = (0..USERS).map(|number| (user(number), devices(number)));
        users.filter(|entry| entry.1 > 0).collect()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Devices(node, number, devices) => self.set_devices(node, number, devices),
            Step::Move(from, to, number) => {
                // The new device is there before the old one goes.
                let devices = self.devices[to][number];
                self.set_devices(to, number, devices.max(1));
                if from != to {
                    self.pass(self.now_ms + TICK_MS);
                    self.set_devices(from, number, 0);
                }
            }
            Step::Watch(node, wants) => self.watch(node, wants),
            Step::Wait(wait_ms) => self.pass(self.now_ms + wait_ms),
            Step::Kill(_) if self.grace_ms == SHORT_GRACE_MS => {}
            Step::Kill(node) => {
                self.devices[node] = [0; USERS];
                self.note_truth();
                self.start(node);
            }
            Step::Away(is_away) => {
                self.is_away = is_away;
                // What is shorter is told by the changes that are gathered already.
                self.pass(self.now_ms + 2 * INTERVAL_MS);
            }
            Step::Forget => {
                self.redis = OneNodeBackplane::new(2);
            }
            Step::Loss(percent) => self.loss_percent = percent,
        }
    }

    fn watch(&mut self, node: usize, wants: bool) {
        let now_ms = self.now_ms;
        let Some(node) = &mut self.nodes[node] else {
            return;
        };
        node.is_watched = wants;
        if wants {
            node.table.watch(SCOPE, 1, now_ms).expect("room");
        } else {
            node.believed = None;
            node.table.unwatch(SCOPE, 1, now_ms);
        }
    }

    fn pass(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            self.now_ms += TICK_MS;
            self.deliver();
            for at in 0..NODES {
                let Some(mut node) = self.nodes[at].take() else {
                    continue;
                };
                self.renew(&mut node);
                self.turn(at, &mut node);
                self.nodes[at] = Some(node);
            }
        }
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        let due = |one: &mut Travelling| one.at_ms <= now_ms;
        for one in self.travelling.extract_if(.., due) {
            let nodes = self.nodes.iter_mut().flatten();
            if let Some(node) = nodes.into_iter().find(|node| node.id == one.to) {
                node.table.on_message(one.from, &one.message, now_ms);
            }
        }
    }

    /// The relay thread's part: the lease, and what follows from it.
    fn renew(&mut self, node: &mut Node) {
        let now_ms = self.now_ms;
        if node.is_reachable == self.is_away && self.random.random_bool(0.1) {
            node.is_reachable = !self.is_away;
            node.leases.on_reachable(node.is_reachable, now_ms);
        }
        if node
            .leases
            .next_due_ms()
            .is_some_and(|at_ms| at_ms <= now_ms)
        {
            node.leases.asked(now_ms);
            match self.lease(node.id) {
                Some(BackplaneAnswer::Leased(leases)) => node.leases.on_leased(&leases, now_ms),
                _ => node.leases.on_failed(now_ms),
            }
        }
        let view = node.leases.view().clone();
        if view != node.view {
            if view.returns != node.view.returns {
                (node.quiet_until_ms, node.quiet_ms) = (Some(now_ms + LEASE_MS), now_ms);
            }
            if !view.is_connected {
                (node.quiet_until_ms, node.quiet_ms) = (None, now_ms);
            }
            node.table.set_cluster(&view, now_ms);
            node.view = view;
        }
    }

    fn lease(&mut self, node: NodeId) -> Option<BackplaneAnswer> {
        if self.is_away {
            return None;
        }
        let life_ms = LEASE_MS;
        let request = BackplaneRequest::Lease { node, life_ms };
        self.redis
            .submit(request, self.now_ms * 1_000)
            .expect("room");
        loop {
            match self.redis.complete()? {
                BackplaneEvent::Answer(_, answer) => return answer.ok(),
                _ => continue,
            }
        }
    }

    fn turn(&mut self, at: usize, node: &mut Node) {
        let now_ms = self.now_ms;
        node.table.free_some(2);
        node.table.sweep_some(now_ms, 2);
        while node
            .table
            .next_due_ms()
            .is_some_and(|due_ms| due_ms <= now_ms)
        {
            node.table.advance(now_ms, 3);
        }
        while let Some(action) = node.table.next_action() {
            self.act(at, node, action);
        }
        while let Some((to, message)) = node.table.next_message(now_ms) {
            self.sent += 1;
            let is_lost = self.is_away || self.random.random_range(0..100) < self.loss_percent;
            let most = if self.random.random_bool(0.05) {
                600
            } else {
                60
            };
            let travelling = Travelling {
                at_ms: now_ms + self.random.random_range(0..most),
                from: node.id,
                to,
                message,
            };
            self.travelling.extend((!is_lost).then_some(travelling));
        }
        if std::mem::take(&mut node.rereads) && node.is_watched {
            let before = node.believed.take().unwrap_or_default();
            let since = |user: Arc<str>| {
                let since_ms = before.get(&user).copied();
                (user, since_ms.unwrap_or(now_ms))
            };
            let read = node.read();
            node.believed = Some(read.into_keys().map(since).collect());
        }
    }

    fn act(&mut self, at: usize, node: &mut Node, action: PresenceAction) {
        match action {
            PresenceAction::Tell { round, .. } => {
                node.round = Some(round);
                for number in 0..USERS {
                    let devices = self.devices[at][number];
                    let user = user(number);
                    node.table.tell(round, 0, &user, devices, self.now_ms);
                }
                node.table.complete(round, 0);
            }
            PresenceAction::Rest { round, .. } => {
                assert_eq!(node.round.take(), Some(round));
                assert!(!node.is_watched);
            }
            PresenceAction::Ready { .. } => {}
            PresenceAction::Change { joined, left, .. } => {
                self.check_left(node, &left);
                node.believe(&joined, &left, self.now_ms);
            }
            PresenceAction::Dropped { .. } => panic!("there is room"),
        }
    }

    fn check_left(&self, node: &Node, left: &[Present]) {
        if left.is_empty() {
            return;
        }
        let is_late = node
            .quiet_until_ms
            .is_some_and(|until_ms| self.now_ms >= until_ms);
        let is_early = self.now_ms <= node.quiet_ms + INTERVAL_MS;
        assert!(
            is_late || is_early,
            "told while the backplane was away or just back"
        );
        for gone in left {
            let believed = node.believed.as_ref();
            let believed_ms = believed.and_then(|believed| believed.get(&gone.user));
            let number: usize = gone.user["user".len()..].parse().expect("a number");
            if let (Some(since_ms), Some(believed_ms)) = (self.since_ms[number], believed_ms) {
                assert!(
                    since_ms > *believed_ms,
                    "{} was there since {since_ms}, {} ms",
                    gone.user,
                    self.now_ms
                );
            }
        }
    }

    /// Whether everybody who asks sees who is there, once nothing has happened for a while.
    fn check_quiet(&mut self) {
        (self.is_away, self.loss_percent) = (false, 0);
        self.pass(self.now_ms + QUIET_MS);
        let truth = self.truth();
        for node in self.nodes.iter().flatten().filter(|node| node.is_watched) {
            assert_eq!(node.read(), truth);
            let believed = node.believed.as_ref().expect("it was told");
            let names: BTreeSet<_> = believed.keys().collect();
            assert_eq!(names, truth.keys().collect());
        }
    }

    /// Whether nothing is kept or sent when nobody asks.
    fn check_forgotten(&mut self) {
        (0..NODES).for_each(|node| self.watch(node, false));
        self.pass(self.now_ms + PRESENCE_LINGER_MS + 2 * LEASE_MS);
        let sent = self.sent;
        self.pass(self.now_ms + 2 * LEASE_MS);
        assert_eq!(self.sent, sent);
        for node in self.nodes.iter().flatten() {
            let table = &node.table;
            assert_eq!((table.scopes(), table.members(), table.bytes()), (0, 0, 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_node_sees_who_is_present_on_all(
        seed: u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(seed);
        world.pass(1_000);
        for step in steps {
            world.take(step);
        }
        world.check_quiet();
        world.check_forgotten();
    }
}
