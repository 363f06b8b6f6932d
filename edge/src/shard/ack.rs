//! Delivery cursors: how far each device has acknowledged.
//!
//! Purpose: for channels whose policy keeps a cursor, the client's cumulative
//! acknowledgement moves a cursor that only goes forward. What moved is handed to the
//! journal-files thread in batches, and with an archive to the relay thread for other nodes; a
//! subscription without a position starts there.
//!
//! Invariants: nothing is acknowledged that was not sent; while nobody can say what a device missed
//! before it came, its acknowledgements move nothing; a cursor that is lost or
//! written late means that events come again, never that one is skipped.
//!
//! Limits: the shard's share of `CURSORS_MAX`; one batch of [`BATCH`] is under way at a
//! time, and what moves meanwhile is one entry for each cursor.
//!
//! Thread: the home shard of the user.

use std::collections::HashMap;

use flatbuffers::{ForwardsUOffset, Vector};
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::session::ack::{decide_ack, AckDecision};
use interlink_relay::cursors::{Cursor, CursorStart, CursorTable, CursorUpdate};
use interlink_relay::limits::CURSORS_MAX;
use interlink_wire as wire;

use super::channel::SubscriptionState;
use super::connection::NONE;
use super::files::{CursorWish, FilesRequest};
use super::Shard;

/// Cursors of one batch: about 100 KiB of file for one sync.
const BATCH: usize = 1_024;
/// Least time between two batches. A sync for each acknowledgement would cost the disk more
/// than the events do; what the delay can cost is that as much comes again after a crash.
const BATCH_EVERY_MS: u32 = 100;

/// Cursors of the shard's users.
#[derive(Debug)]
pub struct Cursors {
    table: CursorTable,
    /// Devices of the sessions that named one.
    devices: HashMap<u32, Box<str>>,
    is_writing: bool,
    last_batch_ms: u32,
}

impl Cursors {
    /// No cursors yet, on one of `shards` shards.
    pub fn new(shards: u16) -> Self {
        Self {
            table: CursorTable::new(CURSORS_MAX / usize::from(shards)),
            devices: HashMap::new(),
            is_writing: false,
            last_batch_ms: 0,
        }
    }

    /// Takes over a cursor of an earlier boot.
    pub fn restore(&mut self, update: &CursorUpdate) {
        self.table.restore(update);
    }

    /// The device of a session; empty when it named none.
    pub fn device(&self, session: u32) -> &str {
        self.devices.get(&session).map_or("", |device| device)
    }

    /// Takes over where a device stands by the archive. The place of another device is only that
    /// of a new one: what a known device has not acknowledged must not be skipped.
    pub fn take_elsewhere(&mut self, wish: &CursorWish, start: CursorStart) {
        let (user, device, channel) = (&*wish.user, &*wish.device, &*wish.channel);
        if start.own {
            return self.table.restore(&CursorUpdate {
                user: user.into(),
                device: device.into(),
                channel: channel.into(),
                cursor: start.cursor,
            });
        }
        let place = |cursor: &Cursor| (cursor.position.epoch, cursor.position.offset);
        let known = self.table.start(user, device, channel);
        let is_known = self.table.own(user, device, channel).is_some();
        if !is_known && known.is_none_or(|known| place(&known) < place(&start.cursor)) {
            self.table.advance(user, device, channel, start.cursor);
        }
    }

    /// Notes the device of a session's newest connection.
    pub fn set_device(&mut self, session: u32, device: Box<str>) {
        if device.is_empty() {
            self.devices.remove(&session);
        } else {
            self.devices.insert(session, device);
        }
    }

    /// Forgets a session; the cursor stays.
    pub fn forget_session(&mut self, session: u32) {
        self.devices.remove(&session);
    }

