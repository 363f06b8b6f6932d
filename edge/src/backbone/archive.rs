//! The archive, as the relay thread asks it.
//!
//! Purpose: what the backplane does not keep any more is asked of PostgreSQL: history, ids of old
//! attempts, cursors of devices. An answer says that something is lost, or that the archive
//! cannot say now; the two are never mixed up.
//!
//! Invariants: everything that was asked is answered once. While the breaker is open or there is
//! no connection, questions are answered at once with "not now", and lines wait; moved cursors
//! stay here and go when it is back.
//!
//! Limits: as many calls as the port takes; shards bound what they ask, lines have one call each,
//! cursors one batch under way, in parts when one is refused, and [`CURSORS_MAX`] that wait.
//!
//! Thread: relay; calls run as tasks of its runtime.

use std::collections::{BTreeMap, HashMap, VecDeque};

use interlink_protocol::ids::{placement_hash, RecordId};
use interlink_relay::archive::{Archive, ArchiveAnswer, ArchiveError, ArchiveRequest};
use interlink_relay::breaker::Traffic;
use interlink_relay::cursors::{Cursor, CursorStart, CursorUpdate};
use interlink_relay::lines::LineId;
use interlink_relay::ports::Ticket;
use interlink_relay::postgres::{PostgresArchive, Store};

use super::counts::{add, set, BackboneCounts};
use super::guard::{End, Guard};
use super::limits::{
    ARCHIVE_CALL_US, ARCHIVE_FLOOR_US, ARCHIVE_PROBE_US, ARCHIVE_WARN_US, CURSORS_AT_ONCE,
    CURSORS_EVERY_US, CURSORS_MAX,
};
use super::past::Past;
use super::task::Relay;
use crate::shard::files::{CursorAnswer, CursorWish, FilesReply, FilesRequest};
use crate::shard::judged::{Judged, JudgedAnswer, JudgementWish};

/// Something that is asked of the archive.
#[derive(Debug)]
pub(super) enum Ask {
    /// Past events.
    Past(Past),
    /// Whether a publish was accepted.
    Judge(JudgementWish),
    /// Where a publish stands that was accepted.
    Place(JudgementWish),
    /// Where the records of a line stand.
    Line(LineId, Vec<(Box<str>, RecordId)>),
    /// Where channels of a line go on that Redis may have lost.
    Tops(LineId, Vec<Box<str>>),
    /// Where a device continues.
    Cursor(CursorWish),
    /// Where devices stand now.
    Advance(Vec<CursorUpdate>),
    /// Whether it is there.
    Probe,
}

impl Ask {
    /// Whether somebody waits for the answer.
    fn is_question(&self) -> bool {
        !matches!(self, Self::Advance(_) | Self::Probe)
    }
}

/// User, channel and device.
type CursorKey = (Box<str>, Box<str>, Box<str>);

/// The archive and what is asked of it.
pub(super) struct Archived {
    port: Option<PostgresArchive>,
    guard: Guard,
    /// What lines and publishers wait for; it goes before the rest.
    urgent: VecDeque<Ask>,
    waiting: VecDeque<Ask>,
    under_way: HashMap<Ticket, Ask>,
    is_probing: bool,
    /// Cursors that moved, the furthest of each.
    moved: BTreeMap<CursorKey, Cursor>,
    /// Batches of cursors that are asked; more than one while a refused one is divided.
    moving: usize,
    moved_at_us: u64,
    asked: u64,
    /// When the last call was made.
    called_us: u64,
    /// When it was last said that lines wait.
    warned_us: u64,
}

impl Archived {
    /// Nothing is connected yet.
    pub fn new(port: Option<PostgresArchive>, now_us: u64) -> Self {
        let mut guard = Guard::new(ARCHIVE_FLOOR_US, now_us);
        if port.is_some() {
            guard.connected(false, now_us);
        }
        Self {
            port,
            guard,
            urgent: VecDeque::new(),
            waiting: VecDeque::new(),
            under_way: HashMap::new(),
            is_probing: false,
            moved: BTreeMap::new(),
            moving: 0,
            moved_at_us: 0,
            asked: 0,
            called_us: 0,
            warned_us: 0,
        }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.port.is_some()
    }

    /// The calls behind it, while its breaker lets all of them through.
    pub fn store(&mut self, now_us: u64) -> Option<Store> {
        let is_well = self.guard.is_connected() && self.guard.traffic(now_us) == Traffic::All;
        let port = self.port.as_ref().filter(|_| is_well)?;
        Some(port.store().clone())
    }

