//! Two tables of one cluster, with a messenger that a test directs: single behaviours.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ClusterView, PresenceAction, PresenceRules, PresenceTable, Round};
use crate::backplane::NodeId;
use crate::limits::{
    LEASE_MS, LEASE_RENEW_MS, PRESENCE_ASK_AGAIN_MS, PRESENCE_GATHER_MS, PRESENCE_LINGER_MS,
    PRESENCE_REPEAT_MS, PRESENCE_WAIT_MS,
};

const SCOPE: &str = "class.m1";
const GRACE_MS: u64 = 2_000;
const INTERVAL_MS: u64 = 500;
/// Tests begin when leaves are not held any more.
const START_MS: u64 = 2 * LEASE_MS;
const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

struct Side {
    table: PresenceTable,
    id: NodeId,
    round: Option<Round>,
    /// Devices of users on this node.
    devices: BTreeMap<Arc<str>, u32>,
    /// What there was to do, but asking the own sources.
    actions: Vec<PresenceAction>,
}

impl Side {
    fn new(id: NodeId, other: NodeId, bytes_max: usize) -> Self {
        let mut table = PresenceTable::new(PresenceRules {
            sources: 1,
            is_clustered: true,
            grace_ms: GRACE_MS,
            interval_ms: INTERVAL_MS,
            bytes_max,
        });
        let view = ClusterView {
            nodes: Arc::new([other]),
            is_connected: true,
            ..ClusterView::new(id)
        };
        table.set_cluster(&view, 0);
        Self {
            table,
            id,
            round: None,
            devices: BTreeMap::new(),
            actions: Vec::new(),
        }
    }

    fn turn(&mut self, now_ms: u64) {
        self.table.free_some(usize::MAX);
        self.table.sweep_some(now_ms, usize::MAX);
        while self
            .table
            .next_due_ms()
            .is_some_and(|at_ms| at_ms <= now_ms)
        {
            self.table.advance(now_ms, 1);
        }
        while let Some(action) = self.table.next_action() {
            match action {
                PresenceAction::Tell { round, .. } => {
                    self.round = Some(round);
                    for (user, devices) in &self.devices {
                        self.table.tell(round, 0, user, *devices, now_ms);
                    }
                    self.table.complete(round, 0);
                }
                other => self.actions.push(other),
            }
        }
    }

    fn tell(&mut self, user: &str, devices: u32, now_ms: u64) {
        let (round, user) = (self.round.expect("somebody asks"), user.into());
        self.table.tell(round, 0, &user, devices, now_ms);
        self.devices.insert(user, devices);
    }

    fn users(&self) -> Vec<(String, u32)> {
        let round = self.round.expect("somebody asks");
        let page = self.table.page(round, None, 100).expect("ready");
        let members = page.members.into_iter();
        members
            .map(|member| (member.user.to_string(), member.devices))
            .collect()
    }

    fn left(&mut self) -> Vec<String> {
        let actions = std::mem::take(&mut self.actions).into_iter();
        let left = actions.filter_map(|action| match action {
            PresenceAction::Change { left, .. } => Some(left),
            _ => None,
        });
        left.flatten().map(|gone| gone.user.to_string()).collect()
    }
}

struct Pair {
    here: Side,
    there: Side,
    now_ms: u64,
    /// Messages that pass in each direction; later ones are lost.
    passes: usize,
}

impl Pair {
    fn with_room(bytes_max: usize) -> Self {
        Self {
            here: Side::new(HERE, THERE, usize::MAX),
            there: Side::new(THERE, HERE, bytes_max),
            now_ms: START_MS,
            passes: usize::MAX,
        }
    }

    /// Here somebody watches, and there is nobody yet.
    fn watched() -> Self {
        let mut pair = Self::with_room(usize::MAX);
        pair.here.table.watch(SCOPE, 0, START_MS).expect("room");
        pair.pass(1);
        pair.here.actions.clear();
        pair
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms += 1;
            let sides = [&mut self.here, &mut self.there];
            sides.into_iter().for_each(|side| side.turn(self.now_ms));
            while self.carry() {
                let sides = [&mut self.here, &mut self.there];
                sides.into_iter().for_each(|side| side.turn(self.now_ms));
            }
        }
    }

    fn carry(&mut self) -> bool {
        let mut any = carry(&mut self.here, &mut self.there, self.passes, self.now_ms);
        any |= carry(&mut self.there, &mut self.here, self.passes, self.now_ms);
        any
    }

    fn sent(&self) -> u64 {
        let sides = [&self.here, &self.there];
        sides
            .iter()
            .map(|side| side.table.cluster_counts().sent)
            .sum()
    }
}

/// Carries what one has for the other; says whether there was anything.
fn carry(from: &mut Side, to: &mut Side, passes: usize, now_ms: u64) -> bool {
    let mut carried = 0;
    while let Some((node, message)) = from.table.next_message(now_ms) {
        assert_eq!(node, to.id);
        if carried < passes {
            to.table.on_message(from.id, &message, now_ms);
        }
        carried += 1;
    }
    carried > 0
}

