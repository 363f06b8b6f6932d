//! Publishes whose first attempt is old: the archive judges them before they are accepted.
//!
//! Purpose: what is remembered of ids here and in the backplane reaches back for some minutes. A
//! publish that is older waits until the archive has said whether it was accepted: a known one is
//! answered with its position, a new one is taken like any other, and when the archive cannot say
//! now, the publish is refused for now.
//!
//! Order: later publishes of the same connection and class wait behind it, so that nothing
//! overtakes; those that are old are asked about meanwhile. A call of the server API waits as a
//! whole.
//!
//! Limits: [`WAITING_PER_LINE`] publishes of a connection and class, [`WAITING_MAX`] and
//! [`WAITING_BYTES`] of a shard; beyond them the answer is `overloaded`. What services have under
//! way is bounded where they ask (`gateway::limits`). The relay thread answers each question after
//! the time of one call at most.
//!
//! Thread: the home shard of the publisher.

use std::collections::{HashMap, VecDeque};

use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::limits::{ATTEMPT_DECIDABLE_AGE_MS, ATTEMPT_LOOK_UP_AGE_MS};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Attempt;
use interlink_protocol::ErrorCode;
use interlink_relay::dedupe::{Verdict, KEY_MESSAGE_ID};
use interlink_uring::SocketId;
use interlink_wire as wire;

use super::connection::NONE;
use super::files::FilesRequest;
use super::service::{Submission, Taking};
use super::Shard;

/// Publishes of a connection and class that wait: as many as its credit.
const WAITING_PER_LINE: usize = interlink_protocol::limits::PUBLISH_CREDIT as usize;

/// Publishes of a shard that wait: sixty clients with full credit, which a call of the archive
/// serves in milliseconds.
const WAITING_MAX: usize = 4 * 1024;

/// Their bytes, which the memory plan has.
pub const WAITING_BYTES: usize = 16 << 20;

/// What is known of an old publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It was never accepted.
    New,
    /// It was accepted, and stands here if that is known.
    Repeat(Option<Position>),
    /// Its id was accepted with another payload.
    Conflict,
    /// Its id is older than ids are kept.
    TooOld,
    /// The archive cannot say now.
    Later,
}

impl Judged {
    /// What a verdict of the archive means.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::New => Self::New,
            Verdict::Repeat => Self::Repeat(None),
            Verdict::Conflict => Self::Conflict,
            Verdict::TooOld => Self::TooOld,
        }
    }

    /// Why the publish is refused; nothing if it is new or a repeat.
    pub(super) fn refusal(self) -> Option<ErrorCode> {
        match self {
            Self::New | Self::Repeat(_) => None,
            Self::Conflict => Some(ErrorCode::IdempotencyConflict),
            Self::TooOld => Some(ErrorCode::OutcomeUnknown),
            Self::Later => Some(ErrorCode::Unavailable),
        }
    }
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    /// A client's publish.
    Client(SocketId),
    /// A publish of a service: its submission here, and its place there.
    Service(u32, u32),
}

/// A publish of which the archive is asked.
#[derive(Debug)]
pub struct JudgementWish {
    /// Who asks.
    pub shard: u16,
    /// What waits there.
    pub waiter: Waiter,
    /// Full channel name.
    pub channel: Box<str>,
    /// Identity of the record.
    pub record: RecordId,
    /// Publisher instance.
    pub instance: InstanceId,
    /// Class of the channel.
    pub class: Priority,
    /// Client message id.
    pub id: u64,
    /// Hash of the payload.
    pub payload_hash: u64,
    /// Milliseconds since the first attempt.
    pub age_ms: u32,
}

/// The answer.
#[derive(Debug)]
pub struct JudgedAnswer {
    /// What was asked.
    pub wish: JudgementWish,
    /// What is known.
    pub judged: Judged,
}

/// A publish that waits.
#[derive(Debug)]
struct Waiting {
    record: RecordId,
    frame: Box<[u8]>,
    is_asked: bool,
    judged: Option<Judged>,
}