    /// Something is to be asked.
    pub fn ask(&mut self, ask: Ask) {
        self.queue(&ask).push_back(ask);
    }

    fn queue(&mut self, ask: &Ask) -> &mut VecDeque<Ask> {
        match ask {
            Ask::Line(..) | Ask::Tops(..) | Ask::Judge(_) | Ask::Place(_) => &mut self.urgent,
            _ => &mut self.waiting,
        }
    }

    fn next(&mut self) -> Option<Ask> {
        self.urgent.pop_front().or_else(|| self.waiting.pop_front())
    }

    fn put_back(&mut self, ask: Ask) {
        self.queue(&ask).push_front(ask);
    }

    /// Cursors have moved. Beyond the bound new ones are left out, so that their events come again
    /// on other nodes; says how many.
    pub fn advance(&mut self, updates: Vec<CursorUpdate>) -> u64 {
        let mut left_out = 0;
        for update in updates {
            let has_room = self.moved.len() < CURSORS_MAX;
            let key = (update.user, update.channel, update.device);
            match self.moved.get_mut(&key) {
                Some(known) if place(known) < place(&update.cursor) => *known = update.cursor,
                Some(_) => {}
                None if has_room => {
                    self.moved.insert(key, update.cursor);
                }
                None => left_out += 1,
            }
        }
        left_out
    }

    /// Whether every moved cursor is in the archive.
    pub fn is_idle(&self) -> bool {
        self.moved.is_empty() && self.moving == 0
    }

    /// Lets a batch of moved cursors be asked when it is due; all of them with `all`.
    fn move_cursors(&mut self, all: bool, now_us: u64) {
        let due_us = self.moved_at_us.saturating_add(CURSORS_EVERY_US);
        let is_due = all || now_us >= due_us;
        if self.moved.is_empty() || self.moving > 0 || !is_due || !self.guard.is_connected() {
            return;
        }
        let mut batch = Vec::new();
        while batch.len() < CURSORS_AT_ONCE {
            let Some(((user, channel, device), cursor)) = self.moved.pop_first() else {
                break;
            };
            batch.push(CursorUpdate {
                user,
                device,
                channel,
                cursor,
            });
        }
        self.moving += 1;
        self.moved_at_us = now_us;
        self.ask(Ask::Advance(batch));
    }

    /// Asks whether the archive is there: while the connection is lost when a probe is due, one
    /// at a time, and when nothing else was asked for a while, so that its state is true.
    fn probe(&mut self, now_us: u64) {
        if !self.is_there() || self.is_probing {
            return;
        }
        let quiet = now_us >= self.called_us.saturating_add(ARCHIVE_PROBE_US);
        let is_due = match self.guard.is_connected() {
            true => quiet && self.guard.traffic(now_us) != Traffic::None,
            false => self.guard.traffic(now_us) == Traffic::All,
        };
        if is_due {
            self.is_probing = self.submit(Ask::Probe, now_us).is_none();
        }
    }

    /// Shows the breaker to the scraper.
    pub fn show(&self, counts: &BackboneCounts) {
        self.guard.show(&counts.breakers[2]);
        set(&counts.cursors_waiting, self.moved.len() as u64);
    }

    /// When something is due without a call, microseconds since the Unix epoch.
    pub fn next_at_us(&self) -> Option<u64> {
        let connected = self.guard.is_connected();
        let waits = !self.moved.is_empty() && self.moving == 0 && connected;
        waits.then(|| self.moved_at_us.saturating_add(CURSORS_EVERY_US))
    }

    /// Asks; what finds no room comes back.
    fn submit(&mut self, ask: Ask, now_us: u64) -> Option<Ask> {
        let Some(port) = &mut self.port else {
            return Some(ask);
        };
        match port.submit(request_of(&ask, &records_of(&ask), now_us), now_us) {
            Ok(ticket) => {
                self.guard.called(ticket, now_us);
                self.called_us = now_us;
                self.under_way.insert(ticket, ask);
                None
            }
            Err(_) => Some(ask),
        }
    }

    /// The next answer, after the breaker has heard of it.
    fn hear(&mut self, now_us: u64) -> Option<(Ask, Result<ArchiveAnswer, ArchiveError>)> {
        let port = self.port.as_mut()?;
        loop {
            let (ticket, answer) = port.complete()?;
            let end = match &answer {
                Ok(_) | Err(ArchiveError::Behind | ArchiveError::Refused { .. }) => End::Answered,
                Err(ArchiveError::Lost { .. }) => End::Lost,
                Err(_) => End::Failed,
            };
            self.guard.ended(ticket, end, now_us);
            if end != End::Failed {
                self.guard.connected(end == End::Answered, now_us);
            }
            if let Some(ask) = self.under_way.remove(&ticket) {
                return Some((ask, answer));
            }
        }
    }
}

