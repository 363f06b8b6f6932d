//! The table: single behaviours, and plain maps as oracle under random joins, leaves, graces,
//! watchers and losses of sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlink_protocol::limits::PRESENCE_PAGE_MEMBERS;
use proptest::prelude::*;

use super::{NoRoom, PresenceAction, PresenceRules, PresenceTable, Present, Round};
use crate::limits::{PRESENCE_LINGER_MS, PRESENCE_NAMED_MAX};

const GRACE_MS: u64 = 15_000;
const INTERVAL_MS: u64 = 500;
const SCOPE: &str = "class.m1";

fn rules(sources: u16, bytes_max: usize) -> PresenceRules {
    PresenceRules {
        sources,
        is_clustered: false,
        grace_ms: GRACE_MS,
        interval_ms: INTERVAL_MS,
        bytes_max,
    }
}

fn actions(table: &mut PresenceTable) -> Vec<PresenceAction> {
    std::iter::from_fn(|| table.next_action()).collect()
}

/// A table with one source, and the round of [`SCOPE`], which is ready and watched by 0.
fn watched() -> (PresenceTable, Round) {
    let mut table = PresenceTable::new(rules(1, usize::MAX));
    table.watch(SCOPE, 0, 0).unwrap();
    let (round, ready) = table.look(SCOPE, 0).unwrap();
    assert!(!ready);
    table.complete(round, 0);
    actions(&mut table);
    (table, round)
}

/// Does all that is due, in the portions of a driver.
fn advance(table: &mut PresenceTable, now_ms: u64) {
    while table.next_due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
        table.advance(now_ms, 3);
    }
}

fn free(table: &mut PresenceTable) {
    while table.has_freed() {
        table.free_some(2);
    }
}

fn user(name: &str) -> Arc<str> {
    name.into()
}

/// Names and count of the one change that is told at `now_ms`.
fn change(table: &mut PresenceTable, now_ms: u64) -> (Vec<String>, Vec<String>, u32) {
    advance(table, now_ms);
    let mut told = actions(table);
    assert_eq!(told.len(), 1, "{told:?}");
    match told.remove(0) {
        PresenceAction::Change {
            joined,
            left,
            count,
            ..
        } => (names(&joined), names(&left), count),
        other => panic!("a change was expected: {other:?}"),
    }
}

fn names(members: &[Present]) -> Vec<String> {
    members
        .iter()
        .map(|member| member.user.to_string())
        .collect()
}

#[test]
fn watchers_hear_the_count_first_and_then_who_came() {
    let mut table = PresenceTable::new(rules(2, usize::MAX));
    table.watch(SCOPE, 3, 0).unwrap();
    let Some(PresenceAction::Tell { round, scope }) = table.next_action() else {
        panic!("sources have to be asked");
    };
    assert_eq!(&*scope, SCOPE);
    table.tell(round, 0, &user("ada"), 2, 0);
    table.complete(round, 0);
    assert_eq!(table.next_action(), None, "a source is missing");
    table.complete(round, 1);
    assert_eq!(table.next_action(), Some(PresenceAction::Ready { round }));
    let count = |watchers, count| PresenceAction::Change {
        scope: Arc::clone(&scope),
        watchers,
        joined: Vec::new(),
        left: Vec::new(),
        count,
    };
    assert_eq!(table.next_action(), Some(count(1 << 3, 1)));
    table.watch(SCOPE, 63, 1).unwrap();
    assert_eq!(table.next_action(), Some(count(1 << 63, 1)));
    table.tell(round, 1, &user("bob"), 1, 10);
    advance(&mut table, 10 + INTERVAL_MS - 1);
    assert_eq!(table.next_action(), None);
    let told = change(&mut table, 10 + INTERVAL_MS);
    assert_eq!(told, (vec!["bob".to_owned()], Vec::new(), 2));
}

#[test]
fn a_leave_is_told_after_the_grace_and_only_with_the_last_device() {
    let (mut table, round) = watched();
    table.tell(round, 0, &user("ada"), 2, 0);
    change(&mut table, INTERVAL_MS);
    table.tell(round, 0, &user("ada"), 1, 1_000);
    assert_eq!(table.next_due_ms(), None, "another device is left");
    table.tell(round, 0, &user("ada"), 0, 2_000);
    advance(&mut table, 2_000 + GRACE_MS - 1);
    let page = table.page(round, None, 10).unwrap();
    assert_eq!((page.count, page.members[0].devices), (1, 0));
    assert!(!table.has_actions());
    advance(&mut table, 2_000 + GRACE_MS);
    assert_eq!(table.members(), 0);
    let told = change(&mut table, 2_000 + GRACE_MS + INTERVAL_MS);
    assert_eq!(told, (Vec::new(), vec!["ada".to_owned()], 0));
}

