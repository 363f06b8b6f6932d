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
//! longest goes. About 150 bytes for each cursor.
//! Runs on: the table on the shard, the log on the journal-files thread.

mod log;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use interlink_protocol::ids::{Position, RecordId};

use crate::limits::CURSOR_DEVICES_MAX;
pub use log::CursorLog;

/// A place that a device has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Up to and including this event.
    pub position: Position,
    /// The record there.
    pub record: RecordId,
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

/// The cursors of many users.
#[derive(Debug, Default)]
pub struct CursorTable {
    /// A user has cursors on a handful of channels; they are looked through.
    users: HashMap<Box<str>, Vec<Followed>>,
    /// Users with a changed cursor, one entry for each.
    changed: Vec<Box<str>>,
    moves: u64,
    cursors: usize,
}

impl CursorTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
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
        let followed = self.users.get(user)?;
        let devices = &followed
            .iter()
            .find(|followed| &*followed.channel == channel)?
            .devices;
        let own = devices.iter().find(|known| &*known.name == device);
        let place = |known: &&Device| {
            let position = known.cursor.position;
            (position.epoch, position.offset)
        };
        own.or_else(|| devices.iter().max_by_key(place))
            .map(|known| known.cursor)
    }

    /// Takes up to `limit` cursors that moved since they were taken last.
    pub fn take_changed(&mut self, limit: usize) -> Vec<CursorUpdate> {
        let mut updates = Vec::new();
        while updates.len() < limit {
            let Some(user) = self.changed.pop() else {
                break;
            };
            let followed = self.users.get_mut(&user).into_iter().flatten();
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
            .flat_map(|(user, all)| all.iter().map(move |one| (user, one)));
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
        self.moves += 1;
        if !self.users.contains_key(user) {
            self.users.insert(user.into(), Vec::new());
        }
        let Some(followed) = self.users.get_mut(user) else {
            return false;
        };
        let at = followed
            .iter()
            .position(|followed| &*followed.channel == channel);
        let at = at.unwrap_or_else(|| {
            followed.push(Followed {
                channel: channel.into(),
                devices: Vec::new(),
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
