//! The 64 bits of user data that travel through an operation: what it was and whose it was.
//!
//! **Invariants.** user_data = operation (8 bits) | ring (8) | generation (24) | slot (24). For
//! operations that belong to no connection the three last fields carry the number of a table
//! entry.

use crate::event::HandshakeId;
use crate::socket_id::SocketId;

/// What an operation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Operation {
    /// Multishot receive of a connection.
    Receive = 1,
    /// Single receive of a handshake.
    ReceiveOnce = 2,
    /// One-shot poll for room to send.
    Poll = 3,
    /// Send; generation = number of the batch, slot = index in the batch.
    Send = 4,
    /// Files update; generation = number of the call.
    Install = 5,
    /// Close of a slot.
    Close = 6,
    /// Cancel of a multishot receive.
    CancelReceive = 7,
    /// Cancel of a poll.
    CancelPoll = 8,
    /// Cancel of a single receive.
    CancelOnce = 9,
    /// Accept; slot = address entry.
    Accept = 10,
    /// Cancel of an accept.
    CancelAccept = 11,
    /// Data sync; slot = file table entry.
    Sync = 12,
    /// The timer.
    Timer = 13,
    /// A new deadline for the timer.
    TimerUpdate = 14,
}

impl Operation {
    const ALL: [Self; 14] = [
        Self::Receive,
        Self::ReceiveOnce,
        Self::Poll,
        Self::Send,
        Self::Install,
        Self::Close,
        Self::CancelReceive,
        Self::CancelPoll,
        Self::CancelOnce,
        Self::Accept,
        Self::CancelAccept,
        Self::Sync,
        Self::Timer,
        Self::TimerUpdate,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).wrapping_sub(1)).copied()
    }
}

/// User data of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(u64);

impl Tag {
    /// An operation of a connection.
    pub(crate) const fn socket(operation: Operation, socket: SocketId) -> Self {
        Self(((operation as u64) << 56) | socket.as_u64())
    }

    /// An operation of a handshake.
    pub(crate) const fn handshake(operation: Operation, handshake: HandshakeId) -> Self {
        Self::socket(
            operation,
            SocketId::new(0, handshake.generation, handshake.slot),
        )
    }

    /// An operation that is named by two numbers below 2^24.
    pub(crate) const fn numbered(operation: Operation, sequence: u32, index: u32) -> Self {
        Self::socket(operation, SocketId::new(0, sequence, index))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The operation; `None` for bits that this crate never made.
    pub(crate) fn operation(self) -> Option<Operation> {
        Operation::from_code((self.0 >> 56) as u8)
    }

    /// The connection, or the numbers, of the operation.
    pub(crate) const fn id(self) -> SocketId {
        SocketId::from_u64(self.0)
    }

    /// The handshake of the operation.
    pub(crate) const fn handshake_id(self) -> HandshakeId {
        HandshakeId {
            slot: self.id().slot(),
            generation: self.id().generation(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_name_survives_the_round_trip() {
        let id = SocketId::new(63, 0x00ab_cdef, 0x0012_3456);
        for operation in Operation::ALL {
            let tag = Tag::from_bits(Tag::socket(operation, id).bits());
            assert_eq!(tag.operation(), Some(operation));
            assert_eq!(tag.id(), id);
        }
        assert_eq!(Tag::from_bits(0).operation(), None);
        assert_eq!(Tag::from_bits(u64::MAX).operation(), None);
        let handshake = HandshakeId {
            slot: 5,
            generation: 9,
        };
        assert_eq!(
            Tag::handshake(Operation::ReceiveOnce, handshake).handshake_id(),
            handshake
        );
    }
}
