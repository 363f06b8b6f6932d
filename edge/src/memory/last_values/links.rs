//! Doubly linked lists through records of a table, by index.
//!
//! Runs on: the thread that owns the table.

use crate::memory::Slab;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// A record's neighbours in one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

/// Both ends of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    first: u32,
    /// The newest; meaningless while the list is empty.
    pub(super) last: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            previous: NONE,
            next: NONE,
        }
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl Links {
    /// The record after this one.
    pub(super) fn next(self) -> Option<u32> {
        (self.next != NONE).then_some(self.next)
    }
}

impl Ends {
    /// The first record.
    pub(super) fn first(self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

/// Adds a record at the end.
pub(super) fn push<T>(
    ends: &mut Ends,
    records: &mut Slab<T>,
    at: u32,
    of: fn(&mut T) -> &mut Links,
) {
    *of(&mut records[at]) = Links {
        previous: ends.last,
        next: NONE,
    };
    match ends.last {
        NONE => ends.first = at,
        last => of(&mut records[last]).next = at,
    }
    ends.last = at;
}

/// Takes a record out.
pub(super) fn unlink<T>(
    ends: &mut Ends,
    records: &mut Slab<T>,
    at: u32,
    of: fn(&mut T) -> &mut Links,
) {
    let Links { previous, next } = *of(&mut records[at]);
    match previous {
        NONE => ends.first = next,
        previous => of(&mut records[previous]).next = next,
    }
    match next {
        NONE => ends.last = previous,
        next => of(&mut records[next]).previous = previous,
    }
}