#[test]
fn who_comes_back_within_the_grace_is_told_nothing_about() {
    let (mut table, round) = watched();
    table.tell(round, 0, &user("ada"), 1, 0);
    change(&mut table, INTERVAL_MS);
    for lost_ms in (1_000..200_000).step_by(GRACE_MS as usize) {
        table.tell(round, 0, &user("ada"), 0, lost_ms);
        advance(&mut table, lost_ms + GRACE_MS - 1);
        table.tell(round, 0, &user("ada"), 1, lost_ms + GRACE_MS - 1);
    }
    advance(&mut table, 1_000_000);
    assert!(!table.has_actions() && table.next_due_ms().is_none());
}

#[test]
fn a_user_of_a_lost_source_stays_when_another_one_has_it() {
    let mut table = PresenceTable::new(rules(2, usize::MAX));
    table.watch(SCOPE, 0, 0).unwrap();
    let (round, _) = table.look(SCOPE, 0).unwrap();
    for name in ["ada", "bob"] {
        table.tell(round, 0, &user(name), 1, 0);
    }
    table.complete(round, 0);
    table.complete(round, 1);
    actions(&mut table);
    table.lose_source(0, 1_000);
    table.tell(round, 1, &user("bob"), 1, 1_000 + GRACE_MS - 1);
    advance(&mut table, 1_000 + GRACE_MS);
    let told = change(&mut table, 1_000 + GRACE_MS + INTERVAL_MS);
    assert_eq!(told, (Vec::new(), vec!["ada".to_owned()], 1));
}

#[test]
fn a_large_scope_tells_its_count_alone() {
    let (mut table, round) = watched();
    for number in 0..PRESENCE_NAMED_MAX {
        table.tell(round, 0, &user(&format!("u{number}")), 1, 0);
    }
    let told = change(&mut table, INTERVAL_MS);
    let count = PRESENCE_NAMED_MAX as u32;
    assert_eq!(told, (Vec::new(), Vec::new(), count), "more than one frame");
    table.tell(round, 0, &user("one more"), 1, 1_000);
    let told = change(&mut table, 1_000 + INTERVAL_MS);
    assert_eq!(told, (Vec::new(), Vec::new(), count + 1));
    table.tell(round, 0, &user("u7"), 0, 2_000);
    advance(&mut table, 2_000 + GRACE_MS);
    let told = change(&mut table, 2_000 + GRACE_MS + INTERVAL_MS);
    assert_eq!(told, (Vec::new(), vec!["u7".to_owned()], count));
    for number in 0..PRESENCE_PAGE_MEMBERS {
        table.tell(round, 0, &user(&format!("u{number}")), 0, 40_000);
    }
    let at_ms = 40_000 + GRACE_MS;
    advance(&mut table, at_ms);
    let (joined, left, _) = change(&mut table, at_ms + INTERVAL_MS);
    assert_eq!((joined.len(), left.len()), (0, PRESENCE_PAGE_MEMBERS - 1));
}

#[test]
fn a_scope_that_nobody_asks_for_is_forgotten() {
    let (mut table, round) = watched();
    table.tell(round, 0, &user("ada"), 1, 0);
    table.tell(round, 0, &user("bob"), 1, 0);
    table.tell(round, 0, &user("bob"), 0, 0);
    table.unwatch(SCOPE, 0, 1_000);
    table.look(SCOPE, 5_000).unwrap();
    advance(&mut table, 5_000 + PRESENCE_LINGER_MS - 1);
    assert_eq!(table.scopes(), 1);
    actions(&mut table);
    advance(&mut table, 5_000 + PRESENCE_LINGER_MS);
    let scope = SCOPE.into();
    assert_eq!(actions(&mut table), [PresenceAction::Rest { round, scope }]);
    free(&mut table);
    assert_eq!((table.scopes(), table.members(), table.bytes()), (0, 0, 0));
    table.tell(round, 0, &user("ada"), 1, 50_000);
    table.complete(round, 0);
    assert!(!table.has_actions(), "the round is over");
}

