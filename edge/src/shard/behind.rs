//! Subscriptions that get past events page by page.
//!
//! Purpose: a subscriber whose next event is no longer in the channel's log reads
//! history from the retained journal, one page at a time and never more than its
//! socket has taken, until it reaches the log and goes live. Conflated channels give
//! the last value of each key instead (`values`).
//!
//! Invariants: nothing of the channel is sent from the log while a page is awaited,
//! so order holds; a page is used only by the wish that it answers.
//!
//! Limits: one page at a time for the subscriptions of a connection, so that it fits the
//! replies that may wait; [`HISTORIES_PER_CONNECTION`] and [`HISTORIES_PER_SHARD`] requests;
//! [`BEHIND_BYTES`] for each subscription.
//!
//! Thread: the shard; pages are read by the journal-files thread.

use std::collections::VecDeque;

use interlink_protocol::frame::HistoryPageFields;
use interlink_protocol::ids::{Position, SessionKey};
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

/// How long a subscription waits for an event whose write has not ended.
const UNWRITTEN_MS: u32 = 50;
/// How often it does so before the gap is announced: a disk that takes longer refuses publishes.
const UNWRITTEN_TRIES: u8 = 200;

/// What a subscription that is behind waits for.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// Last position that the client has.
    pub position: Position,
    /// Where it reads.
    pub source: Source,
}

/// Where a subscription that is behind gets its events.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The retained journal.
    History {
        /// Whether a page is being read.
        fetching: bool,
        /// Pages in a row that were empty since a write had not ended.
        tries: u8,
    },
    /// The last values of the channel's keys; why other events are missing.
    Values(wire::PositionReason),
}

impl Behind {
    /// A subscription that continues after `position`.
    pub fn recovering(position: Position) -> Self {
        let source = Source::History {
            fetching: false,
            tries: 0,
        };
        Self { position, source }
    }

    /// A subscription that is given the last values after `position`; `lost` is said of events
    /// that none stands for.
    pub fn conflating(position: Position, lost: wire::PositionReason) -> Self {
        let source = Source::Values(lost);
        Self { position, source }
    }

    fn is_fetching(&self) -> bool {
        matches!(self.source, Source::History { fetching: true, .. })
    }
}

/// Bytes that a shard plans for a subscription that is behind: its entry, and again as much for
/// the free places of the table.
pub const BEHIND_BYTES: usize = 2 * (size_of::<(u32, Behind)>() + 1);

const _: () = {
    let each = super::places::PLACE_BYTES + BEHIND_BYTES;
    assert!(each <= crate::config::SLOW_SUBSCRIPTION_BYTES as usize);
};

/// How long a subscription waits for an archive that lags or is away. Whoever reads so far back
/// has waited already, and the node has as many such reads as subscriptions are behind.
const ARCHIVE_MS: u32 = 1_000;

/// Subscriptions that wait until an event is written, or until the archive has it.
#[derive(Debug, Default)]
pub struct Unwritten {
    waiting: VecDeque<(u32, SessionKey, u32)>,
    archive: VecDeque<(u32, SessionKey, u32)>,
}

impl Unwritten {
    /// When the first of them looks again, in shard milliseconds.
    pub fn next_at_ms(&self) -> Option<u32> {
        let fronts = [self.waiting.front(), self.archive.front()];
        fronts.into_iter().flatten().map(|entry| entry.2).min()
    }

    /// The next of those whose time has come, and whether it waited for the archive.
    fn next(&mut self, now_ms: u32) -> Option<(u32, SessionKey, bool)> {
        let is_due = |entry: &mut (u32, SessionKey, u32)| entry.2 <= now_ms;
        if let Some(next) = self.waiting.pop_front_if(is_due) {
            return Some((next.0, next.1, false));
        }
        let next = self.archive.pop_front_if(is_due)?;
        Some((next.0, next.1, true))
    }
}

impl Shard {
    /// Goes on with a subscription that is behind: from the log if it holds what follows, else
    /// with the last values or the next page, unless replies wait already.
    pub(super) fn fetch_if_behind(&mut self, subscription: u32) {
        let Some(&behind) = self.behind.get(&subscription) else {
            return;
        };
        let sub = &self.subscriptions[subscription];
        if behind.is_fetching() || sub.connection == NONE {
            return;
        }
        let entry = &self.channels[sub.channel];
        if let Some(cursor) = self.logs.find(entry, behind.position) {
            return self.go_live(subscription, cursor);
        }
        match behind.source {
            Source::Values(lost) => self.send_values(subscription, (behind.position, lost)),
            Source::History { tries, .. } => self.fetch_page(subscription, behind.position, tries),
        }
    }

