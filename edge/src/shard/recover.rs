//! Where a subscription starts, and whether it misses anything there.
//!
//! Purpose: a subscription continues from a position that the client names, or on a
//! channel with cursors from its device's, if the log or the archive can prove that
//! nothing is missed; the client is told how many events follow, or why they cannot. A
//! `Subscribe` whose position is not in the log waits until the archive has been asked.
//! On a conflated channel, which keeps no history, the last values follow.
//!
//! Invariant: `recovered` in `Subscribed` is said of what was looked at. A resumed
//! session does not wait; there the archive is presumed to have what the namespace
//! keeps, and a gap that it finds is announced by `Position`.
//!
//! Limits: look-ups belong to requests that wait, which `mesh` bounds; at most
//! `CHANNELS_PER_REQUEST` for each. A subscription is noted as unproven at most once.
//!
//! Thread: the home shard of the session.

use std::collections::{HashMap, HashSet};

use interlink_protocol::channel::ChannelName;
use interlink_protocol::frame::RecoveryFields;
use interlink_protocol::ids::Position;
use interlink_protocol::limits::UNAVAILABLE_RETRY_MS;
use interlink_protocol::namespace::NamespacePolicy;
use interlink_protocol::session::resume::{decide_recovery, History, NextEvent, Recovery};
use interlink_relay::files::{Gap, HistoryFloor};
use interlink_uring::SocketId;
use interlink_wire as wire;

use super::behind::Behind;
use super::channel::SubscriptionState;
use super::connection::NONE;
use super::files::{CursorAnswer, CursorWish, FilesRequest, Finding, LookUpAnswer, LookUpWish};
use super::judged::Doubts;
use super::Shard;

/// What the archive was asked for a request that waits.
#[derive(Debug)]
struct LookUp {
    channel: Box<str>,
    after: Position,
    finding: Option<Finding>,
}

/// Look-ups of requests and publishes that wait, by connection.
#[derive(Debug, Default)]
pub struct LookUps {
    waiting: HashMap<SocketId, Vec<LookUp>>,
    /// Channels whose cursors are asked for, and whether they have come.
    cursors: HashMap<SocketId, Vec<(Box<str>, bool)>>,
    /// Publishes that wait for the archive.
    pub doubts: Doubts,
    /// Subscriptions of channels with cursors that are live although nobody could say what came
    /// before. Their acknowledgements move no cursor: they would skip what was never sent.
    pub unproven: HashSet<u32>,
}

impl LookUps {
    fn find(&self, socket: SocketId, channel: &str, after: Position) -> Option<&LookUp> {
        let mut asked = self.waiting.get(&socket)?.iter();
        asked.find(|look_up| &*look_up.channel == channel && look_up.after == after)
    }

    /// Forgets what was looked up for a connection.
    pub fn forget(&mut self, socket: SocketId) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&socket);
        }
        if !self.cursors.is_empty() {
            self.cursors.remove(&socket);
        }
    }

    /// Whether a connection waits for no answer.
    fn are_answered(&self, socket: SocketId) -> bool {
        let mut positions = self.waiting.get(&socket).into_iter().flatten();
        let mut cursors = self.cursors.get(&socket).into_iter().flatten();
        positions.all(|look_up| look_up.finding.is_some()) && cursors.all(|(_, came)| *came)
    }

    /// Takes an answer; whether the connection waited for it and waits for no other.
    fn answer(&mut self, answer: &LookUpAnswer) -> bool {
        let wish = &answer.wish;
        let Some(asked) = self.waiting.get_mut(&wish.socket) else {
            return false;
        };
        let same =
            |look_up: &&mut LookUp| look_up.channel == wish.channel && look_up.after == wish.after;
        if let Some(look_up) = asked.iter_mut().find(same) {
            look_up.finding = Some(answer.finding);
        }
        self.are_answered(wish.socket)
    }

    /// As [`Self::answer`], for a cursor.
    fn answer_cursor(&mut self, wish: &CursorWish) -> bool {
        let Some(asked) = self.cursors.get_mut(&wish.socket) else {
            return false;
        };
        if let Some(cursor) = asked.iter_mut().find(|(name, _)| *name == wish.channel) {
            cursor.1 = true;
        }
        self.are_answered(wish.socket)
    }
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// The position at which it is pinned.
    pub position: Position,
    /// What became of the wish.
    pub recovery: RecoveryFields,
}

impl Shard {
    /// What the namespace of a channel keeps of it.
    pub(super) fn history_floor(&self, policy: &NamespacePolicy) -> HistoryFloor {
        let age_us = u64::from(policy.history_age_s) * 1_000_000;
        HistoryFloor {
            events: policy.history_events,
            accepted_us: self.clock.unix_us.saturating_sub(age_us),
        }
    }

    /// The position from which a session wants the events of a channel, if it wants past ones.
    fn wanted_start(
        &mut self,
        session: u32,
        channel: u32,
        named: Option<Position>,
        begins: bool,
    ) -> Option<Position> {
        let entry = &self.channels[channel];
        if named.is_some() || !self.policy(entry.policy).cursor {
            return named;
        }
        // Where nothing was ever published, the beginning is now.
        let empty = entry.sequencer.top().offset == 0;
        let start = self.cursor_start(session, channel, begins);
        (!empty || start != Position::ZERO).then_some(start)
    }

