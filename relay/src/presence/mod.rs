//! Who is present where: the scopes that one owner keeps, without I/O or clock.
//!
//! Purpose: a scope is a channel whose presence somebody wants to know. Its owner asks all
//! sources for the users that they have there; from then on they tell every change as the number
//! of a user's devices, which may be told again. The table joins the sources, waits for the grace
//! before it believes that a user has left, gathers changes for an interval, and gives pages in
//! the order of names. A scope that nobody asks for is forgotten, and costs nothing.
//!
//! In a cluster the owner of the channel on every other node is a source too. A table that is
//! asked for a scope by watchers or readers asks the tables of the other nodes, and tells those
//! that ask it about the users of its own node. What travels is lost at times: parts of answers
//! are numbered, what is missing is asked for again, and every ask has to be repeated within a
//! lease. Which nodes live is decided by [`LeaseTable`].
//!
//! Map: `table` has the scopes; `scope` and `member` are what it holds; `asking` asks other nodes
//! and `heard` is how far each is known; `answering` tells them of what is in `changes`; `cluster`
//! is between both and other nodes, `message` what travels; `sweep` removes users in portions;
//! `leases` knows who lives.
//!
//! Order of a driver: [`PresenceTable::advance`] with the time of a turn first, then what came,
//! then [`PresenceTable::next_action`] and [`PresenceTable::next_message`] until there is none.
//!
//! Invariants: a user is told to have left a grace after the last device of the last source, not
//! before; who comes back within it is told nothing about. What a source says of an earlier round
//! changes nothing. A change with names is what became of everybody who moved since the change
//! before it; one without names says the count alone, and who needs names reads the pages.
//! Pages: a user who is present from the first page to the last is listed exactly once.
//! In a cluster nobody is told to have left before every node that lives has said that the user
//! is not there, after the last that was heard of the user, and nobody while the backplane is away
//! and for one lease afterwards. A node that does not answer for a lease counts as dead.
//!
//! Limits: work that grows with users is done in portions: [`PresenceTable::advance`],
//! [`PresenceTable::sweep_some`], [`PresenceTable::free_some`]. [`PresenceRules::bytes_max`] bounds
//! all scopes together, users of other nodes included; one that grows beyond it is dropped as a
//! whole, and whoever watches it is told. In a scope of up to [`PRESENCE_NAMED_MAX`] users the
//! moves of an interval are named, if they fit one frame.
//! Runs on: the thread that owns the scopes.
//!
//! [`PRESENCE_NAMED_MAX`]: crate::limits::PRESENCE_NAMED_MAX

mod answering;
mod asking;
mod changes;
mod cluster;
mod heard;
mod leases;
mod member;
mod message;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pairs;
mod scope;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use leases::{ClusterView, LeaseTable};
pub use member::Source;
pub use message::PresenceFrame;
pub use table::PresenceTable;

/// One time that a scope is kept; a scope that was forgotten gets another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Round(pub u64);

/// What a table keeps to.
#[derive(Clone, Copy, Debug)]
pub struct PresenceRules {
    /// Sources 0 to this one, exclusive; other nodes have numbers above.
    pub sources: Source,
    /// Whether the node is one of a cluster.
    pub is_clustered: bool,
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
    /// Whether another node could not be asked or has not answered, so that its users are those
    /// that were known last.
    pub is_stale: bool,
}

/// Everything is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PresenceAction {
    /// Ask every source of this node for its users of the scope, and for changes from now on.
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
    /// All sources have told what they have, or do not answer: pages can be read.
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

/// What happened between a table and other nodes so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClusterCounts {
    /// Messages to other nodes.
    pub sent: u64,
    /// Messages of other nodes that were read.
    pub heard: u64,
    /// Messages that had no form.
    pub invalid: u64,
    /// Parts that did not follow what was known, so that it was asked again.
    pub gaps: u64,
    /// Times that a node did not answer for a lease.
    pub silences: u64,
    /// Times that leaves of a scope waited for the word of another node.
    pub postponed: u64,
}
