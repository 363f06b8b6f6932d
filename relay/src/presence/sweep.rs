//! Removing users of sources that are gone, in portions.
//!
//! Runs on: the thread of the table.

use std::ops::Bound;
use std::sync::Arc;

use super::member::Source;
use super::table::PresenceTable;
use super::Round;

/// Users that a source no longer has, some of which may still count.
#[derive(Debug)]
pub(super) struct Sweep {
    round: Round,
    source: Source,
    /// The user behind whom it goes on.
    after: Option<Arc<str>>,
}

impl PresenceTable {
    /// Users of a source do not count any more, which is done in portions.
    pub(super) fn sweep(&mut self, round: Round, source: Source) {
        self.sweeps.push_back(Sweep {
            round,
            source,
            after: None,
        });
    }

    /// Lets no more than `most` scopes know what has changed among the nodes, and looks at no more
    /// than `most` users of sources that are gone.
    pub fn sweep_some(&mut self, now_ms: u64, most: usize) {
        self.meet_some(now_ms, most);
        let Some(sweep) = self.sweeps.front_mut() else {
            return;
        };
        let (round, source) = (sweep.round, sweep.source);
        let Some(scope) = self.scopes.get(&round) else {
            self.sweeps.pop_front();
            return;
        };
        let after = sweep.after.take();
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = scope.members.range::<str, _>((start, Bound::Unbounded));
        let looked: Vec<(Arc<str>, bool)> = behind
            .take(most)
            .map(|(user, member)| (Arc::clone(user), member.devices_at(source) > 0))
            .collect();
        if looked.len() < most {
            self.sweeps.pop_front();
        } else if let Some((last, _)) = looked.last() {
            sweep.after = Some(Arc::clone(last));
        }
        for (user, _) in looked.iter().filter(|looked| looked.1) {
            self.count(round, (source, &[]), user, 0, now_ms);
        }
    }

    /// Whether [`Self::sweep_some`] has something to do.
    pub fn has_sweeps(&self) -> bool {
        !self.sweeps.is_empty() || !self.cluster.meets.is_empty()
    }
}
