//! The scopes of one owner: what is counted, due and told.
//!
//! Runs on: the thread of the table.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::limits::PRESENCE_PAGE_MEMBERS;

use super::cluster::Cluster;
use super::member::{Member, Source};
use super::scope::{member_bytes, scope_bytes, Scope};
use super::sweep::Sweep;
use super::{NoRoom, PresenceAction, PresencePage, PresenceRules, Round};
use crate::limits::{PRESENCE_INDEX_BYTES, PRESENCE_LINGER_MS, PRESENCE_NAMED_MAX};

/// What is due at some time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// Watchers are told what has changed.
    Change(Round),
    /// Nobody of this node has asked for a while.
    Forget(Round),
    /// Other nodes are not waited for any longer.
    Settle(Round),
    /// Other nodes may have to be asked.
    Look(Round),
    /// Other nodes are told what has changed.
    Gather(Round),
    /// The asking of other nodes may have ended.
    End(Round),
}

/// The scopes of one owner.
#[derive(Debug)]
pub struct PresenceTable {
    pub(super) rules: PresenceRules,
    pub(super) rounds: HashMap<Arc<str>, Round>,
    pub(super) scopes: HashMap<Round, Scope>,
    pub(super) due: BTreeSet<(u64, Due)>,
    /// When users leave who have no device.
    leaves: BTreeSet<(u64, Round, Arc<str>)>,
    pub(super) actions: VecDeque<PresenceAction>,
    /// Users of scopes that were forgotten.
    freed: Vec<BTreeMap<Arc<str>, Member>>,
    pub(super) sweeps: VecDeque<Sweep>,
    /// The other nodes.
    pub(super) cluster: Cluster,
    last_round: u64,
    pub(super) bytes: usize,
    members: usize,
}

impl PresenceTable {
    /// A table without scopes.
    pub fn new(rules: PresenceRules) -> Self {
        Self {
            rules,
            rounds: HashMap::new(),
            scopes: HashMap::new(),
            due: BTreeSet::new(),
            leaves: BTreeSet::new(),
            actions: VecDeque::new(),
            freed: Vec::new(),
            sweeps: VecDeque::new(),
            cluster: Cluster::new(rules.is_clustered),
            last_round: 0,
            bytes: 0,
            members: 0,
        }
    }

    /// A watcher wants to be told of changes; the first thing that it is told is the count.
    ///
    /// # Errors
    /// When there is no room for another scope.
    pub fn watch(&mut self, scope: &str, watcher: u16, now_ms: u64) -> Result<(), NoRoom> {
        let round = self.open_wanted(scope, now_ms)?;
        if let Some(entry) = self.scopes.get_mut(&round) {
            entry.watchers |= 1 << watcher;
            if entry.is_ready() {
                let change = entry.change(1 << watcher, Vec::new(), Vec::new());
                self.actions.push_back(change);
            }
        }
        self.keep(round, now_ms);
        Ok(())
    }

    /// A watcher does not want to be told any more.
    pub fn unwatch(&mut self, scope: &str, watcher: u16, now_ms: u64) {
        let Some(&round) = self.rounds.get(scope) else {
            return;
        };
        if let Some(entry) = self.scopes.get_mut(&round) {
            entry.watchers &= !(1 << watcher);
        }
        self.keep(round, now_ms);
    }

    /// Somebody wants to read pages: the round of the scope, and whether they can be read now or
    /// after [`PresenceAction::Ready`].
    ///
    /// # Errors
    /// When there is no room for another scope.
    pub fn look(&mut self, scope: &str, now_ms: u64) -> Result<(Round, bool), NoRoom> {
        let round = self.open_wanted(scope, now_ms)?;
        self.keep(round, now_ms);
        let ready = self.scopes.get(&round).is_some_and(Scope::is_ready);
        Ok((round, ready))
    }

    /// The users behind `after` in the order of names, at most `most`; nothing when the scope is
    /// not ready.
    pub fn page(&self, round: Round, after: Option<&str>, most: usize) -> Option<PresencePage> {
        let scope = self.scopes.get(&round).filter(|scope| scope.is_ready())?;
        let mut page = scope.page(after, most);
        page.is_stale |= self.is_stale();
        Some(page)
    }

    /// A source of this node has so many devices of a user in the scope.
    pub fn tell(
        &mut self,
        round: Round,
        source: Source,
        user: &Arc<str>,
        devices: u32,
        now_ms: u64,
    ) {
        self.count(round, (source, &[]), user, devices, now_ms);
    }