type Line = (SocketId, Priority);

/// Publishes that wait for the archive, or behind such a one.
#[derive(Debug, Default)]
pub struct Doubts {
    lines: HashMap<Line, VecDeque<Waiting>>,
    count: usize,
    bytes: usize,
    /// Submissions of services, and how many answers they wait for.
    parked: HashMap<u32, (Taking, usize)>,
}

impl Doubts {
    /// Whether no client's publish waits.
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn has_room(&self, line: &Line, bytes: usize) -> bool {
        let waiting = self.lines.get(line).map_or(0, VecDeque::len);
        let fits = self.bytes + bytes <= WAITING_BYTES;
        waiting < WAITING_PER_LINE && self.count < WAITING_MAX && fits
    }

    fn push(&mut self, line: Line, waiting: Waiting) {
        self.count += 1;
        self.bytes += waiting.frame.len();
        self.lines.entry(line).or_default().push_back(waiting);
    }

    fn note(&mut self, line: &Line, record: RecordId, judged: Judged) {
        let waiting = self.lines.get_mut(line).into_iter().flatten();
        for waiting in waiting.filter(|waiting| waiting.record == record) {
            waiting.judged = Some(judged);
        }
    }

    /// The next of a line, once it waits for nothing.
    fn next(&mut self, line: &Line) -> Option<Waiting> {
        let waiting = self.lines.get_mut(line)?;
        let next = waiting.pop_front_if(|next| !next.is_asked || next.judged.is_some())?;
        if waiting.is_empty() {
            self.lines.remove(line);
        }
        self.count -= 1;
        self.bytes -= next.frame.len();
        Some(next)
    }
}

/// Whether an age is one that the archive has to judge.
fn is_old(age_ms: u32) -> bool {
    age_ms > ATTEMPT_LOOK_UP_AGE_MS && age_ms <= ATTEMPT_DECIDABLE_AGE_MS
}

impl Shard {
    /// Whether a publish waits now: the archive is asked about it, or it stands behind such a one,
    /// or was refused since too many wait. What will be refused anyway does not wait.
    pub(super) fn awaits_judgement(
        &mut self,
        connection: u32,
        frame: &wire::Publish<'_>,
        payload: &[u8],
    ) -> bool {
        let old = is_old(frame.age_ms());
        if (!old && self.look_ups.doubts.is_empty()) || !self.has_archive() {
            return false;
        }
        let record = &self.connections[connection];
        let (session, socket) = (record.session, record.socket);
        if session == NONE {
            return false;
        }
        let Ok(checked) = self.check(session, frame) else {
            return false;
        };
        let (publisher, class) = (checked.publisher, checked.decision.priority);
        let (id, hash) = (frame.client_message_id(), checked.payload_hash);
        let publishing = &self.publishers[publisher];
        let known = publishing.window.look_up(class, id, hash);
        let unknown = matches!(known, Verdict::New | Verdict::TooOld);
        let is_asked = checked.decision.attempt == Attempt::LookUp && unknown;
        let line = (socket, class);
        if !is_asked && !self.look_ups.doubts.lines.contains_key(&line) {
            return false;
        }
        if !self.look_ups.doubts.has_room(&line, payload.len()) {
            let refusal = (id, ErrorCode::Overloaded.into());
            self.refuse_of(connection, publisher, class, refusal);
            return true;
        }
        if is_asked {
            self.files
                .request(FilesRequest::Judge(Box::new(JudgementWish {
                    shard: self.id,
                    waiter: Waiter::Client(socket),
                    channel: frame.channel().into(),
                    record: checked.record,
                    instance: publishing.instance,
                    class,
                    id,
                    payload_hash: hash,
                    age_ms: frame.age_ms(),
                })));
        }
        let waiting = Waiting {
            record: checked.record,
            frame: payload.into(),
            is_asked,
            judged: None,
        };
        self.look_ups.doubts.push(line, waiting);
        true
    }

