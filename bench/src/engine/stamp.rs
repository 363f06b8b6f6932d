//! The stamp inside every payload: sender, sequence and scheduled time.
//!
//! It is printable text, six bits a character, so that it may stand in any text field of a core
//! event type and survives every check on the way. Layout: four characters of magic, 6 of
//! sender, 11 of sequence, 11 of the scheduled time, low bits first.
//!
//! Runs on: the generator's thread.

/// Length of a stamp in bytes.
pub const STAMP_BYTES: usize = 32;

/// What a stamp starts with.
pub const MAGIC: &[u8; 4] = b"ILB1";

const SENDER_AT: usize = 4;
const SEQUENCE_AT: usize = 10;
const SCHEDULED_AT: usize = 21;
/// First of the 64 characters in use: `0` to `o`.
const BASE: u8 = b'0';

/// Who sent an event, its number, and when it was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the sender (below 2^32).
    pub sender: u32,
    /// Number of the event in the sender's stream, from 1.
    pub sequence: u64,
    /// Monotonic nanoseconds at which the event was due.
    pub scheduled_ns: u64,
}

impl Stamp {
    /// Writes the stamp over the first [`STAMP_BYTES`] of `place`.
    ///
    /// # Panics
    /// When `place` is shorter than a stamp.
    pub fn write(&self, place: &mut [u8]) {
        let place = &mut place[..STAMP_BYTES];
        place[..SENDER_AT].copy_from_slice(MAGIC);
        put(&mut place[SENDER_AT..SEQUENCE_AT], u64::from(self.sender));
        put(&mut place[SEQUENCE_AT..SCHEDULED_AT], self.sequence);
        put(&mut place[SCHEDULED_AT..], self.scheduled_ns);
    }

    /// Reads the stamp at the start of `bytes`; `None` when none is there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..STAMP_BYTES)?;
        if &bytes[..SENDER_AT] != MAGIC {
            return None;
        }
        Some(Self {
            sender: get(&bytes[SENDER_AT..SEQUENCE_AT]) as u32,
            sequence: get(&bytes[SEQUENCE_AT..SCHEDULED_AT]),
            scheduled_ns: get(&bytes[SCHEDULED_AT..]),
        })
    }

    /// Finds the stamp in a payload. `hint` is where the last one stood; it is tried first and
    /// updated, so that events of one shape cost one comparison.
    pub fn find(payload: &[u8], hint: &mut usize) -> Option<Self> {
        if let Some(stamp) = payload.get(*hint..).and_then(Self::read) {
            return Some(stamp);
        }
        let at = place(payload)?;
        *hint = at;
        Self::read(&payload[at..])
    }
}

/// Where a stamp stands in `bytes`.
pub fn place(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
}

fn put(place: &mut [u8], mut value: u64) {
    for byte in place {
        *byte = BASE + (value & 63) as u8;
        value >>= 6;
    }
}

fn get(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| {
        value << 6 | u64::from(byte.wrapping_sub(BASE) & 63)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            sender: u32,
            sequence: u64,
            scheduled_ns: u64,
            lead in 0_usize..50,
        ) {
            let stamp = Stamp { sender, sequence, scheduled_ns };
            let mut payload = vec![b'.'; lead + STAMP_BYTES + 7];
            stamp.write(&mut payload[lead..]);
            let mut hint = 0;
            prop_assert_eq!(Stamp::find(&payload, &mut hint), Some(stamp));
            prop_assert_eq!(hint, lead);
            prop_assert_eq!(Stamp::find(&payload, &mut hint), Some(stamp));
            prop_assert!(payload.iter().all(u8::is_ascii_graphic));
        }
    }

    #[test]
    fn bytes_without_a_stamp_give_none() {
        let mut hint = 3;
        assert_eq!(Stamp::find(&[b'x'; 100], &mut hint), None);
        assert_eq!(Stamp::find(b"ILB1 cut short", &mut hint), None);
        assert_eq!(Stamp::find(b"", &mut hint), None);
    }
}
