//! A table among the tables of other nodes: who they are, and what travels between them.
//!
//! Purpose: carries asks, parts and ends of leases between the scopes and what travels. Messages
//! are made when the driver takes them, so that what waits for it is a list of whom to tell and not
//! what.
//!
//! Limits: at most [`PRESENCE_WORDS_MAX`] short messages wait, others wait once for each node and
//! scope, [`PRESENCE_SENDS_MAX`] in all.
//! Runs on: the thread of the table.

use std::collections::VecDeque;
use std::sync::Arc;

use super::changes::Ask;
use super::message::{decode, encode, Word};
use super::table::PresenceTable;
use super::{ClusterCounts, ClusterView, Round};
use crate::backplane::NodeId;
use crate::limits::{LEASE_MS, PRESENCE_SENDS_MAX, PRESENCE_WORDS_MAX};

/// Somebody to be told something.
#[derive(Debug)]
pub(super) enum Sending {
    Ask(Round, NodeId),
    Part(Round, NodeId),
    Word(NodeId, Vec<u8>),
}

/// What a table knows of other nodes.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Whether there are any.
    pub(super) is_clustered: bool,
    pub(super) nodes: Arc<[NodeId]>,
    pub(super) is_connected: bool,
    returns: u64,
    held_until_ms: u64,
    /// Scopes that do not know yet what has changed among the nodes, and whether they have to ask
    /// all of them again.
    pub(super) meets: Vec<Round>,
    meets_anew: bool,
    pub(super) sends: VecDeque<Sending>,
    words: usize,
    pub(super) last_ask: u64,
    pub(super) last_stream: u64,
    pub(super) counts: ClusterCounts,
}

impl Cluster {
    pub(super) fn new(is_clustered: bool) -> Self {
        Self {
            is_clustered,
            nodes: Arc::default(),
            is_connected: false,
            returns: 0,
            held_until_ms: 0,
            meets: Vec::new(),
            meets_anew: false,
            sends: VecDeque::new(),
            words: 0,
            last_ask: 0,
            last_stream: 0,
            counts: ClusterCounts::default(),
        }
    }

    /// Until when nobody may be told to have left; none while that is not known.
    pub(super) fn held_until_ms(&self) -> Option<u64> {
        let is_known = !self.is_clustered || (self.is_connected && self.meets.is_empty());
        is_known.then_some(self.held_until_ms)
    }

    /// Lists somebody to be told something; says whether there was room. What finds none is asked
    /// again.
    pub(super) fn list(&mut self, sending: Sending) -> bool {
        let has_room = self.sends.len() < PRESENCE_SENDS_MAX;
        if has_room {
            self.sends.push_back(sending);
        }
        has_room
    }

    pub(super) fn say(&mut self, to: NodeId, scope: &str, word: &Word) {
        if self.words < PRESENCE_WORDS_MAX {
            self.words += 1;
            self.sends.push_back(Sending::Word(to, encode(scope, word)));
        }
    }
}

impl PresenceTable {
    /// Takes over what is known of the cluster. Nodes that are gone count no more, nodes that are
    /// new are asked for everything that is wanted, and all are asked again when the backplane has
    /// come back or may have forgotten something: by [`Self::sweep_some`], scope by scope.
    pub fn set_cluster(&mut self, view: &ClusterView, now_ms: u64) {
        let cluster = &mut self.cluster;
        let is_back = view.is_connected && !cluster.is_connected;
        let has_returned = is_back || view.returns != cluster.returns;
        cluster.is_connected = view.is_connected;
        cluster.returns = view.returns;
        cluster.nodes = Arc::clone(&view.nodes);
        if has_returned {
            cluster.held_until_ms = now_ms + LEASE_MS;
        }
        cluster.meets_anew |= has_returned;
        self.cluster.meets = self.scopes.keys().copied().collect();
    }

    /// Lets no more than `most` scopes know what has changed among the nodes.
    pub(super) fn meet_some(&mut self, now_ms: u64, most: usize) {
        for _ in 0..most {
            let Some(round) = self.cluster.meets.pop() else {
                self.cluster.meets_anew = false;
                return;
            };
            if self.scopes.get(&round).is_some_and(|scope| scope.is_wanted) {
                self.meet_nodes(round, self.cluster.meets_anew, now_ms);
            }
        }
    }

    fn meet_nodes(&mut self, round: Round, has_returned: bool, now_ms: u64) {
        let nodes = Arc::clone(&self.cluster.nodes);
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let known = scope.asking.nodes.keys().copied();
        let gone: Vec<NodeId> = known
            .filter(|node| nodes.binary_search(node).is_err())
            .collect();
        for node in gone {
            self.lose_node(round, node);
        }
        for node in nodes.iter().copied() {
            if !self.has_node(round, node) && self.add_node(round, node).is_err() {
                return self.drop_scope(round);
            }
            if has_returned {
                if let Some(heard) = self.heard(round, node) {
                    heard.doubt();
                }
                self.ask(round, node, now_ms);
            } else if self.heard(round, node).is_some_and(|it| it.number == 0) {
                self.ask(round, node, now_ms);
            }
        }
        self.check_answers(round);
    }

    /// Takes a message of another node.
    pub fn on_message(&mut self, from: NodeId, message: &[u8], now_ms: u64) {
        let Some((scope, word)) = decode(message) else {
            self.cluster.counts.invalid += 1;
            return;
        };
        self.cluster.counts.heard += 1;
        let round = self.rounds.get(scope).copied();
        match (word, round) {
            (
                Word::Ask {
                    number,
                    stream,
                    version,
                },
                _,
            ) => {
                let ask = Ask {
                    number,
                    stream,
                    version,
                };
                self.on_ask(from, scope, ask, now_ms);
            }
            (Word::Rest { number }, Some(round)) => {
                self.change_askers(round, |answering| answering.rest(from, number));
            }
            (Word::Part(part), Some(round)) => self.on_part(from, round, &part, now_ms),
            // It says so only to those whom it would have to tell.
            (Word::NoRoom, Some(round)) if self.has_node(round, from) => self.drop_scope(round),
            _ => {}
        }
    }

    /// The next message for another node. What waits while the backplane is away is dropped: all
    /// is asked again when it is back.
    pub fn next_message(&mut self, now_ms: u64) -> Option<(NodeId, Vec<u8>)> {
        while let Some(sending) = self.cluster.sends.pop_front() {
            let message = match sending {
                Sending::Ask(round, node) => self.make_ask(round, node, now_ms),
                Sending::Part(round, node) => self.make_part(round, node),
                Sending::Word(node, word) => {
                    self.cluster.words -= 1;
                    Some((node, word))
                }
            };
            if let Some(message) = message.filter(|_| self.cluster.is_connected) {
                self.cluster.counts.sent += 1;
                return Some(message);
            }
        }
        None
    }

    /// Whether [`Self::next_message`] has something.
    pub fn has_messages(&self) -> bool {
        !self.cluster.sends.is_empty()
    }

    /// Whether what is known of other nodes may be old, since the backplane is away.
    pub(super) fn is_stale(&self) -> bool {
        self.cluster.is_clustered && !self.cluster.is_connected
    }

    /// What happened between this table and others.
    pub fn cluster_counts(&self) -> ClusterCounts {
        self.cluster.counts
    }
}