fn listed(users: &[(&str, u32)]) -> Vec<(String, u32)> {
    let users = users.iter();
    users
        .map(|(user, devices)| ((*user).to_owned(), *devices))
        .collect()
}

#[test]
fn other_nodes_count_what_somebody_wants_and_nothing_else() {
    let mut pair = Pair::with_room(usize::MAX);
    pair.pass(LEASE_MS);
    assert_eq!((pair.sent(), pair.there.table.scopes()), (0, 0));
    pair.here.table.watch(SCOPE, 0, pair.now_ms).expect("room");
    pair.pass(1);
    pair.there.tell("bob", 2, pair.now_ms);
    pair.pass(PRESENCE_GATHER_MS + 1);
    assert_eq!(pair.here.users(), listed(&[("bob", 2)]));
    assert!(pair.there.actions.is_empty(), "there nobody wants to know");
    pair.here.table.unwatch(SCOPE, 0, pair.now_ms);
    pair.pass(PRESENCE_LINGER_MS + 1);
    for side in [&mut pair.here, &mut pair.there] {
        side.turn(pair.now_ms);
        assert_eq!((side.table.scopes(), side.table.bytes()), (0, 0));
    }
    let sent = pair.sent();
    pair.pass(2 * LEASE_MS);
    assert_eq!(pair.sent(), sent);
}

#[test]
fn pages_wait_for_other_nodes_and_not_for_ever() {
    let mut pair = Pair::with_room(usize::MAX);
    let (round, ready) = pair.here.table.look(SCOPE, START_MS).expect("room");
    assert!(!ready);
    pair.here.turn(START_MS);
    assert_eq!(pair.here.actions, [], "the other node has not answered");
    pair.pass(1);
    assert_eq!(pair.here.actions, [PresenceAction::Ready { round }]);
    let mut pair = Pair::with_room(usize::MAX);
    pair.passes = 0;
    let (round, _) = pair.here.table.look(SCOPE, START_MS).expect("room");
    pair.pass(PRESENCE_WAIT_MS - 1);
    assert_eq!(pair.here.actions, []);
    pair.pass(1);
    assert_eq!(pair.here.actions, [PresenceAction::Ready { round }]);
}

#[test]
fn a_channel_for_which_another_node_has_no_room_is_dropped() {
    let mut pair = Pair::with_room(4_000);
    pair.here.table.watch(SCOPE, 0, START_MS).expect("room");
    pair.pass(1);
    for number in 0..20 {
        pair.there.tell(&format!("user{number}"), 1, pair.now_ms);
    }
    pair.pass(1);
    let dropped = pair.here.actions.last();
    assert!(
        matches!(dropped, Some(PresenceAction::Dropped { watchers: 1, .. })),
        "{dropped:?}"
    );
    pair.pass(1);
    assert_eq!((pair.there.table.bytes(), pair.here.table.bytes()), (0, 0));
}

#[test]
fn users_of_other_nodes_count_against_the_room() {
    let mut pair = Pair::with_room(4_000);
    pair.there.table.watch(SCOPE, 0, START_MS).expect("room");
    pair.pass(1);
    for number in 0..20 {
        pair.here.tell(&format!("user{number}"), 1, pair.now_ms);
    }
    pair.pass(PRESENCE_GATHER_MS + 1);
    let dropped = pair.there.actions.last();
    assert!(matches!(dropped, Some(PresenceAction::Dropped { .. })));
    assert!(pair.there.table.bytes() <= 4_000);
}

#[test]
fn what_is_lost_is_asked_again_with_the_next_message_or_renewal() {
    let mut pair = Pair::watched();
    let lose = |pair: &mut Pair, user: &str| {
        pair.passes = 0;
        pair.there.tell(user, 1, pair.now_ms);
        pair.pass(PRESENCE_GATHER_MS + 1);
        pair.passes = usize::MAX;
    };
    lose(&mut pair, "bob");
    assert_eq!(pair.here.users(), []);
    pair.there.tell("eve", 1, pair.now_ms);
    pair.pass(PRESENCE_GATHER_MS + PRESENCE_ASK_AGAIN_MS + 1);
    assert_eq!(pair.here.users(), listed(&[("bob", 1), ("eve", 1)]));
    assert_eq!(pair.here.table.cluster_counts().gaps, 1);
    lose(&mut pair, "kim");
    pair.pass(LEASE_RENEW_MS);
    assert_eq!(pair.here.users().len(), 3);
}

#[test]
fn a_leave_waits_for_a_node_that_lives_until_it_answers_or_is_silent_for_a_lease() {
    let mut pair = Pair::watched();
    pair.here.tell("bob", 1, pair.now_ms);
    pair.pass(1);
    // The user changes nodes, and nothing of that arrives.
    pair.passes = 0;
    pair.there.tell("bob", 1, pair.now_ms);
    pair.here.tell("bob", 0, pair.now_ms);
    pair.pass(LEASE_RENEW_MS + GRACE_MS);
    assert_eq!(pair.here.left(), [] as [String; 0]);
    assert!(pair.here.table.cluster_counts().postponed > 0);
    pair.passes = usize::MAX;
    pair.pass(LEASE_RENEW_MS);
    assert_eq!(pair.here.users(), listed(&[("bob", 1)]));
    // Now nothing comes for a whole lease: what the node had counts no more.
    pair.passes = 0;
    pair.pass(LEASE_MS + LEASE_RENEW_MS + GRACE_MS + INTERVAL_MS);
    assert_eq!(pair.here.left(), ["bob"]);
    assert_eq!(pair.here.table.cluster_counts().silences, 1);
    pair.passes = usize::MAX;
    pair.pass(LEASE_RENEW_MS);
    assert_eq!(pair.here.users(), listed(&[("bob", 1)]), "it speaks again");
}

