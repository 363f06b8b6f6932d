//! One subscribed channel of a node: in order, each record once, gaps repaired by one reading.
//!
//! Messages of pub/sub may be missing, late or of a server that is not the master any more. A
//! message is delivered when it follows the newest delivered position by offset and chain. Any
//! other one that may be news makes the channel read its stream once; meanwhile messages wait.
//! What is read is compared with what was delivered: after a failover that lost the end of the
//! stream, the channel goes back to the last position that both have, says so, and goes on from
//! there without the records that it has delivered before. An epoch that goes on where the last
//! one ended is said too: whoever listens learns of every change of the numbering.
//!
//! Invariants: between two [`Act::Deliver`] without [`Act::Skip`] offsets are consecutive, chains
//! link and the epoch is one; no record among the last [`DELIVERED_MAX`] delivered is delivered
//! again.
//! Limits: [`DELIVERED_MAX`] ids and [`PENDING_MAX`] waiting events.
//! Runs on: the backplane's task; no I/O and no clock.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use interlink_protocol::ids::{Position, RecordId};

use crate::backplane::SkipReason;
use crate::record::Placement;
use crate::recovery::RecoveredEvent;
use crate::redis::limits::{DELIVERED_MAX, PENDING_MAX};
use crate::redis::range::Range;

/// What a channel wants.
#[derive(PartialEq, Eq, Debug)]
pub enum Act {
    /// The next event.
    Deliver(RecoveredEvent),
    /// The channel goes on after `position`.
    Skip {
        /// Where.
        position: Position,
        /// Events that are left out.
        skipped: u64,
        /// Why.
        reason: SkipReason,
    },
    /// Read the stream from this offset on and hand the range in.
    Read {
        /// The first offset.
        from: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Delivered {
    position: Position,
    /// Absent where the channel went on without a record.
    record: Option<RecordId>,
}

/// What a reading is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// What follows the newest position.
    Next,
    /// Where the delivered and the present history part.
    Rewind,
    /// Where the present history begins, which shares nothing with what was delivered lately.
    Anew,
}

/// A subscribed channel.
#[derive(Debug, Default)]
pub struct Watch {
    /// The newest delivered position; absent until the subscription is open.
    top: Option<Position>,
    delivered: VecDeque<Delivered>,
    pending: BTreeMap<(u64, u64), RecoveredEvent>,
    reading: Option<Reading>,
    /// A top of the server that was not reached yet when it was seen.
    ahead: Option<Position>,
    /// Events that are compared with the ids of delivered ones after a change of history.
    compare: usize,
}

impl Watch {
    /// The newest delivered position; `None` until the subscription is open.
    pub fn top(&self) -> Option<Position> {
        self.top
    }

    /// Opens the subscription after `position`: messages since it was made are delivered.
    pub fn open(&mut self, position: Position, acts: &mut Vec<Act>) {
        self.note(position, None);
        self.top = Some(position);
        self.drain(acts);
    }

    /// Takes an event of pub/sub.
    pub fn on_event(&mut self, event: RecoveredEvent, acts: &mut Vec<Act>) {
        match self.top {
            Some(top) if self.reading.is_none() => self.take(top, event, acts),
            _ => self.hold(event),
        }
    }

    /// Takes a top of the server after messages may have been missed: reads unless it is ours.
    /// A server that knows nothing of the channel says nothing about it.
    pub fn check(&mut self, server: Position, acts: &mut Vec<Act>) {
        let Some(top) = self.top else { return };
        if self.reading.is_none() && server.offset > 0 && !is_same(top, server) {
            self.read(Reading::Next, acts);
        }
    }

    /// Takes a recently changed top of the server. Messages on their way are given the time
    /// until [`Watch::confirm`]; returns whether that is wanted.
    pub fn on_top(&mut self, server: Position) -> bool {
        let Some(top) = self.top else { return false };
        let is_known = is_same(top, server)
            || self
                .delivered
                .iter()
                .any(|delivered| is_same(delivered.position, server));
        if is_known || self.reading.is_some() {
            return false;
        }
        self.ahead = Some(server);
        true
    }

    /// Reads when a top that [`Watch::on_top`] took was not reached.
    pub fn confirm(&mut self, acts: &mut Vec<Act>) {
        let (Some(top), Some(ahead)) = (self.top, self.ahead.take()) else {
            return;
        };
        let is_reached = self
            .delivered
            .iter()
            .any(|delivered| is_same(delivered.position, ahead))
            || (top.epoch >= ahead.epoch && top.offset > ahead.offset);
        if !is_reached && self.reading.is_none() {
            self.read(Reading::Next, acts);
        }
    }

