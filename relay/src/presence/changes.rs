//! What other nodes are told of the users that this one has in a scope.
//!
//! Purpose: each change of a user has a version, and an index of the newest changes tells what is
//! behind any version: everybody behind 0, what is missing behind another. A node that asks says
//! how far it knows its stream, and is told on from there.
//!
//! Invariants: a user is once in the index, at the version of the newest change. One who has left
//! stays there until every stream that goes on is known to have come past.
//! Limits: the table charges each entry.
//! Runs on: the thread of the table.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::member::{Member, Source};
use super::message::Part;
use crate::backplane::NodeId;
use crate::limits::{LEASE_MS, PRESENCE_GONE_BYTES, PRESENCE_NODE_BYTES, PRESENCE_PART_USERS};

/// Users of a part; in tests few users take many parts.
const PART_USERS: usize = if cfg!(test) { 2 } else { PRESENCE_PART_USERS };

/// A node that asks.
#[derive(Debug)]
struct Asker {
    /// Number of its newest ask.
    number: u64,
    stream: u64,
    /// How far it was told.
    told: u64,
    /// How far it knows.
    known: u64,
    /// Until when it wants to be told.
    until_ms: u64,
    /// Whether it is answered although nothing has changed.
    is_owed: bool,
    /// Whether a part waits to be made.
    is_listed: bool,
}

/// An ask as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) number: u64,
    pub(super) stream: u64,
    pub(super) version: u64,
}

/// The changes of the users of this node, and who asks for them.
#[derive(Debug, Default)]
pub(super) struct Answering {
    last: u64,
    /// Who has devices.
    here: BTreeMap<u64, Arc<str>>,
    /// Who has left.
    gone: BTreeMap<u64, Arc<str>>,
    gone_bytes: usize,
    askers: BTreeMap<NodeId, Asker>,
    /// When nodes are told what has changed.
    pub(super) gather_ms: Option<u64>,
    /// When it is looked whose asking has ended.
    pub(super) look_ms: Option<u64>,
}

impl Answering {
    /// Whether nobody asks.
    pub(super) fn is_idle(&self) -> bool {
        self.askers.is_empty()
    }

    /// Nodes that ask.
    pub(super) fn askers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.askers.keys().copied()
    }

    /// Bytes of those who have left and of nodes that ask; users who are here are charged with
    /// the scope.
    pub(super) fn bytes(&self) -> usize {
        self.gone_bytes + self.askers.len() * PRESENCE_NODE_BYTES
    }

    /// The devices of a user have changed.
    pub(super) fn note(&mut self, user: &Arc<str>, version: &mut u64, is_here: bool) {
        self.here.remove(version);
        if self.gone.remove(version).is_some() {
            self.gone_bytes -= PRESENCE_GONE_BYTES + user.len();
        }
        if !is_here && self.askers.is_empty() {
            *version = 0;
            return;
        }
        self.last += 1;
        *version = self.last;
        if is_here {
            self.here.insert(self.last, Arc::clone(user));
        } else {
            self.gone.insert(self.last, Arc::clone(user));
            self.gone_bytes += PRESENCE_GONE_BYTES + user.len();
        }
    }

    /// Takes an ask, which begins the stream `fresh` when it cannot go on with its own. Says
    /// whether it is new.
    pub(super) fn ask(&mut self, from: NodeId, ask: Ask, fresh: u64, now_ms: u64) -> bool {
        let last = self.last;
        let asker = self.askers.entry(from).or_insert(Asker {
            number: 0,
            stream: 0,
            told: 0,
            known: 0,
            until_ms: 0,
            is_owed: false,
            is_listed: false,
        });
        if ask.number <= asker.number {
            return false;
        }
        let goes_on = ask.stream != 0 && ask.stream == asker.stream;
        if goes_on && (asker.known..=last).contains(&ask.version) {
            (asker.told, asker.known) = (ask.version, ask.version);
        } else {
            (asker.stream, asker.told, asker.known) = (fresh, 0, 0);
        }
        asker.number = ask.number;
        asker.until_ms = now_ms + LEASE_MS;
        asker.is_owed = true;
        self.purge();
        true
    }

    /// A node asks no more; a later ask than it knew of has been made.
    pub(super) fn rest(&mut self, from: NodeId, number: u64) {
        let asker = self.askers.get(&from);
        if asker.is_some_and(|asker| asker.number <= number) {
            self.askers.remove(&from);
            self.purge();
        }
    }

    /// Lets those go who have not asked again in time.
    pub(super) fn end_leases(&mut self, now_ms: u64) {
        self.askers.retain(|_, asker| asker.until_ms > now_ms);
        self.purge();
    }

    /// When the next asking ends.
    pub(super) fn next_end_ms(&self) -> Option<u64> {
        self.askers.values().map(|asker| asker.until_ms).min()
    }

    /// Forgets who has left and is known to have.
    fn purge(&mut self) {
        let known = self.askers.values().map(|asker| asker.known).min();
        while let Some(entry) = self.gone.first_entry() {
            if known.is_some_and(|known| *entry.key() > known) {
                return;
            }
            self.gone_bytes -= PRESENCE_GONE_BYTES + entry.remove().len();
        }
    }

    /// Lists a node for a part with `list`, which says whether it could, if it is to be told
    /// something and is not listed.
    pub(super) fn list(&mut self, node: NodeId, list: impl FnOnce() -> bool) {
        let last = self.last;
        let asker = self.askers.get_mut(&node);
        let unlisted = asker.filter(|asker| !asker.is_listed);
        if let Some(asker) = unlisted.filter(|asker| asker.is_owed || asker.told < last) {
            asker.is_listed = list();
        }
    }

    /// The next part for a node that is listed. `is_complete`: all sources have told what they
    /// have.
    pub(super) fn part(
        &mut self,
        node: NodeId,
        members: &BTreeMap<Arc<str>, Member>,
        (sources, is_complete): (Source, bool),
    ) -> Option<Part> {
        let told = self.askers.get_mut(&node).map(|asker| {
            asker.is_listed = false;
            asker.told
        })?;
        let behind = (Bound::Excluded(told), Bound::Unbounded);
        let mut here = self.here.range(behind).peekable();
        let mut gone = self.gone.range(behind).peekable();
        let (mut users, mut to) = (Vec::new(), told);
        while users.len() < PART_USERS {
            let next_gone = gone.peek().map(|entry| *entry.0);
            let is_gone = match (here.peek(), next_gone) {
                (Some((here, _)), Some(gone)) => gone < **here,
                (None, None) => break,
                (_, gone) => gone.is_some(),
            };
            let entry = if is_gone { gone.next() } else { here.next() };
            let Some((version, user)) = entry else { break };
            let devices = members.get(user).map(|it| it.devices_below(sources));
            users.push((Arc::clone(user), devices.unwrap_or(0)));
            to = *version;
        }
        let is_all = here.peek().is_none() && gone.peek().is_none();
        let is_end = is_all && is_complete;
        if is_all {
            to = self.last;
        }
        let asker = self.askers.get_mut(&node)?;
        if users.is_empty() && !(is_end && asker.is_owed) {
            return None;
        }
        asker.told = to;
        asker.is_owed &= !is_end;
        Some(Part {
            number: asker.number,
            stream: asker.stream,
            from: told,
            to,
            is_end,
            users,
        })
    }
}