#[test]
fn what_a_node_said_before_it_died_comes_too_late() {
    let mut pair = Pair::watched();
    pair.there.tell("bob", 1, pair.now_ms);
    let later_ms = pair.now_ms + PRESENCE_GATHER_MS;
    pair.there.turn(later_ms);
    let (_, late) = pair.there.table.next_message(later_ms).expect("a part");
    let next = NodeId(3);
    let view = ClusterView {
        nodes: Arc::new([next]),
        is_connected: true,
        ..ClusterView::new(HERE)
    };
    pair.here.table.set_cluster(&view, later_ms);
    pair.here.turn(later_ms);
    pair.here.table.on_message(THERE, &late, later_ms);
    assert_eq!(pair.here.users(), []);
    let asked = pair.here.table.next_message(later_ms).expect("an ask");
    assert_eq!(asked.0, next, "a new node is asked at once");
}

#[test]
fn a_page_has_everybody_of_other_nodes_however_many_messages_that_takes() {
    let mut pair = Pair::with_room(usize::MAX);
    pair.there.table.watch(SCOPE, 0, START_MS).expect("room");
    pair.pass(1);
    for number in 0..100 {
        pair.there.tell(&format!("user{number}"), 1, pair.now_ms);
    }
    let (round, _) = pair.here.table.look(SCOPE, pair.now_ms).expect("room");
    pair.here.turn(pair.now_ms);
    loop {
        assert_eq!(pair.here.actions, []);
        // One message of each at a time.
        let asked = pair.here.table.next_message(pair.now_ms);
        if let Some((_, message)) = asked {
            pair.there.table.on_message(HERE, &message, pair.now_ms);
        }
        let told = pair.there.table.next_message(pair.now_ms);
        let Some((_, message)) = told else { break };
        pair.here.table.on_message(THERE, &message, pair.now_ms);
        if pair.here.table.has_actions() {
            break;
        }
    }
    pair.here.turn(pair.now_ms);
    assert_eq!(pair.here.actions, [PresenceAction::Ready { round }]);
    assert_eq!(pair.here.users().len(), 100);
}

#[test]
fn who_was_on_another_node_for_a_moment_has_the_grace_again() {
    let mut pair = Pair::watched();
    pair.here.tell("bob", 1, pair.now_ms);
    pair.pass(INTERVAL_MS);
    pair.here.tell("bob", 0, pair.now_ms);
    pair.pass(GRACE_MS - 2 * PRESENCE_GATHER_MS);
    pair.there.tell("bob", 1, pair.now_ms);
    pair.there.tell("bob", 0, pair.now_ms);
    pair.pass(GRACE_MS + PRESENCE_GATHER_MS - 1);
    assert_eq!(pair.here.users(), listed(&[("bob", 0)]));
    pair.pass(PRESENCE_ASK_AGAIN_MS + 2);
    assert_eq!(pair.here.users(), []);
}

#[test]
fn after_a_return_of_the_backplane_nobody_leaves_on_what_was_said_before() {
    let mut pair = Pair::watched();
    pair.here.tell("bob", 1, pair.now_ms);
    pair.pass(INTERVAL_MS + 1);
    // The other node is asked just after the user has gone, and says that nobody is there.
    pair.pass(LEASE_RENEW_MS - INTERVAL_MS - 2);
    pair.here.tell("bob", 0, pair.now_ms);
    pair.here.actions.clear();
    pair.pass(PRESENCE_ASK_AGAIN_MS);
    // The backplane returns, and the user comes to the other node, which is not heard.
    let view = ClusterView {
        nodes: Arc::new([THERE]),
        is_connected: true,
        returns: 1,
        ..ClusterView::new(HERE)
    };
    pair.passes = 0;
    pair.here.table.set_cluster(&view, pair.now_ms);
    pair.there.tell("bob", 1, pair.now_ms);
    pair.pass(LEASE_MS - 1);
    assert_eq!(pair.here.left(), [] as [String; 0]);
    assert_eq!(
        pair.here.table.cluster_counts().postponed,
        0,
        "leaves are held"
    );
    pair.pass(2);
    assert_eq!(pair.here.users(), listed(&[("bob", 0)]));
    assert_eq!(pair.here.table.cluster_counts().postponed, 1);
    pair.passes = usize::MAX;
    pair.pass(PRESENCE_REPEAT_MS);
    assert_eq!(pair.here.users(), listed(&[("bob", 1)]));
}
