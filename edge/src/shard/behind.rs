//! Subscriptions that get past events page by page.
//!
//! Purpose: a subscriber whose next event is no longer in the channel's log reads
//! history from the retained journal, one page at a time and never more than its
//! socket has taken, until it reaches the log and goes live. Channels of P2 and P3
//! do not go back: what a slow client missed there is counted and announced.
//!
//! Invariants: nothing of the channel is sent from the log while a page is awaited,
//! so order holds; a page is used only by the wish that it answers.
//!
//! Limits: one page at a time for the subscriptions of a connection, so that it fits the
//! replies that may wait; [`HISTORIES_PER_CONNECTION`] and [`HISTORIES_PER_SHARD`] requests.
//!
//! Thread: the shard; pages are read by the journal-files thread.

use interlink_protocol::frame::HistoryPageFields;
use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;
use interlink_protocol::{channel::ChannelName, ErrorCode};
use interlink_relay::files::HistoryFloor;
use interlink_wire as wire;

use super::channel::SubscriptionState;
use super::connection::{BLOCKED, FETCHING, LAGGING, NONE, SECURE};
use super::files::{FilesRequest, HistoryAnswer, HistoryFor, HistoryWish};
use super::Shard;

/// Events of one page.
const PAGE_EVENTS: usize = 100;
/// Bytes of events in a `HistoryPage`; the rest of a server frame is for what surrounds them.
const PAGE_BYTES: usize = interlink_protocol::limits::SERVER_FRAME_BYTES - 4 * 1024;

/// History requests of one connection that may wait for their answer.
const HISTORIES_PER_CONNECTION: u8 = 16;
/// History requests of a shard that may wait: what they have read is in memory at one time.
pub(super) const HISTORIES_PER_SHARD: usize = 256;

const _: () = {
    use interlink_protocol::limits::SERVER_FRAME_BYTES;
    use interlink_relay::limits::HISTORY_BYTES_MAX;
    // The last event of a page begins below the bound. Beside the page there is room for
    // replies that came meanwhile.
    let page = HISTORY_BYTES_MAX + SERVER_FRAME_BYTES;
    assert!(page + 32 * 1024 <= super::queues::QUEUE_BYTES_MAX);
    assert!(HISTORIES_PER_SHARD * page == crate::config::HISTORY_BYTES as usize);
};

/// What a subscription that is behind waits for.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// Last position that the client has.
    pub position: Position,
    /// Whether a page is being read.
    pub fetching: bool,
}

impl Behind {
    /// A subscription that continues after `position`.
    pub fn recovering(position: Position) -> Self {
        Self {
            position,
            fetching: false,
        }
    }
}

impl Shard {
    /// Whether the subscription's next bytes were given up; if so it is put behind, or the loss
    /// is announced. Nothing more of it may be planned before that has left.
    pub(super) fn overrun(&mut self, subscription: u32) -> bool {
        let sub = &self.subscriptions[subscription];
        let channel = &self.channels[sub.channel];
        if !self.logs.is_overrun(channel, sub.cursor) {
            return false;
        }
        let (tail, oldest) = self.logs.oldest(channel);
        let noted = self.lagging.remove(&subscription);
        debug_assert!(noted.is_some(), "a place that is cut off was noted before");
        let last = noted.unwrap_or(oldest);
        let priority = sub.priority;
        if matches!(priority, Priority::P0 | Priority::P1) {
            self.subscriptions[subscription].state = SubscriptionState::Behind;
            self.behind.insert(subscription, Behind::recovering(last));
            self.fetch_if_behind(subscription);
            return true;
        }
        let skipped = oldest.offset.saturating_sub(last.offset);
        self.subscriptions[subscription].cursor = tail;
        self.note_progress(subscription);
        self.announce_skipped(subscription, oldest, skipped, wire::PositionReason::Slow);
        true
    }

    fn announce_skipped(
        &mut self,
        subscription: u32,
        position: Position,
        skipped: u64,
        reason: wire::PositionReason,
    ) {
        let sub = self.subscriptions[subscription];
        self.counters.events_skipped.add(sub.priority, skipped);
        if sub.connection == NONE {
            return;
        }
        let mut encoder = self.take_encoder();
        let name = &self.channels[sub.channel].name;
        let frame = encoder.position(name, position, skipped, reason);
        self.queue_frame(sub.connection, frame);
        self.encoder = Some(encoder);
    }

