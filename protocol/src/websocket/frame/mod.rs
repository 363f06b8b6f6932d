//! Frame headers: reading with every check of RFC 6455 section 5.2, and writing.
//!
//! Two readers stand here. [`parse`] is the one authority on what is refused: it checks what the
//! first two bytes and the length tell, and takes the header itself from tungstenite's
//! `FrameHeader::parse`. [`find_whole`] only recognises the frame that nearly always comes, an
//! unfragmented data frame with a short length that is already there in full; it accepts nothing
//! that `parse` would refuse and refuses nothing, it only declines.
//!
//! Decision: `FrameHeader::parse` goes through a cursor, a reader trait and five log statements,
//! several times the instructions of `find_whole` on the same header, and it leaves masks,
//! reserved bits, control frames, minimal lengths and limits to its caller. So it serves all
//! headers except the hot one, and a test compares the two readers on all 65,536 first two bytes.
//!
//! Invariant: a refusal comes as soon as the bytes that prove it are there, and before any
//! payload byte is kept. Runs on: any thread.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;

use super::limits::{CLIENT_HEADER_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX, SERVER_HEADER_BYTES_MAX};
use super::mask::{self, Key};
use super::Violation;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASK_BIT: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
/// Length byte that announces a 16-bit length.
const LENGTH_16: u8 = 126;
/// Length byte that announces a 64-bit length.
const LENGTH_64: u8 = 127;
const KEY_BYTES: usize = 4;

/// Which end of the connection this codec stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads masked frames and writes unmasked ones.
    Server,
    /// Reads unmasked frames and writes masked ones.
    Client,
}

impl Role {
    /// The mask bit that frames from the other end must carry.
    #[inline]
    const fn peer_mask_bit(self) -> u8 {
        match self {
            Role::Server => MASK_BIT,
            Role::Client => 0,
        }
    }

    const fn peer_key_bytes(self) -> usize {
        match self {
            Role::Server => KEY_BYTES,
            Role::Client => 0,
        }
    }
}

/// What a message is, by the opcode of its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DataKind {
    /// UTF-8 text. The codec hands out the bytes; [`super::utf8`] checks them.
    Text = 1,
    /// Any bytes.
    Binary = 2,
}

/// What a control frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ControlKind {
    /// Starts or answers the closing handshake.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping, or comes unasked.
    Pong = 10,
}

/// A frame's opcode (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next frame of a fragmented message.
    Continuation,
    /// The only or first frame of a message.
    Data(DataKind),
    /// A control frame.
    Control(ControlKind),
}

impl Opcode {
    /// The four bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Data(kind) => kind as u8,
            Opcode::Control(kind) => kind as u8,
        }
    }

    /// The opcode of four bits.
    ///
    /// # Errors
    /// [`Violation::ReservedOpcode`] for 3-7 and 11-15.
    pub const fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Data(DataKind::Text),
            2 => Opcode::Data(DataKind::Binary),
            8 => Opcode::Control(ControlKind::Close),
            9 => Opcode::Control(ControlKind::Ping),
            10 => Opcode::Control(ControlKind::Pong),
            _ => return Err(Violation::ReservedOpcode(bits)),
        })
    }
}

/// A frame header that passed all checks which need no limits and no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether the frame is the last of its message.
    pub is_final: bool,
    /// The masking key, all zero in frames of a server.
    pub key: Key,
    /// Bytes of this header on the wire, key included.
    pub header_bytes: usize,
    /// Bytes of payload, at most 2^63 - 1.
    pub payload_bytes: u64,
}

/// The answer of [`parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The header is complete.
    Header(Header),
    /// The header needs this many bytes, counted from its first one.
    Wanted(usize),
}

/// Reads the header at the start of `input`.
///
/// # Errors
/// Each breach of RFC 6455 sections 5.1, 5.2 and 5.5 that a header shows by itself.
pub fn parse(input: &[u8], role: Role) -> Result<Parsed, Violation> {
    let [first, second, ..] = *input else {
        return Ok(Parsed::Wanted(2));
    };
    let opcode = check_start(first, second, role)?;
    let length_end = 2 + length_bytes(second);
    let header_bytes = length_end + role.peer_key_bytes();
    if let Some(length) = input.get(2..length_end) {
        check_length(second, length)?;
    }
    let Some(bytes) = input.get(..header_bytes) else {
        return Ok(Parsed::Wanted(header_bytes));
    };
    // An error can only be a reserved opcode, which the check above has refused already.
    let Ok(Some((header, payload_bytes))) = FrameHeader::parse(&mut Cursor::new(bytes)) else {
        return Err(Violation::ReservedOpcode(first & OPCODE_BITS));
    };
    Ok(Parsed::Header(Header {
        opcode,
        is_final: header.is_final,
        key: header.mask.unwrap_or_default(),
        header_bytes,
        payload_bytes,
    }))
}

