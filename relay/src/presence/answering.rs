//! The answering side of a table: other nodes that ask, and what they are told.
//!
//! Purpose: notes every change of a user of this node, gathers for a moment, and makes parts for
//! those that ask, for as long as their asking lasts.
//!
//! Runs on: the thread of the table.

use std::sync::Arc;

use super::changes::{Answering, Ask};
use super::cluster::Sending;
use super::message::{encode, Word};
use super::table::{Due, PresenceTable};
use super::Round;
use crate::backplane::NodeId;
use crate::limits::{NODES_MAX, PRESENCE_GATHER_MS, PRESENCE_NODE_BYTES};

impl PresenceTable {
    /// The devices of a user of this node have changed.
    pub(super) fn note(&mut self, round: Round, user: &Arc<str>, now_ms: u64) {
        let own = self.rules.sources;
        if !self.rules.is_clustered {
            return;
        }
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let Some(member) = scope.members.get_mut(user) else {
            return;
        };
        let answering = &mut scope.answering;
        let before = answering.bytes();
        let is_here = member.devices_below(own) > 0;
        answering.note(user, &mut member.version, is_here);
        self.bytes = self.bytes + answering.bytes() - before;
        if !answering.is_idle() && answering.gather_ms.is_none() {
            // Changes of all scopes leave together.
            let gather_ms = (now_ms / PRESENCE_GATHER_MS + 1) * PRESENCE_GATHER_MS;
            answering.gather_ms = Some(gather_ms);
            self.due.insert((gather_ms, Due::Gather(round)));
        }
    }

    /// Tells nodes that ask what has changed.
    pub(super) fn answer_changes(&mut self, round: Round) {
        if let Some(scope) = self.scopes.get_mut(&round) {
            scope.answering.gather_ms = None;
        }
        self.answer_all(round);
    }

    /// Tells nodes that ask what they have not been told.
    pub(super) fn answer_all(&mut self, round: Round) {
        let Some(scope) = self.scopes.get(&round) else {
            return;
        };
        let askers: Vec<NodeId> = scope.answering.askers().collect();
        askers.into_iter().for_each(|node| self.answer(round, node));
    }

    pub(super) fn answer(&mut self, round: Round, node: NodeId) {
        let cluster = &mut self.cluster;
        if let Some(scope) = self.scopes.get_mut(&round) {
            let list = || cluster.list(Sending::Part(round, node));
            scope.answering.list(node, list);
        }
    }

    pub(super) fn on_ask(&mut self, from: NodeId, scope: &str, ask: Ask, now_ms: u64) {
        let Ok(round) = self.open(scope) else {
            return self.cluster.say(from, scope, &Word::NoRoom);
        };
        let Some(entry) = self.scopes.get(&round) else {
            return;
        };
        let is_known = entry.answering.askers().any(|node| node == from);
        let is_full = entry.answering.askers().count() >= NODES_MAX
            || self.bytes + PRESENCE_NODE_BYTES > self.rules.bytes_max;
        if !is_known && is_full {
            self.cluster.say(from, scope, &Word::NoRoom);
            self.change_askers(round, |_| ());
            return;
        }
        self.cluster.last_stream += 1;
        let fresh = self.cluster.last_stream;
        let is_new = self.change_askers(round, |it| it.ask(from, ask, fresh, now_ms));
        if is_new == Some(true) {
            self.answer(round, from);
        }
    }

    /// Askings that were not repeated in time have ended.
    pub(super) fn end_askings(&mut self, round: Round, at_ms: u64, now_ms: u64) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if scope.answering.look_ms != Some(at_ms) {
            return;
        }
        scope.answering.look_ms = None;
        self.change_askers(round, |answering| answering.end_leases(now_ms));
    }

    /// Nodes that ask come or go: bytes, the next end, and whether the scope is still needed.
    pub(super) fn change_askers<T>(
        &mut self,
        round: Round,
        change: impl FnOnce(&mut Answering) -> T,
    ) -> Option<T> {
        let scope = self.scopes.get_mut(&round)?;
        let answering = &mut scope.answering;
        let before = answering.bytes();
        let changed = change(answering);
        self.bytes = self.bytes + answering.bytes() - before;
        if answering.look_ms.is_none() {
            answering.look_ms = answering.next_end_ms();
            let look = answering.look_ms.map(|at_ms| (at_ms, Due::End(round)));
            self.due.extend(look);
        }
        if answering.is_idle() && !scope.is_wanted {
            self.rest(round);
        }
        Some(changed)
    }

    /// Nodes that ask are told that there is no room.
    pub(super) fn refuse_askers(&mut self, round: Round) {
        let Some(scope) = self.scopes.get(&round) else {
            return;
        };
        for node in scope.answering.askers() {
            self.cluster.say(node, &scope.name, &Word::NoRoom);
        }
    }

    pub(super) fn make_part(&mut self, round: Round, node: NodeId) -> Option<(NodeId, Vec<u8>)> {
        let own = self.rules.sources;
        let scope = self.scopes.get_mut(&round)?;
        let is_complete = scope.awaited.is_empty();
        let part = scope
            .answering
            .part(node, &scope.members, (own, is_complete))?;
        let message = encode(&scope.name, &Word::Part(part));
        self.answer(round, node);
        Some((node, message))
    }
}