    /// The batch that is due, if there is one. `all` asks for what waits at once.
    fn take_batch(&mut self, now_ms: u32, all: bool) -> Option<Vec<CursorUpdate>> {
        let rested = now_ms.wrapping_sub(self.last_batch_ms) >= BATCH_EVERY_MS;
        let free = all || (rested && !self.is_writing);
        if !free || !self.table.has_changed() {
            return None;
        }
        self.is_writing = true;
        self.last_batch_ms = now_ms;
        Some(self.table.take_changed(BATCH))
    }

    /// When a batch is due, in shard milliseconds.
    pub fn next_batch_at(&self) -> Option<u32> {
        let waits = self.table.has_changed() && !self.is_writing;
        waits.then(|| self.last_batch_ms.wrapping_add(BATCH_EVERY_MS))
    }

    /// Whether every move is on the disk.
    pub fn are_kept(&self) -> bool {
        !self.is_writing && !self.table.has_changed()
    }

    /// Cursors that are held.
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

impl Shard {
    /// A client acknowledges what it has processed.
    pub(super) fn on_ack(
        &mut self,
        connection: u32,
        positions: Vector<'_, ForwardsUOffset<wire::ChannelPosition<'_>>>,
    ) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        for entry in positions {
            let found = self
                .find_channel(entry.channel())
                .filter(|&channel| self.policy(self.channels[channel].policy).cursor)
                .and_then(|channel| self.find_subscription(session, channel));
            if let Some(subscription) = found {
                if self.look_ups.unproven.contains(&subscription) {
                    continue;
                }
                self.move_cursor(subscription, Position::from(entry.position()));
            }
        }
    }

    fn move_cursor(&mut self, subscription: u32, acked: Position) {
        let sub = &self.subscriptions[subscription];
        let channel = &self.channels[sub.channel];
        let user = &self.users[self.sessions[sub.session].user].name;
        let device = self.cursors.devices.get(&sub.session);
        let device = device.map_or("", |device| device);
        let known = self.cursors.table.own(user, device, &channel.name);
        let cursor = known.map_or(Position::ZERO, |known| known.position);
        let sent = self.sent_position(subscription);
        // Of the present numbering everything up to `sent` is known to be valid.
        let valid = || acked.epoch == sent.epoch || self.logs.find(channel, acked).is_some();
        if decide_ack(cursor, acked, sent, valid) != AckDecision::Advance {
            return;
        }
        let cursor = Cursor {
            position: acked,
            record: RecordId(0),
        };
        let table = &mut self.cursors.table;
        if table.advance(user, device, &channel.name, cursor) {
            self.counters.cursors_moved += 1;
        }
    }

    /// Position of the last event that was sent to a subscriber.
    fn sent_position(&self, subscription: u32) -> Position {
        let sub = &self.subscriptions[subscription];
        match sub.state {
            SubscriptionState::Behind => self
                .behind
                .get(&subscription)
                .map_or(Position::ZERO, |behind| behind.position),
            _ => self
                .logs
                .position_at(&self.channels[sub.channel], sub.cursor),
        }
    }

    /// Where a session continues on a channel that it has no position of: at its device's
    /// cursor, a new device at the furthest of its user's; where nobody ever acknowledged, at
    /// the channel's beginning. With `begins` the device keeps that place as its own.
    pub(super) fn cursor_start(&mut self, session: u32, channel: u32, begins: bool) -> Position {
        let user = &self.users[self.sessions[session].user].name;
        let device = self.cursors.devices.get(&session);
        let device = device.map_or("", |device| device);
        let name = &self.channels[channel].name;
        let table = &mut self.cursors.table;
        let start = match begins {
            true => table.begin(user, device, name),
            false => table.start(user, device, name),
        };
        start.map_or(Position::ZERO, |cursor| cursor.position)
    }

