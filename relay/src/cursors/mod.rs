//! How far each device has acknowledged each channel.
//!
//! A cursor moves forward only: within an epoch by offset, across epochs by epoch. A device
//! that comes without a position starts at its cursor, a new device at the furthest of the
//! user's. The table is kept by whoever serves the user; what moved is taken in batches and
//! appended to a [`CursorLog`] by the files side.
//!
//! Invariant: a cursor that is lost, or written late, means that events come again, never
//! that one is skipped.
//! Limits: [`CURSOR_DEVICES_MAX`] devices for each user and channel; the one that was quiet
//! longest goes. A table has a most of cursors, [`CURSOR_BYTES`] each; beyond it, users go
//! that have been quiet for long.
//! Runs on: the table on the shard, the log on the journal-files thread.

mod log;
#[cfg(test)]
mod tests;
mod trail;

use std::collections::{HashMap, VecDeque};

use interlink_protocol::ids::{Position, RecordId};

#[cfg(doc)]
use crate::limits::CURSOR_BYTES;
use crate::limits::{CURSOR_DEVICES_MAX, CURSOR_EVICTION_CANDIDATES};
pub use log::CursorLog;
pub use trail::{Settled, Trail, POINT_EVERY_US, TRAIL_US};

/// A place that a device has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Up to and including this event.
    pub position: Position,
    /// The record there; 0 where only the position is known.
    pub record: RecordId,
}

/// Where a device continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CursorStart {
    /// The place.
    pub cursor: Cursor,
    /// Whether it is the device's own; else it is the furthest of the user's devices.
    pub own: bool,
}

/// A cursor with its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CursorUpdate {
    /// The user.
    pub user: Box<str>,
    /// The user's device.
    pub device: Box<str>,
    /// Full channel name.
    pub channel: Box<str>,
    /// The place.
    pub cursor: Cursor,
}

#[derive(Clone, Debug)]
struct Device {
    name: Box<str>,
    cursor: Cursor,
    /// Counts the moves of the table; tells which device was quiet longest.
    moved: u64,
    changed: bool,
}

/// The devices of a user on one channel.
#[derive(Clone, Debug)]
struct Followed {
    channel: Box<str>,
    devices: Vec<Device>,
}

/// A user's cursors on a handful of channels, which are looked through.
#[derive(Clone, Debug)]
struct Owned {
    followed: Vec<Followed>,
    /// Count of the table's moves at the last of this user.
    moved: u64,
}

impl Owned {
    fn on(&self, channel: &str) -> Option<&Followed> {
        let mut followed = self.followed.iter();
        followed.find(|followed| &*followed.channel == channel)
    }
}

/// The cursors of many users.
#[derive(Debug)]
pub struct CursorTable {
    users: HashMap<Box<str>, Owned>,
    /// Users in the order in which they may go, each with its `moved` when it was queued.
    order: VecDeque<(Box<str>, u64)>,
    /// Users with a changed cursor, one entry for each.
    changed: Vec<Box<str>>,
    moves: u64,
    cursors: usize,
    most: usize,
}

impl CursorTable {
    /// An empty table of at most `most` cursors.
    pub fn new(most: usize) -> Self {
        Self {
            users: HashMap::new(),
            order: VecDeque::new(),
            changed: Vec::new(),
            moves: 0,
            cursors: 0,
            most,
        }
    }

    /// Moves a cursor; says whether it moved. Allocates only for what it has not seen, and
    /// for what is to be taken.
    pub fn advance(&mut self, user: &str, device: &str, channel: &str, cursor: Cursor) -> bool {
        self.move_to(user, device, channel, cursor, true)
    }

    /// Takes over a cursor that a log has kept; it counts as unchanged.
    pub fn restore(&mut self, update: &CursorUpdate) {
        let (user, device) = (&update.user, &update.device);
        self.move_to(user, device, &update.channel, update.cursor, false);
    }

    /// Where a device continues: at its own cursor, else at the user's furthest.
    pub fn start(&self, user: &str, device: &str, channel: &str) -> Option<Cursor> {
        let devices = &self.users.get(user)?.on(channel)?.devices;
        let own = devices.iter().find(|known| &*known.name == device);
        let place = |known: &&Device| {
            let position = known.cursor.position;
            (position.epoch, position.offset)
        };
        own.or_else(|| devices.iter().max_by_key(place))
            .map(|known| known.cursor)
    }

    /// As [`Self::start`], for a device that begins there: from now on it has a cursor of its
    /// own, so that what it has not acknowledged is not skipped when others of the user go on.
    pub fn begin(&mut self, user: &str, device: &str, channel: &str) -> Option<Cursor> {
        let cursor = self.start(user, device, channel)?;
        self.advance(user, device, channel, cursor);
        Some(cursor)
    }

