//! The asking side of a table: other nodes, and when nobody may have left.
//!
//! Purpose: keeps every node asked for what is wanted here, counts what they tell, gives up those
//! that do not answer, and says when a leave has to wait for their word.
//!
//! Runs on: the thread of the table.

use std::sync::Arc;

use super::cluster::Sending;
use super::heard::{Asking, Heard, Taken};
use super::message::{encode, Part, Word};
use super::table::{Due, PresenceTable};
use super::{NoRoom, Round};
use crate::backplane::NodeId;
use crate::limits::{PRESENCE_ASK_AGAIN_MS, PRESENCE_NODE_BYTES, PRESENCE_WAIT_MS};

/// Streams of a node that never told everything and whose users count nevertheless.
const STALE_MAX: usize = 4;

impl PresenceTable {
    /// Somebody of this node wants to know the scope: other nodes are asked from now on.
    pub(super) fn want(&mut self, round: Round, now_ms: u64) -> Result<(), NoRoom> {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return Err(NoRoom);
        };
        if scope.is_wanted {
            return Ok(());
        }
        scope.is_wanted = true;
        let nodes = Arc::clone(&self.cluster.nodes);
        for node in nodes.iter().copied() {
            if let Err(NoRoom) = self.add_node(round, node) {
                self.unwant(round);
                return Err(NoRoom);
            }
        }
        for node in nodes.iter().copied() {
            self.ask(round, node, now_ms);
        }
        if self.cluster.is_connected && !nodes.is_empty() {
            self.due
                .insert((now_ms + PRESENCE_WAIT_MS, Due::Settle(round)));
        } else {
            self.settle(round);
        }
        Ok(())
    }

    /// Nobody of this node wants to know it any more.
    pub(super) fn unwant(&mut self, round: Round) {
        self.stop_asking(round);
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        scope.is_wanted = false;
        scope.forget_ms = None;
        scope.touched.clear();
        scope.unnamed = false;
        if scope.answering.is_idle() {
            self.rest(round);
        }
    }

    /// Other nodes need not tell anything of the scope.
    pub(super) fn stop_asking(&mut self, round: Round) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let name = Arc::clone(&scope.name);
        let asked: Vec<(NodeId, u64)> = scope
            .asking
            .nodes
            .iter()
            .map(|(node, heard)| (*node, heard.number))
            .collect();
        for (node, number) in asked {
            if number != 0 {
                self.cluster.say(node, &name, &Word::Rest { number });
            }
            self.lose_node(round, node);
        }
        if let Some(scope) = self.scopes.get_mut(&round) {
            if let Some(look_ms) = scope.asking.look_ms {
                self.due.remove(&(look_ms, Due::Look(round)));
            }
            scope.asking = Asking::default();
        }
    }

    pub(super) fn heard(&mut self, round: Round, node: NodeId) -> Option<&mut Heard> {
        self.scopes.get_mut(&round)?.asking.nodes.get_mut(&node)
    }

    pub(super) fn has_node(&mut self, round: Round, node: NodeId) -> bool {
        self.heard(round, node).is_some()
    }

    pub(super) fn add_node(&mut self, round: Round, node: NodeId) -> Result<(), NoRoom> {
        let own = self.rules.sources;
        let Some(scope) = self.scopes.get_mut(&round) else {
            return Ok(());
        };
        if self.bytes + PRESENCE_NODE_BYTES > self.rules.bytes_max {
            return Err(NoRoom);
        }
        self.bytes += PRESENCE_NODE_BYTES;
        let source = scope.next_source(own);
        scope.asking.nodes.insert(node, Heard::new(source));
        Ok(())
    }

    pub(super) fn lose_node(&mut self, round: Round, node: NodeId) {
        let scope = self.scopes.get_mut(&round);
        let heard = scope.and_then(|scope| scope.asking.nodes.remove(&node));
        if let Some(heard) = heard {
            self.bytes -= PRESENCE_NODE_BYTES;
            for source in heard.stale.into_iter().chain([heard.source]) {
                self.sweep(round, source);
            }
        }
    }

    /// Whoever waits for other nodes has waited long enough.
    pub(super) fn settle(&mut self, round: Round) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if scope.is_wanted && !scope.asking.is_ready {
            scope.asking.is_ready = true;
            self.become_ready(round);
        }
    }

    pub(super) fn check_answers(&mut self, round: Round) {
        let scope = self.scopes.get(&round);
        if scope.is_some_and(|scope| scope.asking.is_whole()) {
            self.settle(round);
        }
    }

    /// Asks a node, or as soon as that may be again.
    pub(super) fn ask(&mut self, round: Round, node: NodeId, now_ms: u64) {
        if !self.cluster.is_connected {
            return;
        }
        let Some(heard) = self.heard(round, node) else {
            return;
        };
        if !heard.is_listed {
            if now_ms < heard.may_ask_ms() {
                heard.is_wanted = true;
            } else {
                let is_listed = self.cluster.list(Sending::Ask(round, node));
                if let Some(heard) = self.heard(round, node) {
                    heard.is_listed = is_listed;
                }
            }
        }
        self.plan_look(round, now_ms);
    }

    fn plan_look(&mut self, round: Round, now_ms: u64) {
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let asking = &mut scope.asking;
        if let Some(old_ms) = asking.look_ms.take() {
            self.due.remove(&(old_ms, Due::Look(round)));
        }
        // What waits to be sent is looked at again when it may have to be repeated.
        let next_ms = asking.next_look_ms();
        let next_ms = next_ms.map(|at_ms| at_ms.max(now_ms + PRESENCE_ASK_AGAIN_MS));
        asking.look_ms = next_ms;
        self.due
            .extend(next_ms.map(|at_ms| (at_ms, Due::Look(round))));
    }

    /// Asks nodes whose time has come, and gives up those that do not answer.
    pub(super) fn look_who_to_ask(&mut self, round: Round, at_ms: u64, now_ms: u64) {
        let own = self.rules.sources;
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        if scope.asking.look_ms != Some(at_ms) {
            return;
        }
        scope.asking.look_ms = None;
        if !self.cluster.is_connected {
            return;
        }
        let nodes: Vec<NodeId> = scope.asking.nodes.keys().copied().collect();
        for node in nodes {
            let Some(scope) = self.scopes.get_mut(&round) else {
                return;
            };
            let Some(heard) = scope.asking.nodes.get(&node) else {
                continue;
            };
            let is_due = heard.next_ask_ms() <= now_ms;
            if heard.is_overdue(now_ms) {
                self.cluster.counts.silences += 1;
                let fresh = scope.next_source(own);
                let Some(heard) = scope.asking.nodes.get_mut(&node) else {
                    continue;
                };
                for source in heard.fall_silent(fresh) {
                    self.sweep(round, source);
                }
            }
            if is_due {
                self.ask(round, node, now_ms);
            }
        }
        self.plan_look(round, now_ms);
        self.check_answers(round);
    }

    /// When it is tried again to let somebody leave of whom nothing was heard since `absent_ms`;
    /// none when that may be now.
    pub(super) fn postpone(&mut self, round: Round, absent_ms: u64, now_ms: u64) -> Option<u64> {
        let scope = self.scopes.get_mut(&round)?;
        if scope.held_until_ms > now_ms {
            return Some(scope.held_until_ms);
        }
        let nodes = scope.asking.nodes.iter();
        let unsure: Vec<NodeId> = nodes
            .filter(|(_, heard)| {
                let is_sure = heard.confirmed_ms.is_some_and(|at_ms| at_ms >= absent_ms);
                !heard.is_silent && !is_sure
            })
            .map(|(node, _)| *node)
            .collect();
        if unsure.is_empty() {
            return None;
        }
        self.cluster.counts.postponed += 1;
        // Whoever else leaves the scope meanwhile would have to wait too.
        let again_ms = now_ms + PRESENCE_ASK_AGAIN_MS;
        scope.held_until_ms = again_ms;
        for node in unsure {
            self.ask(round, node, now_ms);
        }
        Some(again_ms)
    }

    pub(super) fn on_part(&mut self, from: NodeId, round: Round, part: &Part, now_ms: u64) {
        let own = self.rules.sources;
        let Some(scope) = self.scopes.get_mut(&round) else {
            return;
        };
        let known = scope.asking.nodes.get(&from);
        let begins = known.is_some_and(|heard| heard.begins_anew(part));
        let fresh = begins.then(|| scope.next_source(own));
        let Some(heard) = scope.asking.nodes.get_mut(&from) else {
            return;
        };
        let taken = heard.take(part, fresh);
        let (source, stale) = (heard.source, heard.stale.clone());
        let is_whole = heard.is_whole;
        match taken {
            Taken::Gap => {
                self.cluster.counts.gaps += 1;
                return self.ask(round, from, now_ms);
            }
            Taken::Old => {}
            Taken::First | Taken::Next => {
                if taken == Taken::First {
                    scope.held_until_ms = now_ms + self.rules.grace_ms;
                }
                for (user, devices) in &part.users {
                    self.count(round, (source, &stale), user, *devices, now_ms);
                }
            }
        }
        if is_whole && !stale.is_empty() || stale.len() > STALE_MAX {
            if let Some(heard) = self.heard(round, from) {
                heard.stale.clear();
            }
            stale.into_iter().for_each(|it| self.sweep(round, it));
        }
        self.check_answers(round);
    }

    pub(super) fn make_ask(
        &mut self,
        round: Round,
        node: NodeId,
        now_ms: u64,
    ) -> Option<(NodeId, Vec<u8>)> {
        let number = self.cluster.last_ask + 1;
        let is_connected = self.cluster.is_connected;
        let scope = self.scopes.get_mut(&round)?;
        let heard = scope.asking.nodes.get_mut(&node)?;
        if !is_connected {
            heard.is_listed = false;
            return None;
        }
        heard.ask(number, now_ms);
        let word = Word::Ask {
            number,
            stream: heard.stream,
            version: heard.version,
        };
        self.cluster.last_ask = number;
        let message = encode(&scope.name, &word);
        self.plan_look(round, now_ms);
        Some((node, message))
    }
}