    /// A reading failed; the channel is checked when the server is back.
    pub fn on_read_failed(&mut self) {
        self.reading = None;
    }

    /// Takes what was read. A server without events whose top is behind was told what an archive
    /// knew: until its next event it moves nobody, so that who has heard more can say so.
    pub fn on_range(&mut self, range: Range, acts: &mut Vec<Act>) {
        let (Some(reading), Some(top)) = (self.reading.take(), self.top) else {
            return;
        };
        if !range.continues(top) {
            let next = top.offset.saturating_add(1);
            let first = range.after(top.offset).first();
            let first = first.map(|event| event.placement.position.offset);
            // A reading for a rewind may end before the newest position.
            let is_trimmed = reading == Reading::Next
                && range.top.offset > top.offset
                && first.is_none_or(|offset| offset > next);
            if is_trimmed {
                let events = range.after(top.offset);
                self.skip_to(top, events, range.top, SkipReason::Retention, acts);
            } else if let Some(shared) = self.last_shared(&range) {
                let next = range.after(shared.offset).first();
                if next.is_none() && shared.offset < range.top.offset {
                    // The page ends here, and what both have may go on in the next one.
                    return self.read_from(Reading::Rewind, shared.offset + 1, acts);
                }
                if range.events.is_empty() {
                    match reading {
                        Reading::Next => return self.read(Reading::Rewind, acts),
                        _ => return self.drain(acts),
                    }
                }
                // A history that was built up again has the same chains in another epoch.
                let epoch = next.map_or(range.top.epoch.max(top.epoch), |next| {
                    next.placement.position.epoch
                });
                let position = Position { epoch, ..shared };
                self.skip(position, 0, SkipReason::Lineage, acts);
            } else {
                match reading {
                    Reading::Next => return self.read(Reading::Rewind, acts),
                    Reading::Rewind => return self.read_from(Reading::Anew, 1, acts),
                    Reading::Anew if range.events.is_empty() && range.top.offset < top.offset => {
                        return self.drain(acts);
                    }
                    Reading::Anew => {
                        if let Some(from) = self.begin_anew(top, &range, acts) {
                            return self.read_from(Reading::Anew, from, acts);
                        }
                    }
                }
            }
        }
        self.advance(top, range, acts);
    }

    /// Goes on before the first event of a later epoch than all that was delivered, which may
    /// stand at lower offsets: a server that was emptied begins at 1 when nobody who places there
    /// knows better. Returns where to read on when it is not in this range.
    fn begin_anew(&mut self, top: Position, range: &Range, acts: &mut Vec<Act>) -> Option<u64> {
        let mut events = range.events.iter();
        let newer = events.position(|event| event.placement.position.epoch > top.epoch);
        let last = range
            .events
            .last()
            .map(|last| last.placement.position.offset);
        match (newer, last) {
            (None, Some(last)) if last < range.top.offset => return Some(last + 1),
            (None, _) => self.skip_to(top, &[], range.top, SkipReason::Lineage, acts),
            (Some(at), _) => {
                self.skip_to(
                    top,
                    &range.events[at..],
                    range.top,
                    SkipReason::Lineage,
                    acts,
                );
            }
        }
        None
    }

    /// Delivers what was read, reads on or lets waiting messages follow.
    fn advance(&mut self, before: Position, range: Range, acts: &mut Vec<Act>) {
        let top_of_server = range.top;
        for event in range.events {
            if let Some(top) = self.top.filter(|top| follows(*top, &event.placement)) {
                self.deliver(top, event, acts);
            }
        }
        let is_behind = self
            .top
            .is_some_and(|top| top.offset < top_of_server.offset);
        if is_behind && self.top != Some(before) {
            return self.read(Reading::Next, acts);
        }
        self.drain(acts);
    }

    /// Delivers waiting messages that follow. Others were placed by a server that has lost them,
    /// or come after one that was dropped: the next message or look at the tops finds out.
    fn drain(&mut self, acts: &mut Vec<Act>) {
        for event in std::mem::take(&mut self.pending).into_values() {
            if let Some(top) = self.top.filter(|top| follows(*top, &event.placement)) {
                self.deliver(top, event, acts);
            }
        }
    }