    /// A device's own cursor.
    pub fn own(&self, user: &str, device: &str, channel: &str) -> Option<Cursor> {
        let devices = &self.users.get(user)?.on(channel)?.devices;
        let own = devices.iter().find(|known| &*known.name == device);
        own.map(|known| known.cursor)
    }

    /// Whether [`Self::take_changed`] has something to give.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes up to `limit` cursors that moved since they were taken last.
    pub fn take_changed(&mut self, limit: usize) -> Vec<CursorUpdate> {
        let mut updates = Vec::new();
        while updates.len() < limit {
            let Some(user) = self.changed.pop() else {
                break;
            };
            let owned = self.users.get_mut(&user).into_iter();
            let followed = owned.flat_map(|owned| &mut owned.followed);
            let mut changed = followed.flat_map(|followed| {
                let channel = &followed.channel;
                let devices = followed.devices.iter_mut();
                devices
                    .filter(|device| device.changed)
                    .map(move |device| (channel, device))
            });
            if let Some((channel, device)) = changed.next() {
                device.changed = false;
                updates.push(CursorUpdate {
                    user,
                    device: device.name.clone(),
                    channel: channel.clone(),
                    cursor: device.cursor,
                });
            }
        }
        updates
    }

    /// Every cursor.
    pub fn iter(&self) -> impl Iterator<Item = CursorUpdate> + '_ {
        let followed = self
            .users
            .iter()
            .flat_map(|(user, owned)| owned.followed.iter().map(move |one| (user, one)));
        followed.flat_map(|(user, followed)| {
            followed.devices.iter().map(move |device| CursorUpdate {
                user: user.clone(),
                device: device.name.clone(),
                channel: followed.channel.clone(),
                cursor: device.cursor,
            })
        })
    }

    /// Cursors held.
    pub fn len(&self) -> usize {
        self.cursors
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cursors == 0
    }

    fn move_to(
        &mut self,
        user: &str,
        device: &str,
        channel: &str,
        cursor: Cursor,
        changed: bool,
    ) -> bool {
        if self.own(user, device, channel).is_none() {
            self.make_room();
        }
        self.moves += 1;
        if !self.users.contains_key(user) {
            // Most users have one cursor, and a vector that grows begins with room for four.
            let owned = Owned {
                followed: Vec::with_capacity(1),
                moved: 0,
            };
            self.users.insert(user.into(), owned);
            self.order.push_back((user.into(), self.moves));
        }
        let Some(owned) = self.users.get_mut(user) else {
            return false;
        };
        owned.moved = self.moves;
        let followed = &mut owned.followed;
        let at = followed
            .iter()
            .position(|followed| &*followed.channel == channel);
        let at = at.unwrap_or_else(|| {
            followed.push(Followed {
                channel: channel.into(),
                devices: Vec::with_capacity(1),
            });
            followed.len() - 1
        });
        let devices = &mut followed[at].devices;
        let known = devices.iter().position(|known| &*known.name == device);
        let index = known.unwrap_or_else(|| {
            if devices.len() >= CURSOR_DEVICES_MAX {
                forget_quietest(devices);
                self.cursors -= 1;
            }
            self.cursors += 1;
            let (name, moved) = (device.into(), self.moves);
            devices.push(Device {
                name,
                cursor,
                moved,
                changed: false,
            });
            devices.len() - 1
        });
        let device = &mut devices[index];
        if known.is_some() && !is_forward(device.cursor.position, cursor.position) {
            return false;
        }
        device.cursor = cursor;
        device.moved = self.moves;
        if changed && !std::mem::replace(&mut device.changed, true) {
            self.changed.push(user.into());
        }
        true
    }

    /// Forgets users for one more cursor, preferably such as were quiet since they were looked
    /// at last.
    fn make_room(&mut self) {
        let mut looked_at = 0;
        while self.cursors >= self.most {
            let Some((user, queued)) = self.order.pop_front() else {
                return;
            };
            let moved = self.users.get(&user).map_or(0, |owned| owned.moved);
            looked_at += 1;
            if moved > queued && looked_at < CURSOR_EVICTION_CANDIDATES {
                self.order.push_back((user, moved));
            } else if let Some(owned) = self.users.remove(&user) {
                let devices = owned.followed.iter().map(|one| one.devices.len());
                self.cursors -= devices.sum::<usize>();
            }
        }
    }
}

fn is_forward(from: Position, to: Position) -> bool {
    (to.epoch, to.offset) > (from.epoch, from.offset)
}

fn forget_quietest(devices: &mut Vec<Device>) {
    let quietest = devices
        .iter()
        .enumerate()
        .min_by_key(|(_, device)| device.moved);
    if let Some((index, _)) = quietest {
        devices.swap_remove(index);
    }
}