/// Checks what the first two bytes tell; returns the opcode.
fn check_start(first: u8, second: u8, role: Role) -> Result<Opcode, Violation> {
    if first & RESERVED_BITS != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & OPCODE_BITS)?;
    if let Opcode::Control(_) = opcode {
        if first & FIN == 0 {
            return Err(Violation::ControlFragmented);
        }
        if usize::from(second & LENGTH_BITS) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
    }
    match (role, second & MASK_BIT) {
        (Role::Server, 0) => Err(Violation::ClientFrameUnmasked),
        (Role::Client, MASK_BIT) => Err(Violation::ServerFrameMasked),
        _ => Ok(opcode),
    }
}

/// How many bytes of length follow the first two bytes.
const fn length_bytes(second: u8) -> usize {
    match second & LENGTH_BITS {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    }
}

/// Checks that an extended length is minimal and has 63 bits; a short one passes.
fn check_length(second: u8, length: &[u8]) -> Result<(), Violation> {
    let value = length
        .iter()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    match second & LENGTH_BITS {
        LENGTH_16 if value < u64::from(LENGTH_16) => Err(Violation::LengthNotMinimal),
        LENGTH_64 if value >> 63 != 0 => Err(Violation::LengthOutOfRange),
        LENGTH_64 if value <= u64::from(u16::MAX) => Err(Violation::LengthNotMinimal),
        _ => Ok(()),
    }
}

/// An unfragmented data frame that lies in the input from its first to its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeFrame {
    /// What the message is.
    pub kind: DataKind,
    /// The masking key, all zero in frames of a server.
    pub key: Key,
    /// Where the payload starts.
    pub payload_start: usize,
    /// Where the payload ends; not beyond the input.
    pub payload_end: usize,
}

/// Recognises the hot case: a whole unfragmented data frame below 64 KiB at the start of
/// `input`, of at most `payload_bytes_max` bytes. `None` says nothing about the frame; ask
/// [`parse`].
#[inline]
#[must_use]
pub fn find_whole(input: &[u8], role: Role, payload_bytes_max: u32) -> Option<WholeFrame> {
    let (start, _) = input.split_first_chunk::<4>()?;
    let kind = match start[0] {
        0x82 => DataKind::Binary,
        0x81 => DataKind::Text,
        _ => return None,
    };
    // A wrong mask bit survives the exclusive-or and makes the value too large for both cases.
    let (length_end, payload_bytes) = match start[1] ^ role.peer_mask_bit() {
        short @ ..LENGTH_16 => (2, usize::from(short)),
        LENGTH_16 => (4, usize::from(u16::from_be_bytes([start[2], start[3]]))),
        _ => return None,
    };
    let is_minimal = length_end == 2 || payload_bytes >= usize::from(LENGTH_16);
    if !is_minimal || payload_bytes > payload_bytes_max as usize {
        return None;
    }
    let payload_start = length_end + role.peer_key_bytes();
    let payload_end = payload_start + payload_bytes;
    if payload_end > input.len() {
        return None;
    }
    let key = match role {
        Role::Server => *input[length_end..].first_chunk::<KEY_BYTES>()?,
        Role::Client => [0; KEY_BYTES],
    };
    Some(WholeFrame {
        kind,
        key,
        payload_start,
        payload_end,
    })
}

/// Writes the header of a server's frame with `payload_bytes` of payload; returns its length.
#[inline]
pub fn server_header(
    opcode: Opcode,
    is_final: bool,
    payload_bytes: usize,
    out: &mut [u8; SERVER_HEADER_BYTES_MAX],
) -> usize {
    out[0] = opcode.bits() | if is_final { FIN } else { 0 };
    if payload_bytes < usize::from(LENGTH_16) {
        out[1] = payload_bytes as u8;
        2
    } else if payload_bytes <= usize::from(u16::MAX) {
        out[1] = LENGTH_16;
        out[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
        4
    } else {
        out[1] = LENGTH_64;
        out[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    }
}

/// Writes the header of a client's frame, key included; returns its length. The caller masks the
/// payload with the same `key`, which must be unpredictable to the content's author
/// (RFC 6455 section 5.3).
#[inline]
pub fn client_header(
    opcode: Opcode,
    is_final: bool,
    payload_bytes: usize,
    key: Key,
    out: &mut [u8; CLIENT_HEADER_BYTES_MAX],
) -> usize {
    let mut unmasked = [0; SERVER_HEADER_BYTES_MAX];
    let length_end = server_header(opcode, is_final, payload_bytes, &mut unmasked);
    unmasked[1] |= MASK_BIT;
    out[..length_end].copy_from_slice(&unmasked[..length_end]);
    out[length_end..length_end + KEY_BYTES].copy_from_slice(&key);
    length_end + KEY_BYTES
}

/// Appends a server's frame to `out`.
pub fn append_server_frame(opcode: Opcode, is_final: bool, payload: &[u8], out: &mut Vec<u8>) {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let length = server_header(opcode, is_final, payload.len(), &mut header);
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(payload);
}

/// Appends a client's frame to `out`, masked with `key`.
pub fn append_client_frame(
    opcode: Opcode,
    is_final: bool,
    payload: &[u8],
    key: Key,
    out: &mut Vec<u8>,
) {
    let mut header = [0; CLIENT_HEADER_BYTES_MAX];
    let length = client_header(opcode, is_final, payload.len(), key, &mut header);
    out.extend_from_slice(&header[..length]);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], key);
}

#[cfg(test)]
mod tests;