    /// Hands moved cursors to the files thread when a batch is due; all of them when the shard
    /// takes no new work.
    pub(super) fn keep_cursors(&mut self) {
        let all = self.drain.refuses_work();
        while let Some(updates) = self.cursors.take_batch(self.clock.now_ms, all) {
            let shard = self.id;
            if self.has_archive() {
                self.files
                    .request(FilesRequest::MoveCursors(updates.clone()));
            }
            self.files
                .request(FilesRequest::KeepCursors { shard, updates });
        }
    }

    /// A batch of cursors was written.
    pub(super) fn on_cursors_kept(&mut self, count: usize) {
        self.cursors.is_writing = false;
        self.counters.cursors_kept += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(cursors: &mut Cursors, user: &str, offset: u64) {
        let position = Position {
            epoch: 1,
            offset,
            chain: offset,
        };
        let cursor = Cursor {
            position,
            record: RecordId(0),
        };
        assert!(cursors.table.advance(user, "phone", "user", cursor));
    }

    #[test]
    fn cursors_leave_in_batches_one_at_a_time() {
        let mut cursors = Cursors::new(1);
        assert_eq!(cursors.next_batch_at(), None);
        moved(&mut cursors, "ada", 1);
        assert_eq!(cursors.take_batch(500, false).expect("due").len(), 1);
        moved(&mut cursors, "ada", 2);
        moved(&mut cursors, "ada", 3);
        assert!(cursors.take_batch(900, false).is_none(), "one is under way");
        cursors.is_writing = false;
        assert_eq!(cursors.next_batch_at(), Some(500 + BATCH_EVERY_MS));
        assert!(cursors.take_batch(599, false).is_none());
        let batch = cursors.take_batch(600, false).expect("due");
        assert_eq!(batch.len(), 1, "one entry for each cursor");
        assert_eq!(batch[0].cursor.position.offset, 3);
    }

    #[test]
    fn a_stop_waits_for_nothing() {
        let mut cursors = Cursors::new(1);
        for user in 0..2 * BATCH {
            moved(&mut cursors, &user.to_string(), 1);
        }
        let mut taken = 0;
        while let Some(batch) = cursors.take_batch(0, true) {
            assert!(batch.len() <= BATCH);
            taken += batch.len();
        }
        assert_eq!(taken, 2 * BATCH);
    }

    #[test]
    fn the_place_of_another_device_is_only_that_of_a_new_one() {
        let mut cursors = Cursors::new(1);
        moved(&mut cursors, "ada", 4);
        let at = |offset| Cursor {
            position: Position {
                epoch: 1,
                offset,
                chain: offset,
            },
            record: RecordId(0),
        };
        let mut elsewhere = |device: &str, own, offset| {
            let wish = CursorWish {
                shard: 0,
                socket: interlink_uring::SocketId::NONE,
                user: "ada".into(),
                device: device.into(),
                channel: "user".into(),
            };
            let cursor = at(offset);
            cursors.take_elsewhere(&wish, CursorStart { cursor, own });
            let own = cursors.table.own("ada", device, "user");
            own.map(|own| own.position.offset)
        };
        assert_eq!(elsewhere("phone", false, 9), Some(4), "it has its own");
        assert_eq!(elsewhere("phone", true, 6), Some(6), "it moved elsewhere");
        assert_eq!(elsewhere("phone", true, 5), Some(6), "forward only");
        assert_eq!(elsewhere("tablet", false, 9), Some(9), "a new device");
        assert_eq!(elsewhere("watch", false, 8), None, "9 is further");
    }

    #[test]
    fn recovered_cursors_are_known_and_not_written_again() {
        let mut before = Cursors::new(1);
        moved(&mut before, "ada", 4);
        let kept = before.take_batch(0, true).expect("due");
        let mut cursors = Cursors::new(1);
        cursors.restore(&kept[0]);
        assert_eq!(cursors.len(), 1);
        assert_eq!(cursors.next_batch_at(), None);
        let own = cursors.table.own("ada", "phone", "user");
        assert_eq!(own.map(|own| own.position.offset), Some(4));
    }
}