#[test]
fn a_scope_without_room_is_dropped_as_a_whole_and_its_watchers_hear_of_it() {
    let (room, member) = (3_000, user("somebody with a long name"));
    let mut table = PresenceTable::new(rules(1, room));
    table.watch(SCOPE, 2, 0).unwrap();
    let (round, _) = table.look(SCOPE, 0).unwrap();
    actions(&mut table);
    let mut number = 0;
    while !table.has_actions() {
        assert!(table.bytes() <= room);
        table.tell(round, 0, &user(&format!("{member}{number}")), 1, 0);
        number += 1;
    }
    let scope: Arc<str> = SCOPE.into();
    let expected = [
        PresenceAction::Rest {
            round,
            scope: Arc::clone(&scope),
        },
        PresenceAction::Dropped {
            round,
            scope,
            watchers: 1 << 2,
        },
    ];
    assert_eq!(actions(&mut table), expected);
    free(&mut table);
    assert_eq!((table.bytes(), table.next_due_ms()), (0, None));
    let mut scopes = 0;
    while table.look(&format!("class.{scopes}"), 0).is_ok() {
        scopes += 1;
    }
    assert!(scopes > 1 && table.bytes() <= room);
    assert_eq!(table.watch("class.late", 0, 0), Err(NoRoom));
}

/// What may happen to a scope.
#[derive(Clone, Debug)]
enum Step {
    Tell { source: u16, user: u8, devices: u32 },
    Lose { source: u16 },
    Watch(bool),
    Wait(u64),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let tell = (0..3_u16, 0..12_u8, 0..3_u32).prop_map(|(source, user, devices)| Step::Tell {
        source,
        user,
        devices,
    });
    let times = prop_oneof![
        0..1_000_u64,
        Just(INTERVAL_MS),
        Just(GRACE_MS - 1),
        0..2 * GRACE_MS,
        Just(PRESENCE_LINGER_MS)
    ];
    prop_oneof![
        10 => tell,
        1 => (0..3_u16).prop_map(|source| Step::Lose { source }),
        1 => any::<bool>().prop_map(Step::Watch),
        5 => times.prop_map(Step::Wait),
        1 => Just(Step::Look),
    ]
}

type Devices = BTreeMap<u16, u32>;

/// The oracle: devices of each user by source, and since when there is none.
#[derive(Default)]
struct Oracle {
    users: BTreeMap<Arc<str>, (Devices, Option<u64>)>,
}

impl Oracle {
    fn tell(&mut self, source: u16, user: &Arc<str>, devices: u32, now_ms: u64) {
        if devices == 0 && !self.users.contains_key(user) {
            return;
        }
        let (sources, none_since) = self.users.entry(Arc::clone(user)).or_default();
        sources.insert(source, devices);
        let none = sources.values().all(|devices| *devices == 0);
        *none_since = none.then(|| none_since.unwrap_or(now_ms));
    }

    fn lose(&mut self, source: u16, now_ms: u64) {
        let users: Vec<_> = self.users.keys().cloned().collect();
        for user in users {
            self.tell(source, &user, 0, now_ms);
        }
    }

    fn advance(&mut self, now_ms: u64) {
        self.users.retain(|_, (_, none_since)| {
            none_since.is_none_or(|since_ms| since_ms + GRACE_MS > now_ms)
        });
    }

    fn listed(&self) -> Vec<(String, u32)> {
        let devices = |sources: &Devices| sources.values().sum();
        let users = self.users.iter();
        users
            .map(|(user, (sources, _))| (user.to_string(), devices(sources)))
            .collect()
    }
}

/// The driver, the sources, and a watcher who keeps names as a client would.
struct World {
    table: PresenceTable,
    round: Option<Round>,
    oracle: Oracle,
    now_ms: u64,
    is_watched: bool,
    /// Whom the watcher believes present; none before it has read the pages.
    believed: Option<BTreeSet<String>>,
    rereads: bool,
}

impl World {
    fn new() -> Self {
        Self {
            table: PresenceTable::new(rules(3, usize::MAX)),
            round: None,
            oracle: Oracle::default(),
            now_ms: 0,
            is_watched: false,
            believed: None,
            rereads: false,
        }
    }