    /// Remembers where a subscriber stands that a pass could not send to.
    ///
    /// Invariant: while its channel is not dirty, every live subscriber has been sent all that
    /// is visible, or stands in `lagging`; so the log may be trimmed and nobody's place is lost.
    pub(super) fn note_lagging(&mut self, subscription: u32) {
        if self.lagging.contains_key(&subscription) {
            return;
        }
        let sub = &self.subscriptions[subscription];
        let channel = &self.channels[sub.channel];
        if sub.state != SubscriptionState::Live || self.logs.is_overrun(channel, sub.cursor) {
            return;
        }
        let position = self.logs.position_at(channel, sub.cursor);
        self.lagging.insert(subscription, position);
    }

    /// Remembers where a subscriber stands after a send, unless it was sent everything.
    pub(super) fn note_progress(&mut self, subscription: u32) {
        if !self.lagging.is_empty() {
            self.lagging.remove(&subscription);
        }
        let sub = &self.subscriptions[subscription];
        if sub.cursor < self.logs.visible_end(&self.channels[sub.channel]) {
            self.note_lagging(subscription);
        }
    }

    /// Remembers where every subscriber of the channel stands, before its log is cut while a
    /// pass over them is due.
    pub(super) fn note_members(&mut self, channel: u32) {
        let end = self.logs.visible_end(&self.channels[channel]);
        for place in 0..self.channels[channel].member_count as usize {
            let subscription = self.members.members(&self.channels[channel])[place];
            if self.subscriptions[subscription].cursor < end {
                self.note_lagging(subscription);
            }
        }
    }

    /// An event found no memory: every member continues from history, or skips it.
    pub(super) fn overrun_members(&mut self, channel: u32) {
        let members: Vec<u32> = self.members.members(&self.channels[channel]).to_vec();
        for subscription in members {
            let sub = &self.subscriptions[subscription];
            if sub.state != SubscriptionState::Live {
                continue;
            }
            // One whose place was cut off already was noted before.
            let noted = self.lagging.remove(&subscription);
            let position =
                noted.unwrap_or_else(|| self.logs.position_at(&self.channels[channel], sub.cursor));
            self.subscriptions[subscription].state = SubscriptionState::Behind;
            self.behind
                .insert(subscription, Behind::recovering(position));
            self.fetch_if_behind(subscription);
        }
    }

    /// Asks for the next page of a subscription that is behind, unless replies wait already.
    pub(super) fn fetch_if_behind(&mut self, subscription: u32) {
        let Some(behind) = self.behind.get_mut(&subscription) else {
            return;
        };
        let sub = &self.subscriptions[subscription];
        if behind.fetching || sub.connection == NONE {
            return;
        }
        let position = behind.position;
        let entry = &self.channels[sub.channel];
        if let Some(cursor) = self.logs.find(entry, position) {
            return self.go_live(subscription, cursor);
        }
        let connection = &mut self.connections[sub.connection];
        // TLS sends a queue in parts; in plaintext it leaves whole unless the socket is full.
        let in_parts = connection.flags & (BLOCKED | SECURE) != 0;
        let full = in_parts && connection.queue != NONE;
        if full || connection.is(FETCHING) {
            // Tried again when the page has come, or what waits has left.
            return;
        }
        connection.set(FETCHING);
        behind.fetching = true;
        let session = self.sessions[sub.session].key;
        self.files.request(FilesRequest::History(HistoryWish {
            shard: self.id,
            channel: entry.name.clone(),
            after: position,
            limit: PAGE_EVENTS,
            floor: HistoryFloor::default(),
            purpose: HistoryFor::Subscription {
                subscription,
                session,
            },
        }));
    }

    fn go_live(&mut self, subscription: u32, cursor: u64) {
        self.behind.remove(&subscription);
        self.lagging.remove(&subscription);
        let sub = &mut self.subscriptions[subscription];
        sub.state = SubscriptionState::Live;
        sub.cursor = cursor;
        let connection = sub.connection;
        self.note_progress(subscription);
        if connection != NONE {
            self.connections[connection].set(LAGGING);
            self.mark_ready(connection);
        }
    }

    /// A page of history was read.
    pub(super) fn on_history_page(&mut self, answer: HistoryAnswer) {
        match answer.wish.purpose {
            HistoryFor::Subscription {
                subscription,
                session,
            } => {
                let connection = self
                    .find_session(session)
                    .map_or(NONE, |session| self.sessions[session].connection);
                if connection != NONE {
                    self.connections[connection].clear(FETCHING);
                }
                // The index may be another's by now, and a client that came back may have
                // begun again elsewhere.
                let current = self.behind.get(&subscription).is_some_and(|behind| {
                    let session_now = self.subscriptions[subscription].session;
                    behind.fetching
                        && behind.position == answer.wish.after
                        && self.sessions[session_now].key == session
                });
                if current {
                    self.continue_behind(subscription, &answer);
                }
                if connection != NONE && self.connections[connection].queue == NONE {
                    self.fetch_behind_of(connection);
                }
            }
            HistoryFor::Request { socket, request_id } => {
                self.files.histories -= 1;
                if let Some(connection) = self.connection_of(socket) {
                    self.connections[connection].histories -= 1;
                    self.answer_history(connection, request_id, &answer);
                }
            }
        }
    }

