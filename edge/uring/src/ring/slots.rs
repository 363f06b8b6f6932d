//! State of the direct-descriptor slots of a ring: four bytes each.
//!
//! **Invariants.** The generation is in 1..2^24 once a slot was used and changes when the slot is
//! retired, so a completion of an earlier use never matches. A slot that is not in use carries no
//! flag.
//!
//! **Limits.** The memory is reserved for all slots and touched by use: an idle ring costs the
//! pages of its used slots only.

use std::io;

use super::mapping::Mapping;
use crate::socket_id::{FIELD_MASK, GENERATION_BITS};

/// Flags and generation of one slot.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct SlotState(u32);

const _: () = assert!(
    std::mem::size_of::<SlotState>() <= 16,
    "an idle connection stays small"
);

/// A connection is in the slot.
pub(crate) const INSTALLED: u8 = 1;
/// A multishot receive is armed.
pub(crate) const RECEIVING: u8 = 2;
/// The armed receive is being cancelled at the caller's wish.
pub(crate) const STOPPING: u8 = 4;
/// Arm again when the stop has ended.
pub(crate) const REARM: u8 = 8;
/// The receive ran out of buffers and waits for the end of the turn.
pub(crate) const STARVED: u8 = 16;
/// A poll for room to send is armed.
pub(crate) const POLLING: u8 = 32;
/// The caller closed the connection; the operations are not submitted yet.
pub(crate) const CLOSING: u8 = 64;

impl SlotState {
    pub(crate) const fn generation(self) -> u32 {
        self.0 & FIELD_MASK
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.0 & ((flag as u32) << GENERATION_BITS) != 0
    }

    pub(crate) fn set(&mut self, flags: u8) {
        self.0 |= u32::from(flags) << GENERATION_BITS;
    }

    pub(crate) fn clear(&mut self, flags: u8) {
        self.0 &= !(u32::from(flags) << GENERATION_BITS);
    }

    /// Begins a use: answers the generation.
    pub(crate) fn begin(&mut self) -> u32 {
        let generation = self.generation().max(1);
        self.0 = generation | (u32::from(INSTALLED) << GENERATION_BITS);
        generation
    }

    /// Ends a use: all flags go and the generation moves on, past zero.
    pub(crate) fn retire(&mut self) {
        let next = (self.generation() + 1) & FIELD_MASK;
        self.0 = next.max(1);
    }
}

/// The slots of one ring.
pub(crate) struct SlotTable {
    memory: Mapping,
    slots: u32,
}

impl SlotTable {
    pub(crate) fn new(slots: u32) -> io::Result<Self> {
        let memory = Mapping::lazy(slots as usize * std::mem::size_of::<SlotState>())?;
        Ok(Self { memory, slots })
    }

    pub(crate) fn len(&self) -> u32 {
        self.slots
    }

    /// The slot, whatever its generation.
    ///
    /// # Panics
    /// When the slot does not exist: only the kernel names slots here, and it knows their number.
    pub(crate) fn slot(&mut self, slot: u32) -> &mut SlotState {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        // SAFETY: the index is below the number of slots for which the memory was mapped; zeroed
        // memory is a valid `SlotState`; the borrow of `self` makes the reference unique.
        unsafe {
            &mut *self
                .memory
                .start()
                .as_ptr()
                .cast::<SlotState>()
                .add(slot as usize)
        }
    }

    /// The slot if this generation is in use and not closed by the caller.
    pub(crate) fn open(&mut self, slot: u32, generation: u32) -> Option<&mut SlotState> {
        self.current(slot, generation)
            .filter(|state| !state.has(CLOSING))
    }

    /// The slot if this generation is in use, closed by the caller or not.
    pub(crate) fn current(&mut self, slot: u32, generation: u32) -> Option<&mut SlotState> {
        if slot >= self.slots {
            return None;
        }
        let state = self.slot(slot);
        (state.has(INSTALLED) && state.generation() == generation).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_generation_never_matches_again_until_it_wraps() {
        let mut table = SlotTable::new(4).expect("a page must be available");
        let first = table.slot(3).begin();
        assert_eq!(first, 1);
        table.slot(3).set(RECEIVING | POLLING);
        assert!(table
            .open(3, first)
            .is_some_and(|s| s.has(RECEIVING) && s.has(POLLING)));
        table.slot(3).clear(POLLING);
        assert!(table
            .open(3, first)
            .is_some_and(|s| s.has(RECEIVING) && !s.has(POLLING)));
        table.slot(3).retire();
        assert!(table.open(3, first).is_none());
        let second = table.slot(3).begin();
        assert_eq!(second, 2);
        assert!(table.open(3, second).is_some_and(|s| !s.has(RECEIVING)));
        assert!(table.open(3, first).is_none());
        assert!(
            table.open(4, 1).is_none(),
            "a slot beyond the table does not exist"
        );
    }

    #[test]
    fn the_generation_skips_zero_when_it_wraps() {
        let mut table = SlotTable::new(1).expect("a page must be available");
        table.slot(0).0 = FIELD_MASK;
        assert_eq!(table.slot(0).begin(), FIELD_MASK);
        table.slot(0).retire();
        assert_eq!(table.slot(0).begin(), 1);
    }

    #[test]
    fn a_closing_slot_is_current_but_not_open() {
        let mut table = SlotTable::new(1).expect("a page must be available");
        let generation = table.slot(0).begin();
        table.slot(0).set(CLOSING);
        assert!(table.open(0, generation).is_none());
        assert!(table.current(0, generation).is_some());
    }
}