    /// All pages, read two at a time.
    fn read(&self, round: Round) -> Vec<(String, u32)> {
        let (mut all, mut after) = (Vec::new(), None::<Arc<str>>);
        loop {
            let page = self.table.page(round, after.as_deref(), 2).expect("ready");
            assert_eq!(page.count as usize, self.oracle.users.len());
            let members = page.members.into_iter();
            all.extend(members.map(|member| (member.user.to_string(), member.devices)));
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// Sources answer at once with what the oracle has.
    fn act(&mut self) {
        while let Some(action) = self.table.next_action() {
            match action {
                PresenceAction::Tell { round, .. } => {
                    self.round = Some(round);
                    // Who has no device any more is told by nobody.
                    self.oracle.users.retain(|_, (_, none)| none.is_none());
                    for (user, (sources, _)) in &self.oracle.users {
                        for (source, devices) in sources {
                            self.table.tell(round, *source, user, *devices, self.now_ms);
                        }
                    }
                    (0..3).for_each(|source| self.table.complete(round, source));
                }
                PresenceAction::Rest { round, .. } => {
                    assert_eq!(self.round.take(), Some(round));
                    assert!(!self.is_watched);
                }
                PresenceAction::Ready { round } => assert_eq!(self.round, Some(round)),
                PresenceAction::Change {
                    joined,
                    left,
                    count,
                    ..
                } => {
                    assert_eq!(count as usize, self.oracle.users.len());
                    self.believe(&joined, &left);
                }
                PresenceAction::Dropped { .. } => panic!("there is room"),
            }
        }
        if std::mem::take(&mut self.rereads) {
            let round = self.round.expect("a watched scope is kept");
            let names = self.read(round).into_iter().map(|(user, _)| user);
            self.believed = Some(names.collect());
        }
    }

    fn believe(&mut self, joined: &[Present], left: &[Present]) {
        match &mut self.believed {
            Some(believed) if !joined.is_empty() || !left.is_empty() => {
                believed.retain(|user| left.iter().all(|gone| *gone.user != **user));
                believed.extend(joined.iter().map(|here| here.user.to_string()));
            }
            _ => self.rereads = true,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tell {
                source,
                user,
                devices,
            } => {
                let user = format!("user{user}").into();
                self.oracle.tell(source, &user, devices, self.now_ms);
                if let Some(round) = self.round {
                    self.table.tell(round, source, &user, devices, self.now_ms);
                }
            }
            Step::Lose { source } => {
                self.oracle.lose(source, self.now_ms);
                self.table.lose_source(source, self.now_ms);
            }
            Step::Watch(true) => {
                self.is_watched = true;
                self.table.watch(SCOPE, 1, self.now_ms).expect("room");
            }
            Step::Watch(false) => {
                (self.is_watched, self.believed) = (false, None);
                self.table.unwatch(SCOPE, 1, self.now_ms);
            }
            Step::Look => {
                self.table.look(SCOPE, self.now_ms).expect("room");
            }
            Step::Wait(wait_ms) => self.wait(wait_ms),
        }
        self.act();
    }

    /// Passes time as a driver does: from one deadline to the next.
    fn wait(&mut self, wait_ms: u64) {
        let until_ms = self.now_ms + wait_ms;
        while let Some(due_ms) = self
            .table
            .next_due_ms()
            .filter(|due_ms| *due_ms <= until_ms)
        {
            self.now_ms = self.now_ms.max(due_ms);
            self.oracle.advance(self.now_ms);
            advance(&mut self.table, self.now_ms);
            self.act();
            free(&mut self.table);
        }
        self.now_ms = until_ms;
        self.oracle.advance(self.now_ms);
    }

    fn check(&self) {
        let Some(round) = self.round else {
            assert_eq!((self.table.scopes(), self.table.bytes()), (0, 0));
            return;
        };
        assert_eq!(self.read(round), self.oracle.listed());
        assert_eq!(self.table.members(), self.oracle.users.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_table_agrees_with_plain_maps(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        // Once all who left have been told a watcher knows everybody.
        world.wait(GRACE_MS + INTERVAL_MS);
        world.act();
        if let Some(believed) = &world.believed {
            let listed = world.oracle.listed();
            let present: BTreeSet<String> = listed.into_iter().map(|(user, _)| user).collect();
            prop_assert_eq!(believed, &present);
        }
    }
}
