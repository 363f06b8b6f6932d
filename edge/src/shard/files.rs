//! The shard's link to the journal-files thread.
//!
//! Purpose: everything about files that blocks is asked for by value and answered
//! by value. The shard never waits; it looks for answers once a turn, and the other
//! side rings its doorbell.
//!
//! Limits: requests are bounded by what asks for them: one segment request for each
//! prepared segment, one page for the subscriptions of each connection that are behind,
//! 256 history requests, one look-up and one cursor for each channel of a `Subscribe` that
//! waits, one batch of cursors, one question for each old publish that waits; the channel
//! itself is unbounded.
//!
//! Thread: the shard; `serve` in the files thread runs on the other side.

use std::fs::File;
use std::sync::{mpsc, Arc};

use interlink_protocol::frame::{decode_server, EventFields, FrameLimits, ServerFrame};
use interlink_protocol::ids::{Position, SessionKey};
use interlink_protocol::ErrorCode;
use interlink_relay::cursors::{CursorStart, CursorUpdate};
use interlink_relay::event_log::{LogPosition, LogRecord};
use interlink_relay::files::{Gap, HistoryFloor, HistoryPage, LaneReader};
use interlink_relay::journal::SealedSegment;
use interlink_relay::record::SegmentId;
use interlink_uring::SocketId;

use super::judged::{JudgedAnswer, JudgementWish};
use crate::lanes::Doorbell;

/// What a shard asks of the files thread.
#[derive(Debug)]
pub enum FilesRequest {
    /// Make a segment and open it.
    Prepare {
        /// Who asks.
        shard: u16,
        /// The segment.
        segment: SegmentId,
    },
    /// A segment is complete.
    Sealed {
        /// Whose it is.
        shard: u16,
        /// The segment.
        sealed: SealedSegment,
    },
    /// Read past events of a channel.
    History(HistoryWish),
    /// Find out whether events follow a position.
    LookUp(LookUpWish),
    /// Make moved cursors durable.
    KeepCursors {
        /// Who asks.
        shard: u16,
        /// Where they stand now.
        updates: Vec<CursorUpdate>,
    },
    /// Find out whether an old publish was accepted.
    Judge(Box<JudgementWish>),
    /// Find out where a device continues, whichever node it was on.
    Cursor(Box<CursorWish>),
    /// Tell other nodes where devices stand now.
    MoveCursors(Vec<CursorUpdate>),
    /// What the shard took over from earlier boots is durable in this one.
    TookOver,
    /// The next durable records of a log, for the relay thread.
    ReadLane(Box<LaneWish>),
    /// The backbone has everything of these logs up to here.
    Settled(Vec<LogPosition>),
    /// Servers of the backbone in which that was placed.
    Servers(Arc<[u8]>),
    /// Every shard is settled and stays so: give the journal up, and say so. Nothing that is
    /// asked afterwards is answered.
    GiveUp(mpsc::Sender<()>),
}

/// Which records of a log, for the relay thread.
#[derive(Debug)]
pub struct LaneWish {
    /// The thread that asks.
    pub thread: u16,
    /// Where it stands.
    pub reader: LaneReader,
    /// Most records.
    pub limit: usize,
    /// What is known to be durable of this boot.
    pub durable: Option<LogPosition>,
}

/// Which past events.
#[derive(Debug)]
pub struct HistoryWish {
    /// Who asks.
    pub shard: u16,
    /// Full channel name.
    pub channel: Box<str>,
    /// Events after this position; zero is from the oldest.
    pub after: Position,
    /// Most events.
    pub limit: usize,
    /// Events that are too old for the channel.
    pub floor: HistoryFloor,
    /// What they are for.
    pub purpose: HistoryFor,
}

/// What past events are for.
#[derive(Debug, Clone, Copy)]
pub enum HistoryFor {
    /// A subscription that is behind.
    Subscription {
        /// Index of the subscription.
        subscription: u32,
        /// Its session, since the index may be used again.
        session: SessionKey,
    },
    /// A `History` request.
    Request {
        /// The connection.
        socket: SocketId,
        /// The request.
        request_id: u32,
    },
    /// A question of a service.
    Service {
        /// Thread that asks.
        from: u16,
        /// Number of the question there.
        number: u32,
    },
}

/// Past events.
#[derive(Debug)]
pub struct HistoryAnswer {
    /// What was asked.
    pub wish: HistoryWish,
    /// Encoded events in order, without gaps.
    pub frames: Vec<Box<[u8]>>,
    /// Position of the last one.
    pub last: Position,
    /// Whether the first one follows the wanted position directly.
    pub complete: bool,
    /// Whether more follow.
    pub more: bool,
    /// Whether they are what the node keeps itself, since the backplane could not be asked.
    pub stale: bool,
    /// Why nobody can say now what follows, if so.
    pub later: Option<ErrorCode>,
}

impl HistoryAnswer {
    /// The answer that nobody can give now, for the reason `code`.
    pub fn later(wish: HistoryWish, code: ErrorCode) -> Self {
        Self {
            later: Some(code),
            ..Self::nothing(wish)
        }
    }

    /// The answer that nothing is left that follows.
    pub fn nothing(wish: HistoryWish) -> Self {
        Self {
            frames: Vec::new(),
            last: wish.after,
            complete: false,
            more: false,
            stale: false,
            later: None,
            wish,
        }
    }

