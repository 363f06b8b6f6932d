//! Why bytes are not a frame.

use flatbuffers::InvalidFlatbuffer;

use crate::{CloseCode, ErrorCode};

/// Why bytes are not a frame. The connection that they came from is closed: its sender and we
/// do not speak the same protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// There are more bytes than allowed.
    #[error("the frame has {bytes} bytes, at most {most} are allowed; send less at once")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// The file identifier is missing.
    #[error("the frame lacks the identifier ILNK; send frames of subprotocol interlink.v1")]
    Identifier,
    /// The verifier refused the structure.
    #[error("the frame is damaged ({0}); encode it with a current SDK")]
    Damaged(Damage),
    /// The body is of a kind that this version does not know.
    #[error("the frame has the unknown kind {0}; use a protocol version that both sides speak")]
    UnknownKind(u8),
    /// The body is of a kind that only the other side sends.
    #[error("a frame of kind {0} is sent by the other side only")]
    WrongDirection(&'static str),
    /// A list is longer than allowed.
    #[error("the frame lists {items} items, at most {most} are allowed; send several frames")]
    TooManyItems {
        /// Items of the list.
        items: usize,
        /// Items allowed.
        most: usize,
    },
}

/// What the verifier found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// A reference leaves the frame or is out of line.
    #[error("a reference points to no place in it")]
    Reference,
    /// A text is not UTF-8 or not terminated.
    #[error("a text is not valid")]
    Text,
    /// A required field or half of a union is missing.
    #[error("a required field is missing")]
    Missing,
    /// Depth, tables or apparent size exceed the bounds.
    #[error("it is more nested or refers to more than allowed")]
    Bounds,
}

impl FrameError {
    /// The code for the `Error` frame that precedes the close.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::Identifier | Self::Damaged(_) | Self::UnknownKind(_) => ErrorCode::MalformedFrame,
            Self::WrongDirection(_) => ErrorCode::UnexpectedFrame,
            Self::TooManyItems { .. } => ErrorCode::TooManyItems,
        }
    }

    /// The code of the close.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::TooLarge { .. } => CloseCode::MessageTooBig,
            Self::WrongDirection(_) => CloseCode::UnexpectedFrame,
            _ => CloseCode::MalformedFrame,
        }
    }
}

impl From<InvalidFlatbuffer> for FrameError {
    fn from(error: InvalidFlatbuffer) -> Self {
        use InvalidFlatbuffer as Invalid;
        Self::Damaged(match error {
            Invalid::Utf8Error { .. } | Invalid::MissingNullTerminator { .. } => Damage::Text,
            Invalid::MissingRequiredField { .. } | Invalid::InconsistentUnion { .. } => {
                Damage::Missing
            }
            Invalid::TooManyTables | Invalid::ApparentSizeTooLarge | Invalid::DepthLimitReached => {
                Damage::Bounds
            }
            _ => Damage::Reference,
        })
    }
}