    /// Takes over what a source counts; `stale` sources do not count the user any more.
    pub(super) fn count(
        &mut self,
        round: Round,
        (source, stale): (Source, &[Source]),
        user: &Arc<str>,
        devices: u32,
        now_ms: u64,
    ) {
        let bytes = self.member_bytes(user);
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let own = self.rules.sources;
        if let Some(member) = scope.members.get_mut(user) {
            let before = member.devices_below(own);
            stale.iter().for_each(|stale| member.set(*stale, 0));
            member.set(source, devices);
            let is_changed = member.devices_below(own) != before;
            let leaves_ms = now_ms + self.rules.grace_ms;
            match (member.devices(), member.leaves_ms) {
                (0, None) => {
                    (member.leaves_ms, member.absent_ms) = (Some(leaves_ms), now_ms);
                    self.leaves.insert((leaves_ms, round, Arc::clone(user)));
                }
                // Another node had the user a moment ago.
                (0, Some(old_ms)) if source >= own => {
                    (member.leaves_ms, member.absent_ms) = (Some(leaves_ms), now_ms);
                    self.leaves.remove(&(old_ms, round, Arc::clone(user)));
                    self.leaves.insert((leaves_ms, round, Arc::clone(user)));
                }
                (1.., Some(old_ms)) => {
                    member.leaves_ms = None;
                    self.leaves.remove(&(old_ms, round, Arc::clone(user)));
                }
                _ => {}
            }
            if is_changed {
                self.note(round, user, now_ms);
            }
        } else if devices > 0 {
            if self.bytes + bytes > self.rules.bytes_max {
                return self.drop_scope(round);
            }
            let member = Member::new(source, devices);
            scope.members.insert(Arc::clone(user), member);
            self.bytes += bytes;
            self.members += 1;
            self.touch(round, user, now_ms);
            if source < own {
                self.note(round, user, now_ms);
            }
        }
    }

