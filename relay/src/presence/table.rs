//! Who is present where: the scopes that one owner keeps, without I/O or clock.
//!
//! Purpose: a scope is a channel whose presence somebody wants to know. Its owner asks all
//! sources for the users that they have there; from then on they tell every change as the number
//! of a user's devices, which may be told again. The table joins the sources, waits for the grace
//! before it believes that a user has left, gathers changes for an interval, and gives pages in
//! the order of names. A scope that nobody asks for is forgotten, and costs nothing.
//!
//! Order of a driver: [`PresenceTable::advance`] with the time of a turn first, then what came,
//! then [`PresenceTable::next_action`] until there is none.
//!
//! Invariants: a user is told to have left a grace after the last device of the last source, not
//! before; who comes back within it is told nothing about. What a source says of an earlier round
//! changes nothing. A change with names is what became of everybody who moved since the change
//! before it; one without names says the count alone, and who needs names reads the pages.
//! Pages: a user who is present from the first page to the last is listed exactly once.
//! Limits: work that grows with users is done in portions: [`PresenceTable::advance`],
//! [`PresenceTable::free_some`]. [`PresenceRules::bytes_max`] bounds all scopes together; one that
//! grows beyond it is dropped as a whole, and whoever watches it is told. In a scope of up to
//! [`PRESENCE_NAMED_MAX`] users the moves of an interval are named, if they fit one frame.
//! Runs on: the thread that owns the scopes.

mod member;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::limits::PRESENCE_PAGE_MEMBERS;

use crate::limits::{PRESENCE_LINGER_MS, PRESENCE_NAMED_MAX};
use member::Member;
pub use member::Source;
use scope::{member_bytes, scope_bytes, Scope};

/// One time that a scope is kept; a scope that was forgotten gets another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Round(pub u64);

/// What a table keeps to.
#[derive(Clone, Copy, Debug)]
pub struct PresenceRules {
    /// Sources 0 to this one, exclusive.
    pub sources: Source,
    /// How long a user without a device counts as present, in milliseconds.
    pub grace_ms: u64,
    /// For how long changes are gathered, in milliseconds.
    pub interval_ms: u64,
    /// Bytes of all scopes and their users.
    pub bytes_max: usize,
}

/// A user who is present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Present {
    /// The user.
    pub user: Arc<str>,
    /// Devices in the scope; 0 while the last was lost and the user may be back.
    pub devices: u32,
}

/// A part of the users of a scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PresencePage {
    /// Users in all.
    pub count: u32,
    /// Users of this page, in the order of names.
    pub members: Vec<Present>,
    /// Where the next page begins; none on the last.
    pub next: Option<Arc<str>>,
}

/// Everything is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PresenceAction {
    /// Ask every source for its users of the scope, and for changes from now on.
    Tell {
        /// What they have to name.
        round: Round,
        /// The scope.
        scope: Arc<str>,
    },
    /// No source has to tell anything of the scope any more.
    Rest {
        /// The round that is over.
        round: Round,
        /// The scope.
        scope: Arc<str>,
    },
    /// All sources have told what they have: pages can be read.
    Ready {
        /// The round.
        round: Round,
    },
    /// Tell those who watch.
    Change {
        /// The scope.
        scope: Arc<str>,
        /// Bit n is watcher n.
        watchers: u64,
        /// Who came; empty in a change without names.
        joined: Vec<Present>,
        /// Who left; empty in a change without names.
        left: Vec<Present>,
        /// Users afterwards.
        count: u32,
    },
    /// There was no room: nothing is known of the scope any more.
    Dropped {
        /// The round that is over.
        round: Round,
        /// The scope.
        scope: Arc<str>,
        /// Bit n is watcher n; they watch no more.
        watchers: u64,
    },
}

/// What is due at some time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Leave(Round, Arc<str>),
    Change(Round),
    Forget(Round),
}