    fn continue_behind(&mut self, subscription: u32, answer: &HistoryAnswer) {
        let sub = self.subscriptions[subscription];
        let Some(behind) = self.behind.get_mut(&subscription) else {
            return;
        };
        behind.fetching = false;
        if answer.frames.is_empty() {
            // The archive cannot prove what follows: the gap is announced, never hidden.
            let position = self.logs.visible_position(&self.channels[sub.channel]);
            let skipped = position.offset.saturating_sub(behind.position.offset);
            let end = self.logs.visible_end(&self.channels[sub.channel]);
            let reason = wire::PositionReason::Retention;
            self.go_live(subscription, end);
            return self.announce_skipped(subscription, position, skipped, reason);
        }
        behind.position = answer.last;
        for frame in &answer.frames {
            self.queue_frame(sub.connection, frame);
        }
    }

    /// Replies of the connection have left; subscriptions that are behind may read on.
    pub(super) fn fetch_behind_of(&mut self, connection: u32) {
        if self.behind.is_empty() {
            return;
        }
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let mut next = self.sessions[session].subscriptions;
        while next != NONE {
            let subscription = next;
            next = self.subscriptions[subscription].next;
            self.fetch_if_behind(subscription);
        }
    }

    /// A client asks for history.
    pub(super) fn on_history(&mut self, connection: u32, frame: &wire::History<'_>) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let request_id = frame.request_id();
        match self.history_wish(session, connection, frame) {
            Ok(wish) => {
                self.files.histories += 1;
                self.connections[connection].histories += 1;
                self.files.request(FilesRequest::History(wish));
            }
            Err(code) => {
                self.note_refused_channel(session, code);
                self.reply_error(connection, code, request_id);
            }
        }
    }

    fn history_wish(
        &self,
        session: u32,
        connection: u32,
        frame: &wire::History<'_>,
    ) -> Result<HistoryWish, ErrorCode> {
        let waiting = self.connections[connection].histories;
        if waiting >= HISTORIES_PER_CONNECTION || self.files.histories >= HISTORIES_PER_SHARD {
            return Err(ErrorCode::RateLimited);
        }
        let name = ChannelName::parse(frame.channel()).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.shared.namespaces.lookup(&name);
        let policy = policy.ok_or(ErrorCode::NamespaceUnknown)?;
        let subscribed = self
            .find_channel(name.as_str())
            .is_some_and(|channel| self.find_subscription(session, channel).is_some());
        if !subscribed {
            self.check_permission(session, &name, None)?;
        }
        let limit = match frame.limit() as usize {
            0 => PAGE_EVENTS,
            limit => limit.min(interlink_protocol::limits::HISTORY_PAGE_EVENTS),
        };
        let socket = self.connections[connection].socket;
        Ok(HistoryWish {
            floor: self.history_floor(policy),
            shard: self.id,
            channel: name.as_str().into(),
            after: frame.after().map_or(Position::ZERO, Position::from),
            limit,
            purpose: HistoryFor::Request {
                socket,
                request_id: frame.request_id(),
            },
        })
    }

    fn answer_history(&mut self, connection: u32, request_id: u32, answer: &HistoryAnswer) {
        let top = self
            .find_channel(&answer.wish.channel)
            .map(|channel| self.channels[channel].sequencer.top());
        // What does not fit one frame is told in the next page.
        let mut bytes = 0;
        let fitting = answer
            .frames
            .iter()
            .take_while(|frame| {
                bytes += frame.len();
                bytes <= PAGE_BYTES
            })
            .count()
            .max(1)
            .min(answer.frames.len());
        let more = answer.more || fitting < answer.frames.len();
        let events = answer.frames[..fitting]
            .iter()
            .filter_map(|frame| super::files::event_of(frame));
        let mut encoder = self.take_encoder();
        let frame = encoder.history_page(
            &HistoryPageFields {
                request_id,
                channel: &answer.wish.channel,
                top,
                recovered: answer.complete,
                reason: if answer.complete {
                    wire::PositionReason::None
                } else {
                    wire::PositionReason::Retention
                },
                more,
            },
            events,
        );
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }
}