    /// A source of this node has told all the users that it has in the scope.
    pub fn complete(&mut self, round: Round, source: Source) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if !scope.awaited.remove(&source) || !scope.awaited.is_empty() {
            return;
        }
        self.answer_all(round);
        self.become_ready(round);
    }

    /// The scope may have become ready: tells those who wait.
    pub(super) fn become_ready(&mut self, round: Round) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if !scope.is_ready() {
            return;
        }
        self.actions.push_back(PresenceAction::Ready { round });
        if scope.watchers != 0 {
            let change = scope.change(scope.watchers, Vec::new(), Vec::new());
            self.actions.push_back(change);
        }
    }

    /// A source has no room for what it would have to count.
    pub fn refuse(&mut self, round: Round) {
        self.drop_scope(round);
    }

    /// A source is gone; its users stay for the grace, in which others may have them.
    pub fn lose_source(&mut self, source: Source, now_ms: u64) {
        let rounds: Vec<Round> = self.scopes.keys().copied().collect();
        for round in rounds {
            let users: Vec<Arc<str>> = match self.scopes.get(&round) {
                Some(scope) => scope.members.keys().cloned().collect(),
                None => continue,
            };
            for user in users {
                self.tell(round, source, &user, 0, now_ms);
            }
            self.complete(round, source);
        }
    }

    /// Does what is due, at most `most` leaves and changes; the rest stays due.
    pub fn advance(&mut self, now_ms: u64, most: usize) {
        for _ in 0..most {
            let due_ms = self.due.first().map(|entry| entry.0);
            let leaves_ms = self.next_leave_ms();
            let next_ms = due_ms.into_iter().chain(leaves_ms).min();
            if next_ms.is_none_or(|next_ms| next_ms > now_ms) {
                return;
            }
            if leaves_ms == next_ms {
                if let Some((_, round, user)) = self.leaves.pop_first() {
                    self.leave(round, &user, now_ms);
                }
            } else if let Some((at_ms, due)) = self.due.pop_first() {
                self.do_due(due, at_ms, now_ms);
            }
        }
    }

    fn do_due(&mut self, due: Due, at_ms: u64, now_ms: u64) {
        match due {
            Due::Change(round) => self.tell_change(round),
            Due::Forget(round) => self.unwant(round),
            Due::Settle(round) => self.settle(round),
            Due::Look(round) => self.look_who_to_ask(round, at_ms, now_ms),
            Due::Gather(round) => self.answer_changes(round),
            Due::End(round) => self.end_askings(round, at_ms, now_ms),
        }
    }

    /// When the next user leaves; while leaves are held nobody does.
    fn next_leave_ms(&self) -> Option<u64> {
        let held_until_ms = self.cluster.held_until_ms()?;
        let first = self.leaves.first()?;
        Some(first.0.max(held_until_ms))
    }

    /// Frees at most `most` users of scopes that were forgotten.
    pub fn free_some(&mut self, most: usize) {
        for _ in 0..most {
            let Some(members) = self.freed.last_mut() else {
                return;
            };
            match members.pop_first() {
                Some((user, _)) => {
                    self.bytes -= self.member_bytes(&user);
                    self.members -= 1;
                }
                None => drop(self.freed.pop()),
            }
        }
    }

    /// Whether [`Self::free_some`] has something to do.
    pub fn has_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// When [`Self::advance`] has something to do.
    pub fn next_due_ms(&self) -> Option<u64> {
        let due_ms = self.due.first().map(|entry| entry.0);
        due_ms.into_iter().chain(self.next_leave_ms()).min()
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<PresenceAction> {
        self.actions.pop_front()
    }

    /// Whether there is something to do.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Scopes that are kept.
    pub fn scopes(&self) -> usize {
        self.scopes.len()
    }

    /// Users of all scopes, those to be freed included.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Bytes of all scopes, as the limit counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn member_bytes(&self, user: &str) -> usize {
        let index = usize::from(self.rules.is_clustered) * PRESENCE_INDEX_BYTES;
        member_bytes(user) + index
    }

    fn open_wanted(&mut self, scope: &str, now_ms: u64) -> Result<Round, NoRoom> {
        let round = self.open(scope)?;
        self.want(round, now_ms)?;
        Ok(round)
    }

    pub(super) fn open(&mut self, scope: &str) -> Result<Round, NoRoom> {
        if let Some(&round) = self.rounds.get(scope) {
            return Ok(round);
        }
        let bytes = scope_bytes(scope);
        if self.bytes + bytes > self.rules.bytes_max {
            return Err(NoRoom);
        }
        self.bytes += bytes;
        self.last_round += 1;
        let (round, name) = (Round(self.last_round), Arc::<str>::from(scope));
        let entry = Scope::new(Arc::clone(&name), self.rules.sources);
        self.scopes.insert(round, entry);
        self.rounds.insert(Arc::clone(&name), round);
        self.actions
            .push_back(PresenceAction::Tell { round, scope: name });
        Ok(round)
    }

    /// Somebody has just asked for the scope: without watchers it is kept for a while from now.
    fn keep(&mut self, round: Round, now_ms: u64) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if let Some(forget_ms) = scope.forget_ms.take() {
            self.due.remove(&(forget_ms, Due::Forget(round)));
        }
        if scope.watchers == 0 {
            let forget_ms = now_ms + PRESENCE_LINGER_MS;
            scope.forget_ms = Some(forget_ms);
            self.due.insert((forget_ms, Due::Forget(round)));
        }
    }

    fn leave(&mut self, round: Round, user: &Arc<str>, now_ms: u64) {
        let Some(scope) = self.scopes.get(&round) else {
            return;
        };
        let Some(member) = scope.members.get(user) else {
            return;
        };
        let again_ms = self.postpone(round, member.absent_ms, now_ms);
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if let (Some(at_ms), Some(member)) = (again_ms, scope.members.get_mut(user)) {
            member.leaves_ms = Some(at_ms);
            self.leaves.insert((at_ms, round, Arc::clone(user)));
        } else if scope.members.remove(user).is_some() {
            self.bytes -= self.member_bytes(user);
            self.members -= 1;
            self.touch(round, user, now_ms);
        }
    }

    /// A user has come or left.
    fn touch(&mut self, round: Round, user: &Arc<str>, now_ms: u64) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if !scope.is_ready() || scope.watchers == 0 {
            return;
        }
        if scope.touched.len() < PRESENCE_PAGE_MEMBERS {
            scope.touched.insert(Arc::clone(user));
        } else {
            scope.unnamed = true;
        }
        if scope.change_ms.is_none() {
            let change_ms = now_ms + self.rules.interval_ms;
            scope.change_ms = Some(change_ms);
            self.due.insert((change_ms, Due::Change(round)));
        }
    }

    fn tell_change(&mut self, round: Round) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        scope.change_ms = None;
        let touched = std::mem::take(&mut scope.touched);
        let unnamed = std::mem::take(&mut scope.unnamed);
        if scope.watchers == 0 {
            return;
        }
        let named = !unnamed && scope.members.len() <= PRESENCE_NAMED_MAX;
        let moved = touched.iter().filter(|_| named);
        let (joined, left) = moved
            .map(|user| scope.present(user))
            .partition(|moved| scope.members.contains_key(&moved.user));
        let change = scope.change(scope.watchers, joined, left);
        self.actions.push_back(change);
    }

    pub(super) fn drop_scope(&mut self, round: Round) {
        self.refuse_askers(round);
        let Some(entry) = self.forget(round) else {
            return;
        };
        let scope = Arc::clone(&entry.name);
        self.actions
            .push_back(PresenceAction::Rest { round, scope });
        self.actions.push_back(PresenceAction::Dropped {
            round,
            scope: entry.name,
            watchers: entry.watchers,
        });
    }

    /// Nobody asks for the scope any more.
    pub(super) fn rest(&mut self, round: Round) {
        if let Some(scope) = self.forget(round) {
            let scope = scope.name;
            self.actions
                .push_back(PresenceAction::Rest { round, scope });
        }
    }

    fn forget(&mut self, round: Round) -> Option<Scope> {
        self.stop_asking(round);
        let mut scope = self.scopes.remove(&round)?;
        self.rounds.remove(&scope.name);
        self.bytes -= scope_bytes(&scope.name) + scope.answering.bytes();
        // What else is still due finds no scope.
        self.freed.push(std::mem::take(&mut scope.members));
        let change = scope.change_ms.map(|at_ms| (at_ms, Due::Change(round)));
        let forget = scope.forget_ms.map(|at_ms| (at_ms, Due::Forget(round)));
        for entry in [change, forget].into_iter().flatten() {
            self.due.remove(&entry);
        }
        Some(scope)
    }
}
