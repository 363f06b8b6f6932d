//! What the two processes say to each other: two bytes a message, at most one socket with it.
//!
//! Limits: a message of another length or kind is an error of the conversation.
//!
//! Runs on: any thread.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The successor wants to take over, in this version of the conversation.
    TakeOver(u8),
    /// A socket on which clients are accepted comes with this.
    Listener,
    /// The socket of the control endpoint comes with this.
    Control,
    /// The socket of the server API comes with this.
    Api,
    /// Those were all sockets.
    Offered,
    /// The successor is waiting for the journal.
    Prepared,
    /// The journal is settled and its locks are given up.
    Released,
    /// The successor accepts clients.
    Ready,
}

impl Message {
    fn bytes(self) -> [u8; 2] {
        match self {
            Self::TakeOver(version) => [b'T', version],
            Self::Listener => [b'L', 0],
            Self::Control => [b'C', 0],
            Self::Api => [b'A', 0],
            Self::Offered => [b'O', 0],
            Self::Prepared => [b'P', 0],
            Self::Released => [b'R', 0],
            Self::Ready => [b'Y', 0],
        }
    }

    fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        Some(match bytes {
            [b'T', version] => Self::TakeOver(version),
            [b'L', 0] => Self::Listener,
            [b'C', 0] => Self::Control,
            [b'A', 0] => Self::Api,
            [b'O', 0] => Self::Offered,
            [b'P', 0] => Self::Prepared,
            [b'R', 0] => Self::Released,
            [b'Y', 0] => Self::Ready,
            _ => return None,
        })
    }
}

/// Says something, with a socket if there is one.
///
/// # Errors
/// When the other side is gone.
pub fn say(
    stream: &UnixStream,
    message: Message,
    socket: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = socket.as_slice();
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(sockets));
    }
    let bytes = message.bytes();
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(ErrorKind::WriteZero.into()),
    }
}

/// Hears the next message; `None` when the other side is gone.
///
/// # Errors
/// When it speaks another language, or nothing came within the stream's time.
pub fn hear(stream: &UnixStream) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut bytes = [0; 2];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        match recvmsg(stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?.bytes,
        }
    };
    let mut sockets = control.drain().flat_map(|part| match part {
        RecvAncillaryMessage::ScmRights(sockets) => sockets.collect(),
        _ => Vec::new(),
    });
    let socket = sockets.next();
    if received == 0 {
        return Ok(None);
    }
    match Message::from_bytes(bytes) {
        Some(message) if received == bytes.len() => Ok(Some((message, socket))),
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "the other process speaks another version of the hand-over",
        )),
    }
}