/// The scopes of one owner.
#[derive(Debug)]
pub struct PresenceTable {
    rules: PresenceRules,
    rounds: HashMap<Arc<str>, Round>,
    scopes: HashMap<Round, Scope>,
    due: BTreeSet<(u64, Due)>,
    actions: VecDeque<PresenceAction>,
    /// Users of scopes that were forgotten.
    freed: Vec<BTreeMap<Arc<str>, Member>>,
    last_round: u64,
    bytes: usize,
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
            actions: VecDeque::new(),
            freed: Vec::new(),
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
        let round = self.open(scope)?;
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
        let round = self.open(scope)?;
        self.keep(round, now_ms);
        let ready = self.scopes.get(&round).is_some_and(Scope::is_ready);
        Ok((round, ready))
    }

    /// The users behind `after` in the order of names, at most `most`; nothing when the scope is
    /// not ready.
    pub fn page(&self, round: Round, after: Option<&str>, most: usize) -> Option<PresencePage> {
        let scope = self.scopes.get(&round).filter(|scope| scope.is_ready())?;
        Some(scope.page(after, most))
    }

    /// A source has so many devices of a user in the scope.
    pub fn tell(
        &mut self,
        round: Round,
        source: Source,
        user: &Arc<str>,
        devices: u32,
        now_ms: u64,
    ) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if let Some(member) = scope.members.get_mut(user) {
            member.set(source, devices);
            let leave = Due::Leave(round, Arc::clone(user));
            match (member.devices(), member.leaves_ms) {
                (0, None) => {
                    let leaves_ms = now_ms + self.rules.grace_ms;
                    member.leaves_ms = Some(leaves_ms);
                    self.due.insert((leaves_ms, leave));
                }
                (1.., Some(leaves_ms)) => {
                    member.leaves_ms = None;
                    self.due.remove(&(leaves_ms, leave));
                }
                _ => {}
            }
        } else if devices > 0 {
            let bytes = member_bytes(user);
            if self.bytes + bytes > self.rules.bytes_max {
                return self.drop_scope(round);
            }
            let member = Member::new(source, devices);
            scope.members.insert(Arc::clone(user), member);
            self.bytes += bytes;
            self.members += 1;
            self.touch(round, user, now_ms);
        }
    }

    /// A source has told all the users that it has in the scope.
    pub fn complete(&mut self, round: Round, source: Source) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if !scope.awaited.remove(&source) || !scope.is_ready() {
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
            if self.next_due_ms().is_none_or(|due_ms| due_ms > now_ms) {
                return;
            }
            match self.due.pop_first() {
                Some((_, Due::Leave(round, user))) => self.leave(round, &user, now_ms),
                Some((_, Due::Change(round))) => self.tell_change(round),
                Some((_, Due::Forget(round))) => {
                    if let Some(scope) = self.forget(round) {
                        let scope = scope.name;
                        self.actions
                            .push_back(PresenceAction::Rest { round, scope });
                    }
                }
                None => return,
            }
        }
    }

    /// Frees at most `most` users of scopes that were forgotten.
    pub fn free_some(&mut self, most: usize) {
        for _ in 0..most {
            let Some(members) = self.freed.last_mut() else {
                return;
            };
            match members.pop_first() {
                Some((user, _)) => {
                    self.bytes -= member_bytes(&user);
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
        self.due.first().map(|entry| entry.0)
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

    fn open(&mut self, scope: &str) -> Result<Round, NoRoom> {
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
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if scope.members.remove(user).is_some() {
            self.bytes -= member_bytes(user);
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

    fn drop_scope(&mut self, round: Round) {
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

    fn forget(&mut self, round: Round) -> Option<Scope> {
        let mut scope = self.scopes.remove(&round)?;
        self.rounds.remove(&scope.name);
        self.bytes -= scope_bytes(&scope.name);
        // A leave that is still due finds no scope.
        self.freed.push(std::mem::take(&mut scope.members));
        let change = scope.change_ms.map(|at_ms| (at_ms, Due::Change(round)));
        let forget = scope.forget_ms.map(|at_ms| (at_ms, Due::Forget(round)));
        for entry in [change, forget].into_iter().flatten() {
            self.due.remove(&entry);
        }
        Some(scope)
    }
}