    /// Whether the log or the channel's top alone tell what follows a position.
    fn is_near(&self, channel: u32, wanted: Position) -> bool {
        let entry = &self.channels[channel];
        let top = self.logs.visible_position(entry);
        !self.policy(entry.policy).durable
            || (wanted.offset, wanted.chain) == (top.offset, top.chain)
            || self.logs.find(entry, wanted).is_some()
    }

    /// Whether the request names positions that only the archive knows; it is asked, and the
    /// request has to wait. Nobody asks for what will be refused.
    pub(super) fn awaits_archive(&mut self, connection: u32, frame: &wire::Subscribe<'_>) -> bool {
        let session = self.connections[connection].session;
        if session == NONE {
            return false;
        }
        let mut awaits = false;
        for entry in frame.channels() {
            let Some(channel) = self.find_channel(entry.channel()) else {
                continue;
            };
            let named = entry.recover().map(Position::from);
            if named.is_none() && self.awaits_cursor(connection, &entry, channel) {
                awaits = true;
                continue;
            }
            let Some(wanted) = self.wanted_start(session, channel, named, false) else {
                continue;
            };
            if !self.is_near(channel, wanted) {
                awaits |= self.awaits_look_up(connection, &entry, channel, wanted);
            }
        }
        awaits
    }

    fn awaits_look_up(
        &mut self,
        connection: u32,
        entry: &wire::SubscribeChannel<'_>,
        channel: u32,
        wanted: Position,
    ) -> bool {
        let record = &self.connections[connection];
        let (socket, session) = (record.socket, record.session);
        if let Some(asked) = self.look_ups.find(socket, entry.channel(), wanted) {
            return asked.finding.is_none();
        }
        let permitted = ChannelName::parse(entry.channel())
            .is_ok_and(|name| self.check_permission(session, &name, entry.token()).is_ok());
        if !permitted || self.find_subscription(session, channel).is_some() {
            return false;
        }
        let name: Box<str> = entry.channel().into();
        let asked = self.look_ups.waiting.entry(socket).or_default();
        asked.push(LookUp {
            channel: name.clone(),
            after: wanted,
            finding: None,
        });
        self.files.request(FilesRequest::LookUp(LookUpWish {
            shard: self.id,
            socket,
            channel: name,
            after: wanted,
            floor: self.history_floor(self.policy(self.channels[channel].policy)),
        }));
        true
    }

    /// Whether the cursor of the connection's device has to be asked for: it may have moved on
    /// another node since it was last seen here.
    fn awaits_cursor(
        &mut self,
        connection: u32,
        entry: &wire::SubscribeChannel<'_>,
        channel: u32,
    ) -> bool {
        if !self.has_archive() || !self.policy(self.channels[channel].policy).cursor {
            return false;
        }
        let record = &self.connections[connection];
        let (socket, session) = (record.socket, record.session);
        let asked = self.look_ups.cursors.get(&socket).into_iter().flatten();
        if let Some((_, came)) = asked.clone().find(|(name, _)| **name == *entry.channel()) {
            return !came;
        }
        let permitted = ChannelName::parse(entry.channel())
            .is_ok_and(|name| self.check_permission(session, &name, entry.token()).is_ok());
        if !permitted || self.find_subscription(session, channel).is_some() {
            return false;
        }
        let name: Box<str> = entry.channel().into();
        let asked = self.look_ups.cursors.entry(socket).or_default();
        asked.push((name.clone(), false));
        self.files
            .request(FilesRequest::Cursor(Box::new(CursorWish {
                shard: self.id,
                socket,
                user: self.users[self.sessions[session].user].name.clone(),
                device: self.cursors.device(session).into(),
                channel: name,
            })));
        true
    }

    /// The archive has told where a device continues, or cannot: then what is known here counts,
    /// behind which events may come again.
    pub(super) fn on_cursor(&mut self, answer: &CursorAnswer) {
        if let Some(Some(start)) = answer.cursor {
            self.cursors.take_elsewhere(&answer.wish, start);
        }
        let socket = answer.wish.socket;
        let is_last = self.look_ups.answer_cursor(&answer.wish);
        self.go_on_after_look_up(socket, is_last);
    }

    /// The archive has looked a position up.
    pub(super) fn on_found(&mut self, answer: &LookUpAnswer) {
        let is_last = self.look_ups.answer(answer);
        self.go_on_after_look_up(answer.wish.socket, is_last);
    }

    fn go_on_after_look_up(&mut self, socket: SocketId, is_last: bool) {
        if is_last {
            self.retry_deferred_of(socket);
        }
        let waits = self.deferred.iter().any(|entry| entry.0 == socket);
        if !waits {
            self.look_ups.forget(socket);
        }
    }