/// Names and records of a line, as the port borrows them.
fn records_of(ask: &Ask) -> Vec<(&str, RecordId)> {
    match ask {
        Ask::Line(_, records) => records.iter().map(|(name, id)| (&**name, *id)).collect(),
        _ => Vec::new(),
    }
}

fn request_of<'a>(
    ask: &'a Ask,
    records: &'a [(&'a str, RecordId)],
    now_us: u64,
) -> ArchiveRequest<'a> {
    match ask {
        Ask::Past(past) => past.request(),
        Ask::Judge(wish) => ArchiveRequest::Accepted {
            record: wish.record,
            instance: wish.instance,
            class: wish.class,
            client_message_id: wish.id,
            payload_hash: wish.payload_hash,
            since_us: now_us.saturating_sub(u64::from(wish.age_ms) * 1_000),
        },
        Ask::Place(wish) => ArchiveRequest::Locate {
            channel: &wish.channel,
            record: wish.record,
        },
        Ask::Line(..) => ArchiveRequest::Places { records },
        Ask::Tops(_, channels) => ArchiveRequest::Tops { channels },
        Ask::Cursor(wish) => ArchiveRequest::Cursor {
            user: &wish.user,
            device: &wish.device,
            channel: &wish.channel,
        },
        Ask::Advance(updates) => ArchiveRequest::AdvanceCursors(updates),
        // Any answer will do.
        Ask::Probe => ArchiveRequest::Top { channel: "" },
    }
}

fn place(cursor: &Cursor) -> (u64, u64) {
    (cursor.position.epoch, cursor.position.offset)
}

impl Relay {
    /// Takes a request of a shard that is for the archive alone.
    pub(super) fn on_archive_request(&mut self, request: FilesRequest) {
        match request {
            FilesRequest::Judge(wish) => self.archive.ask(Ask::Judge(*wish)),
            FilesRequest::Cursor(wish) => self.archive.ask(Ask::Cursor(*wish)),
            FilesRequest::MoveCursors(updates) => {
                let left_out = self.archive.advance(updates);
                add(&self.counts.cursors_left_out, left_out);
            }
            // Shards ask for nothing else here.
            _ => {}
        }
    }

    /// Takes what the archive answered; says whether there was anything.
    pub(super) fn hear_archive(&mut self, now_us: u64) -> bool {
        let mut any = false;
        while let Some((ask, answer)) = self.archive.hear(now_us) {
            any = true;
            self.on_archive_answer(ask, answer, now_us);
        }
        self.archive.guard.give_up_overdue(ARCHIVE_CALL_US, now_us);
        any
    }

    /// Asks the archive what waits, as far as the breaker lets it; the rest is answered that it
    /// cannot be said now.
    pub(super) fn ask_archive(&mut self, now_us: u64) {
        let archive = &mut self.archive;
        archive.move_cursors(self.shards_ended, now_us);
        archive.probe(now_us);
        while let Some(ask) = self.archive.next() {
            let archive = &mut self.archive;
            archive.asked += 1;
            let hash = placement_hash(&archive.asked.to_le_bytes());
            let connected = archive.is_there() && archive.guard.is_connected();
            if !connected || !archive.guard.traffic(now_us).admits(hash) {
                self.deny(ask, now_us);
                continue;
            }
            if let Some(ask) = archive.submit(ask, now_us) {
                return archive.put_back(ask);
            }
        }
    }

