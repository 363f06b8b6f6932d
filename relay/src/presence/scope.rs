//! One scope: its users in the order of names, and what its watchers have not been told.
//!
//! Runs on: the thread of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::changes::Answering;
use super::heard::Asking;
use super::member::{Member, Source};
use super::{PresenceAction, PresencePage, Present};
use crate::limits::{PRESENCE_MEMBER_BYTES, PRESENCE_SCOPE_BYTES};

#[derive(Debug)]
pub(super) struct Scope {
    pub(super) name: Arc<str>,
    /// Sources of this node that have not told everything yet.
    pub(super) awaited: BTreeSet<Source>,
    /// Whether somebody of this node wants to know it, and not only other nodes.
    pub(super) is_wanted: bool,
    /// What other nodes tell, while it is wanted.
    pub(super) asking: Asking,
    /// What other nodes are told.
    pub(super) answering: Answering,
    /// The source that another node was given last.
    last_source: Source,
    /// Nobody is told to have left before.
    pub(super) held_until_ms: u64,
    pub(super) watchers: u64,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Who moved since the last change.
    pub(super) touched: BTreeSet<Arc<str>>,
    /// Whether more moved than are named.
    pub(super) unnamed: bool,
    pub(super) change_ms: Option<u64>,
    pub(super) forget_ms: Option<u64>,
}

impl Scope {
    /// A scope of which nothing is known yet.
    pub(super) fn new(name: Arc<str>, sources: Source) -> Self {
        Self {
            name,
            awaited: (0..sources).collect(),
            is_wanted: false,
            asking: Asking::default(),
            answering: Answering::default(),
            last_source: sources,
            held_until_ms: 0,
            watchers: 0,
            members: BTreeMap::new(),
            touched: BTreeSet::new(),
            unnamed: false,
            change_ms: None,
            forget_ms: None,
        }
    }

    /// A number for what another node tells, of which none counts. It comes again after tens of
    /// thousands, when what was counted there has long been swept.
    pub(super) fn next_source(&mut self, sources: Source) -> Source {
        loop {
            self.last_source = self.last_source.checked_add(1).unwrap_or(sources);
            if !self.asking.counts_at(self.last_source) {
                return self.last_source;
            }
        }
    }

    /// The users behind `after`, at most `most`.
    pub(super) fn page(&self, after: Option<&str>, most: usize) -> PresencePage {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.members.range::<str, _>((start, Bound::Unbounded));
        let members: Vec<Present> = behind
            .by_ref()
            .take(most)
            .map(|(user, member)| Present {
                user: Arc::clone(user),
                devices: member.devices(),
            })
            .collect();
        let more = behind.next().is_some();
        let last = members.last().map(|member| Arc::clone(&member.user));
        PresencePage {
            count: self.count(),
            members,
            next: last.filter(|_| more),
            is_stale: self.asking.is_unsure(),
        }
    }

    /// Whether all sources have told what they have, and somebody wants to know it.
    pub(super) fn is_ready(&self) -> bool {
        self.awaited.is_empty() && self.is_wanted && self.asking.is_ready
    }

    pub(super) fn count(&self) -> u32 {
        self.members.len() as u32
    }

    pub(super) fn present(&self, user: &Arc<str>) -> Present {
        Present {
            user: Arc::clone(user),
            devices: self.members.get(user).map_or(0, Member::devices),
        }
    }

    pub(super) fn change(
        &self,
        watchers: u64,
        joined: Vec<Present>,
        left: Vec<Present>,
    ) -> PresenceAction {
        PresenceAction::Change {
            scope: Arc::clone(&self.name),
            watchers,
            joined,
            left,
            count: self.count(),
        }
    }
}

pub(super) fn scope_bytes(name: &str) -> usize {
    PRESENCE_SCOPE_BYTES + name.len()
}

pub(super) fn member_bytes(user: &str) -> usize {
    PRESENCE_MEMBER_BYTES + user.len()
}