    /// The archive has judged a publish, or cannot.
    pub(super) fn on_judged(&mut self, answer: &JudgedAnswer) {
        let wish = &answer.wish;
        match wish.waiter {
            Waiter::Client(socket) => {
                let line = (socket, wish.class);
                self.look_ups.doubts.note(&line, wish.record, answer.judged);
                self.go_on_with(&line);
            }
            Waiter::Service(local, place) => self.on_service_judged(local, place, answer.judged),
        }
    }

    fn go_on_with(&mut self, line: &Line) {
        while let Some(next) = self.look_ups.doubts.next(line) {
            // The client sends it again where it connects next.
            let Some(connection) = self.connection_of(line.0) else {
                continue;
            };
            let limits = FrameLimits {
                frame_bytes: self.limits.websocket.frame_bytes as usize,
            };
            if let Ok(ClientFrame::Publish(frame)) = decode_client(&next.frame, &limits) {
                self.publish(connection, &frame, None, next.judged);
            }
        }
    }

    /// Takes a submission of a service aside whose publishes the archive has to judge; one that
    /// waits for nothing comes back.
    pub(super) fn park_submission(&mut self, taking: Taking) -> Option<Taking> {
        if !self.has_archive() {
            return Some(taking);
        }
        let mut asked = 0;
        for (place, publish) in (0..).zip(&taking.submission.publishes) {
            if !is_old(publish.age_ms) {
                continue;
            }
            asked += 1;
            self.files
                .request(FilesRequest::Judge(Box::new(JudgementWish {
                    shard: self.id,
                    waiter: Waiter::Service(taking.local, place),
                    channel: publish.channel.clone(),
                    record: publish.record,
                    instance: publish.instance,
                    class: taking.submission.class,
                    id: KEY_MESSAGE_ID,
                    payload_hash: Submission::payload_hash(publish),
                    age_ms: publish.age_ms,
                })));
        }
        if asked == 0 {
            return Some(taking);
        }
        self.look_ups
            .doubts
            .parked
            .insert(taking.local, (taking, asked));
        None
    }

    fn on_service_judged(&mut self, local: u32, place: u32, judged: Judged) {
        let Some((taking, left)) = self.look_ups.doubts.parked.get_mut(&local) else {
            return;
        };
        taking.judged.push((place, judged));
        *left -= 1;
        if *left == 0 {
            if let Some((taking, _)) = self.look_ups.doubts.parked.remove(&local) {
                self.queue_submission(taking);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(record: u128, is_asked: bool) -> Waiting {
        Waiting {
            record: RecordId(record),
            frame: [0; 100].into(),
            is_asked,
            judged: None,
        }
    }

    #[test]
    fn nothing_overtakes_what_waits_for_the_archive() {
        let mut doubts = Doubts::default();
        let line = (SocketId::new(0, 1, 1), Priority::P1);
        doubts.push(line, waiting(1, true));
        doubts.push(line, waiting(2, false));
        doubts.push(line, waiting(3, true));
        doubts.note(&line, RecordId(3), Judged::New);
        assert!(doubts.next(&line).is_none(), "the first is not judged");
        doubts.note(&line, RecordId(1), Judged::Repeat(None));
        let next = std::iter::from_fn(|| doubts.next(&line));
        let order: Vec<_> = next.map(|next| (next.record.0, next.judged)).collect();
        let repeat = Some(Judged::Repeat(None));
        assert_eq!(order, [(1, repeat), (2, None), (3, Some(Judged::New))]);
        assert!(doubts.is_empty() && doubts.bytes == 0 && doubts.lines.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_for_each_line_and_together() {
        let mut doubts = Doubts::default();
        let line = (SocketId::new(0, 1, 1), Priority::P1);
        for record in 0..WAITING_PER_LINE {
            assert!(doubts.has_room(&line, 100));
            doubts.push(line, waiting(record as u128, true));
        }
        assert!(!doubts.has_room(&line, 100));
        let other = (SocketId::new(0, 1, 1), Priority::P0);
        assert!(doubts.has_room(&other, 100));
        assert!(!doubts.has_room(&other, WAITING_BYTES));
    }
}