    /// The answer that a page is.
    pub fn of(wish: HistoryWish, page: HistoryPage) -> Self {
        let first = page.events.first().map(|event| event.placement.position);
        let subscribed = matches!(wish.purpose, HistoryFor::Subscription { .. });
        // A subscriber from the beginning is not sent what begins later.
        let follows = wish.after.offset.saturating_add(1);
        let late = subscribed && first.is_some_and(|first| first.offset != follows);
        let (events, last) = match late {
            true => (Vec::new(), wish.after),
            false => (page.events, page.last),
        };
        Self {
            frames: events.into_iter().map(|event| event.frame).collect(),
            last,
            complete: page.gap.is_none(),
            more: page.more || late,
            stale: false,
            later: None,
            wish,
        }
    }
}

/// A position of which a client wants to know whether everything after it is left.
#[derive(Debug)]
pub struct LookUpWish {
    /// Who asks.
    pub shard: u16,
    /// The connection whose `Subscribe` waits.
    pub socket: SocketId,
    /// Full channel name.
    pub channel: Box<str>,
    /// The position; zero is before the first event that the channel ever had.
    pub after: Position,
    /// Events that are too old for the channel.
    pub floor: HistoryFloor,
}

/// What was found after a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Everything.
    Whole,
    /// Not everything, for this reason. `History` after the position, if there is one, returns
    /// the oldest event that is left.
    Broken(Gap, Option<Position>),
    /// The files could not be read, or the archive lags or is away.
    Unreadable,
}

/// The answer to a look-up.
#[derive(Debug)]
pub struct LookUpAnswer {
    /// What was asked.
    pub wish: LookUpWish,
    /// What was found.
    pub finding: Finding,
}

/// A device whose cursor a `Subscribe` waits for.
#[derive(Debug)]
pub struct CursorWish {
    /// Who asks.
    pub shard: u16,
    /// The connection whose `Subscribe` waits.
    pub socket: SocketId,
    /// The user.
    pub user: Box<str>,
    /// The user's device.
    pub device: Box<str>,
    /// Full channel name.
    pub channel: Box<str>,
}

/// Where a device continues.
#[derive(Debug)]
pub struct CursorAnswer {
    /// What was asked.
    pub wish: CursorWish,
    /// The cursor, if the device or another of its user has one; nothing when nobody can say now.
    pub cursor: Option<Option<CursorStart>>,
}

/// What the files thread answers.
#[derive(Debug)]
pub enum FilesReply {
    /// A segment is ready.
    Prepared {
        /// The segment.
        segment: SegmentId,
        /// Its file.
        file: File,
    },
    /// A segment could not be made.
    NotPrepared {
        /// The segment.
        segment: SegmentId,
    },
    /// Bytes of this shard's journal that something still needs.
    Used {
        /// The bytes.
        bytes: u64,
    },
    /// Past events.
    Page(HistoryAnswer),
    /// Whether events follow a position.
    Found(LookUpAnswer),
    /// Whether an old publish was accepted.
    Judged(Box<JudgedAnswer>),
    /// Where a device continues.
    Cursor(Box<CursorAnswer>),
    /// Records of a log, and where the reader stands behind them; nothing if the files could not
    /// be read.
    Lane(Option<(LaneReader, Vec<LogRecord>)>),
    /// The batch of cursors was written, or failed and is written with a later one.
    CursorsKept {
        /// Cursors that are durable now.
        count: usize,
    },
}

/// The way to the relay thread of a cluster, which answers about history in the place of the
/// files.
#[derive(Debug, Clone)]
pub struct RelayLink {
    /// Where it is asked.
    pub requests: mpsc::Sender<FilesRequest>,
    /// What wakes it.
    pub bell: Arc<Doorbell>,
}

/// Both directions, as the shard holds them.
#[derive(Debug)]
pub struct FilesLink {
    /// History requests of clients and services that wait for their page.
    pub histories: usize,
    requests: mpsc::Sender<FilesRequest>,
    replies: mpsc::Receiver<FilesReply>,
    relay: Option<RelayLink>,
}

impl FilesLink {
    /// A link over these channels.
    pub fn new(requests: mpsc::Sender<FilesRequest>, replies: mpsc::Receiver<FilesReply>) -> Self {
        Self {
            histories: 0,
            requests,
            replies,
            relay: None,
        }
    }

    /// The same link, with the relay thread for what it answers.
    #[must_use]
    pub fn with_relay(mut self, relay: Option<RelayLink>) -> Self {
        self.relay = relay;
        self
    }

    /// Asks for something. A files thread that has ended answers nothing any more; the journal
    /// then refuses publishes for want of segments, which is the right answer.
    pub fn request(&self, request: FilesRequest) {
        match (&self.relay, &request) {
            (
                Some(relay),
                FilesRequest::History(_)
                | FilesRequest::LookUp(_)
                | FilesRequest::Judge(_)
                | FilesRequest::Cursor(_)
                | FilesRequest::MoveCursors(_),
            ) => {
                // A relay thread that has ended serves nobody any more.
                let _ = relay.requests.send(request);
                relay.bell.ring();
            }
            _ => drop(self.requests.send(request)),
        }
    }

    /// The next answer.
    pub fn take(&self) -> Option<FilesReply> {
        self.replies.try_recv().ok()
    }
}

/// The values of an encoded event; `None` if the bytes are none.
pub fn event_of(frame: &[u8]) -> Option<EventFields<'_>> {
    match decode_server(frame, &FrameLimits::SERVER) {
        Ok(ServerFrame::Event(event)) => Some(event.into()),
        _ => None,
    }
}