    fn take(&mut self, top: Position, event: RecoveredEvent, acts: &mut Vec<Act>) {
        let position = event.placement.position;
        if follows(top, &event.placement) {
            return self.deliver(top, event, acts);
        }
        let is_old = position.epoch < top.epoch
            || (position.epoch == top.epoch && position.offset <= top.offset);
        if !is_old {
            self.hold(event);
            self.read(Reading::Next, acts);
        }
    }

    fn hold(&mut self, event: RecoveredEvent) {
        if self.pending.len() < PENDING_MAX {
            let position = event.placement.position;
            self.pending
                .insert((position.epoch, position.offset), event);
        }
    }

    fn deliver(&mut self, top: Position, event: RecoveredEvent, acts: &mut Vec<Act>) {
        let position = event.placement.position;
        // Ids come again only after a change of history.
        self.compare = self.compare.saturating_sub(1);
        let is_repeat = (self.compare > 0 || position.epoch != self.oldest_epoch(top))
            && self
                .delivered
                .iter()
                .any(|delivered| delivered.record == Some(event.record));
        self.top = Some(position);
        self.note(position, Some(event.record));
        if is_repeat {
            return self.skip(position, 0, SkipReason::Lineage, acts);
        }
        // Before its first event a channel is the same in every epoch.
        if position.epoch != top.epoch && top.offset > 0 {
            let epoch = position.epoch;
            self.skip(Position { epoch, ..top }, 0, SkipReason::Lineage, acts);
            self.top = Some(position);
        }
        acts.push(Act::Deliver(event));
    }

    fn oldest_epoch(&self, top: Position) -> u64 {
        let oldest = self.delivered.front();
        oldest.map_or(top.epoch, |oldest| oldest.position.epoch)
    }

    fn note(&mut self, position: Position, record: Option<RecordId>) {
        if self.delivered.len() == DELIVERED_MAX {
            self.delivered.pop_front();
        }
        self.delivered.push_back(Delivered { position, record });
    }

    fn skip(&mut self, position: Position, skipped: u64, reason: SkipReason, acts: &mut Vec<Act>) {
        self.top = Some(position);
        self.compare = DELIVERED_MAX + 1;
        // One word for a run of repeats: only the last position counts.
        if let (Some(Act::Skip { skipped: 0, .. }), 0) = (acts.last(), skipped) {
            acts.pop();
        }
        acts.push(Act::Skip {
            position,
            skipped,
            reason,
        });
    }

    /// Goes on before the first of these events, or at the top of the server when there is none.
    fn skip_to(
        &mut self,
        top: Position,
        events: &[RecoveredEvent],
        top_of_server: Position,
        reason: SkipReason,
        acts: &mut Vec<Act>,
    ) {
        let position = events.first().map_or(top_of_server, |first| Position {
            epoch: first.placement.position.epoch,
            offset: first.placement.position.offset - 1,
            chain: first.placement.previous_chain,
        });
        let skipped = position.offset.saturating_sub(top.offset);
        self.note(position, None);
        self.skip(position, skipped, reason, acts);
    }

    /// The newest delivered position that is part of the present history.
    fn last_shared(&self, range: &Range) -> Option<Position> {
        let mut shared: Option<Position> = None;
        for delivered in &self.delivered {
            let position = delivered.position;
            let is_newer = shared.is_none_or(|shared| position.offset > shared.offset);
            if is_newer && (range.continues(position) || range.contains(position)) {
                shared = Some(position);
            }
        }
        shared
    }

    fn read(&mut self, reading: Reading, acts: &mut Vec<Act>) {
        let oldest = self.delivered.iter().map(|one| one.position.offset).min();
        let from = match reading {
            Reading::Next => self.top.map_or(0, |top| top.offset.saturating_add(1)),
            Reading::Rewind => oldest.unwrap_or(0),
            Reading::Anew => 0,
        };
        self.read_from(reading, from, acts);
    }

    fn read_from(&mut self, reading: Reading, from: u64, acts: &mut Vec<Act>) {
        self.reading = Some(reading);
        self.ahead = None;
        acts.push(Act::Read { from: from.max(1) });
    }
}

/// Whether an event is the next one after a position.
fn follows(top: Position, placement: &Placement) -> bool {
    placement.position.offset == top.offset + 1
        && placement.previous_chain == top.chain
        && placement.position.epoch >= top.epoch
}

/// Whether two positions name the same history; the epoch of a top may be newer than its event.
fn is_same(one: Position, other: Position) -> bool {
    one.offset == other.offset && one.chain == other.chain
}