    fn on_archive_answer(
        &mut self,
        ask: Ask,
        answer: Result<ArchiveAnswer, ArchiveError>,
        now_us: u64,
    ) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                match error {
                    ArchiveError::Behind => {}
                    // It is told by the state of its breaker.
                    ArchiveError::Lost { .. } => tracing::debug!(%error, "archive"),
                    _ => tracing::warn!(%error, "archive"),
                }
                return match (ask, error) {
                    (Ask::Advance(updates), ArchiveError::Refused { .. }) => self.divide(updates),
                    (ask, _) => self.deny(ask, now_us),
                };
            }
        };
        if ask.is_question() {
            add(&self.counts.archive_answers, 1);
        }
        match (ask, answer) {
            (Ask::Past(past), ArchiveAnswer::History(page)) => self.on_past(past, page),
            (Ask::Judge(wish), ArchiveAnswer::Accepted(verdict)) => match Judged::of(verdict) {
                Judged::Repeat(_) => self.archive.ask(Ask::Place(wish)),
                judged => self.reply_judged(wish, judged),
            },
            (Ask::Place(wish), ArchiveAnswer::Located(position)) => {
                self.reply_judged(wish, Judged::Repeat(position));
            }
            (Ask::Line(line, _), ArchiveAnswer::Places(places)) => {
                for placed in self.lines.looked_up(line, &places) {
                    add(&self.counts.placed, 1);
                    self.feeder.placed(&placed);
                }
            }
            (Ask::Tops(line, channels), ArchiveAnswer::Tops(tops)) => {
                self.floors.learn(line, channels, &tops);
                self.lines.put_off(line);
            }
            (Ask::Cursor(wish), ArchiveAnswer::Cursor(cursor)) => {
                self.reply_cursor(wish, Some(cursor));
            }
            (Ask::Advance(updates), ArchiveAnswer::CursorsAdvanced) => {
                add(&self.counts.cursors_archived, updates.len() as u64);
                self.archive.moving -= 1;
            }
            (Ask::Probe, _) => self.archive.is_probing = false,
            // An answer to another question is none.
            (ask, _) => self.deny(ask, now_us),
        }
    }

    /// The archive cannot say now: whoever asked is told so, and lines wait.
    fn deny(&mut self, ask: Ask, now_us: u64) {
        if ask.is_question() {
            add(&self.counts.archive_unanswered, 1);
        }
        match ask {
            Ask::Past(past) => self.on_past_denied(past),
            Ask::Judge(wish) => self.reply_judged(wish, Judged::Later),
            Ask::Place(wish) => self.reply_judged(wish, Judged::Repeat(None)),
            Ask::Line(line, _) | Ask::Tops(line, _) => {
                self.warn_of_line(line, now_us);
                self.lines.failed(line, now_us);
            }
            Ask::Cursor(wish) => self.reply_cursor(wish, None),
            Ask::Advance(updates) => {
                self.archive.moving -= 1;
                let left_out = self.archive.advance(updates);
                add(&self.counts.cursors_left_out, left_out);
            }
            Ask::Probe => self.archive.is_probing = false,
        }
    }

    /// A batch of cursors was refused for a value in it, such as a name that a client chose: the
    /// others must not wait for it.
    fn divide(&mut self, mut updates: Vec<CursorUpdate>) {
        self.archive.moving -= 1;
        if updates.len() <= 1 {
            return add(&self.counts.cursors_left_out, updates.len() as u64);
        }
        let rest = updates.split_off(updates.len() / 2);
        self.archive.moving += 2;
        self.archive.ask(Ask::Advance(updates));
        self.archive.ask(Ask::Advance(rest));
    }

    /// Says that a line waits for the archive, once in a while.
    fn warn_of_line(&mut self, line: LineId, now_us: u64) {
        let warned_us = &mut self.archive.warned_us;
        if now_us >= warned_us.saturating_add(ARCHIVE_WARN_US) {
            *warned_us = now_us;
            tracing::warn!(
                ?line,
                "records wait: the archive has to say first whether they were numbered, or where \
                 channels go on that Redis may have lost; look at PostgreSQL and the lag of the \
                 group archival"
            );
        }
    }

    fn reply_judged(&mut self, wish: JudgementWish, judged: Judged) {
        let shard = usize::from(wish.shard);
        let answer = JudgedAnswer { wish, judged };
        self.peers[shard].reply(FilesReply::Judged(Box::new(answer)));
    }

    fn reply_cursor(&mut self, wish: CursorWish, cursor: Option<Option<CursorStart>>) {
        let shard = usize::from(wish.shard);
        let answer = CursorAnswer { wish, cursor };
        self.peers[shard].reply(FilesReply::Cursor(Box::new(answer)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::ids::Position;

    #[test]
    fn the_furthest_place_of_each_device_waits_for_the_archive() {
        let mut archive = Archived::new(None, 0);
        let at = |device: &str, epoch, offset| CursorUpdate {
            user: "ada".into(),
            device: device.into(),
            channel: "user.ada".into(),
            cursor: Cursor {
                position: Position {
                    epoch,
                    offset,
                    chain: 1,
                },
                record: RecordId(0),
            },
        };
        assert!(archive.is_idle());
        let updates = vec![at("phone", 1, 9), at("phone", 1, 5), at("tablet", 1, 1)];
        assert_eq!(archive.advance(updates), 0);
        assert_eq!(archive.advance(vec![at("phone", 2, 3)]), 0);
        let places: Vec<_> = archive.moved.values().map(place).collect();
        assert_eq!(places, [(2, 3), (1, 1)]);
        assert!(!archive.is_idle());
    }
}