    /// Points a new subscription at the position that is wanted, or at the newest event.
    pub(super) fn start(&mut self, subscription: u32, named: Option<Position>) -> Start {
        let sub = &self.subscriptions[subscription];
        let (session, channel, connection) = (sub.session, sub.channel, sub.connection);
        let wanted = self.wanted_start(session, channel, named, true);
        let finding = wanted.and_then(|wanted| {
            let socket = self.connections[connection].socket;
            let name = &self.channels[channel].name;
            self.look_ups.find(socket, name, wanted)?.finding
        });
        self.recover(subscription, wanted, finding)
    }

    /// As [`Self::start`], for a subscription of a session that is resumed.
    pub(super) fn start_again(&mut self, subscription: u32, named: Option<Position>) -> Start {
        let sub = &self.subscriptions[subscription];
        let wanted = self.wanted_start(sub.session, sub.channel, named, true);
        self.recover(subscription, wanted, None)
    }

    fn recover(
        &mut self,
        subscription: u32,
        wanted: Option<Position>,
        finding: Option<Finding>,
    ) -> Start {
        // Where an earlier connection stood is of no use to this one.
        self.lagging.remove(subscription);
        self.behind.remove(&subscription);
        let channel = self.subscriptions[subscription].channel;
        let entry = &self.channels[channel];
        let top = self.logs.visible_position(entry);
        let end = self.logs.visible_end(entry);
        let in_log = wanted.and_then(|wanted| self.logs.find(entry, wanted));
        let decided = match (wanted, in_log) {
            // A position beyond what is visible is of an event whose write has not ended; it
            // can only come from before a restart, and its chain has just been checked.
            (Some(wanted), Some(_)) => Recovery::Complete {
                after: wanted.offset,
                following: top.offset.saturating_sub(wanted.offset),
            },
            _ => self.decide(channel, top, wanted, finding),
        };
        let sub = &mut self.subscriptions[subscription];
        sub.state = SubscriptionState::Live;
        sub.cursor = in_log.map_or(end, |cursor| cursor.min(end));
        let mut position = top;
        if let (Some(wanted), Recovery::Complete { following, .. }) = (wanted, decided) {
            position = in_present_epoch(wanted, top);
            if in_log.is_none() && following > 0 {
                sub.state = SubscriptionState::Behind;
                self.behind.insert(subscription, Behind::recovering(wanted));
            } else {
                self.note_progress(subscription);
            }
        }
        if let (Some(wanted), Recovery::NotRecovered { .. }) = (wanted, decided) {
            position = self.start_at_values(subscription, wanted).unwrap_or(top);
        }
        self.note_proof(subscription, channel, decided);
        match decided {
            Recovery::NotWanted => {}
            Recovery::Complete { .. } => self.counters.channels_recovered += 1,
            Recovery::NotRecovered { .. } => self.counters.channels_not_recovered += 1,
        }
        let oldest = match finding {
            Some(Finding::Broken(_, oldest)) => oldest,
            _ => None,
        };
        Start {
            position,
            recovery: decided.fields(oldest, UNAVAILABLE_RETRY_MS),
        }
    }

    /// Notes whether acknowledgements of a subscription say that nothing before them is missing.
    fn note_proof(&mut self, subscription: u32, channel: u32, decided: Recovery) {
        let temporary = matches!(
            decided,
            Recovery::NotRecovered {
                temporary: true,
                ..
            }
        );
        let unproven = &mut self.look_ups.unproven;
        if temporary
            && self
                .shared
                .namespaces
                .get(self.channels[channel].policy)
                .cursor
        {
            unproven.insert(subscription);
        } else if !unproven.is_empty() {
            unproven.remove(&subscription);
        }
    }

    /// Decides about a position that is not in the log. Without a finding, the archive is
    /// presumed to have what the namespace keeps.
    fn decide(
        &self,
        channel: u32,
        top: Position,
        wanted: Option<Position>,
        finding: Option<Finding>,
    ) -> Recovery {
        let policy = self.policy(self.channels[channel].policy);
        let (offset, chain) = wanted.map_or((0, 0), |wanted| (wanted.offset, wanted.chain));
        let (oldest, next) = match finding {
            None => {
                let kept = u64::from(policy.history_events);
                let oldest = (top.offset + 1).saturating_sub(kept);
                (oldest, NextEvent::PreviousChain(chain))
            }
            Some(Finding::Whole) => (0, NextEvent::PreviousChain(chain)),
            Some(Finding::Broken(Gap::Unknown, _)) => (0, NextEvent::PreviousChain(!chain)),
            Some(Finding::Broken(Gap::Retention, _)) => {
                (offset.saturating_add(2), NextEvent::NotYet)
            }
            Some(Finding::Unreadable) => (0, NextEvent::NotYet),
        };
        let history = History {
            top,
            oldest,
            ephemeral: !policy.durable,
        };
        decide_recovery(wanted, &history, |_| next)
    }
}

/// The wanted position as this start names it. The beginning of a channel, and its top, are the
/// same in every epoch; a client that kept an old one would take the next event for a new lineage.
fn in_present_epoch(wanted: Position, top: Position) -> Position {
    let is_top = (wanted.offset, wanted.chain) == (top.offset, top.chain);
    match is_top || wanted.offset == 0 {
        true => Position {
            epoch: top.epoch,
            ..wanted
        },
        false => wanted,
    }
}