    fn fetch_page(&mut self, subscription: u32, position: Position, tries: u8) {
        let sub = &self.subscriptions[subscription];
        let entry = &self.channels[sub.channel];
        let connection = &mut self.connections[sub.connection];
        // TLS sends a queue in parts; in plaintext it leaves whole unless the socket is full.
        let in_parts = connection.flags & (BLOCKED | SECURE) != 0;
        let full = in_parts && connection.queue != NONE;
        if full || connection.is(FETCHING) {
            // Tried again when the page has come, or what waits has left.
            return;
        }
        connection.set(FETCHING);
        if let Some(behind) = self.behind.get_mut(&subscription) {
            let fetching = true;
            behind.source = Source::History { fetching, tries };
        }
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

    pub(super) fn go_live(&mut self, subscription: u32, cursor: u64) {
        self.behind.remove(&subscription);
        self.lagging.remove(subscription);
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
                    behind.is_fetching()
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
            HistoryFor::Service { from, number } => {
                self.files.histories -= 1;
                self.answer_service_history((from, number), answer);
            }
        }
    }

    fn continue_behind(&mut self, subscription: u32, answer: &HistoryAnswer) {
        let sub = self.subscriptions[subscription];
        let Some(behind) = self.behind.get_mut(&subscription) else {
            return;
        };
        let Source::History { tries, .. } = behind.source else {
            return;
        };
        if answer.later.is_some() {
            return self.wait_for_archive(subscription);
        }
        let was_empty = answer.frames.is_empty();
        behind.source = Source::History {
            fetching: false,
            tries: if was_empty { tries + 1 } else { 0 },
        };
        if was_empty {
            let numbered = self.channels[sub.channel].sequencer.top().offset;
            let is_newest = answer.complete && !answer.more;
            if awaits_write(is_newest, behind.position.offset, numbered, tries) {
                return self.wait_for_write(subscription);
            }
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

    /// The next event of a subscription is numbered and not written yet, and found no memory in
    /// the log: the subscription looks again.
    fn wait_for_write(&mut self, subscription: u32) {
        let session = self.subscriptions[subscription].session;
        let at_ms = self.clock.now_ms + UNWRITTEN_MS;
        let waiting = &mut self.journal.unwritten.waiting;
        waiting.push_back((subscription, self.sessions[session].key, at_ms));
    }

    /// Nobody can say now what follows: the subscription asks again, and until then counts as
    /// asking.
    fn wait_for_archive(&mut self, subscription: u32) {
        let session = self.subscriptions[subscription].session;
        let at_ms = self.clock.now_ms + ARCHIVE_MS;
        let waiting = &mut self.journal.unwritten.archive;
        waiting.push_back((subscription, self.sessions[session].key, at_ms));
    }

    /// Subscriptions that waited look again.
    pub(super) fn look_again_for_writes(&mut self) {
        let now_ms = self.clock.now_ms;
        while let Some((subscription, session, of_archive)) = self.journal.unwritten.next(now_ms) {
            let Some(behind) = self.behind.get_mut(&subscription) else {
                continue;
            };
            let session_now = self.subscriptions[subscription].session;
            if self.sessions[session_now].key == session {
                if let (Source::History { fetching, .. }, true) = (&mut behind.source, of_archive) {
                    *fetching = false;
                }
                self.fetch_if_behind(subscription);
            }
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
        if let Some(code) = answer.later {
            return self.reply_error(connection, code, request_id);
        }
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
                reason: match (answer.complete, answer.stale) {
                    (true, _) => wire::PositionReason::None,
                    // The others may be given later.
                    (false, true) => wire::PositionReason::Lagging,
                    (false, false) => wire::PositionReason::Retention,
                },
                more,
                stale: answer.stale,
            },
            events,
        );
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }
}

/// Whether a page is empty since what follows `after` is not written yet: an event is numbered,
/// and the files prove that `after` is the newest that they have.
fn awaits_write(is_newest: bool, after: u64, numbered: u64, tries: u8) -> bool {
    is_newest && after < numbered && tries < UNWRITTEN_TRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_numbered_and_not_written_is_waited_for() {
        assert!(awaits_write(true, 7, 8, 0));
        assert!(awaits_write(true, 7, 8, UNWRITTEN_TRIES - 1));
        assert!(!awaits_write(true, 7, 8, UNWRITTEN_TRIES), "not for ever");
        assert!(!awaits_write(true, 8, 8, 0), "nothing is on its way");
        assert!(!awaits_write(false, 7, 8, 0), "what is lost does not come");
    }
}
