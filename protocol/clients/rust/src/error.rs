//! What can go wrong for an application, with cause and cure.
//!
//! Codes of the server carry the texts of the protocol's code table, so that a message reads
//! the same here, in the server's log and in the error catalogue.
//! Runs on: any thread; values are cheap to clone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use interlink_protocol::channel::ChannelError;
use interlink_protocol::{CloseCode, ErrorCode};

/// An error code of the server, known to this version or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The entry of the code table.
    pub fn known(self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.0)
    }

    /// True when the same request may succeed later.
    pub fn is_temporary(self) -> bool {
        self.known().is_some_and(ErrorCode::is_temporary)
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self(code.number())
    }
}

impl PartialEq<ErrorCode> for Code {
    fn eq(&self, other: &ErrorCode) -> bool {
        self.0 == other.number()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => write!(f, "{} ({})", code.name(), self.0),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a connection could not be made or did not last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The socket failed.
    #[error("the connection failed: {0}; check that the server runs and can be reached")]
    Io(Box<str>),
    /// TLS could not be agreed, or was broken.
    #[error(
        "TLS failed: {0}; check that the server speaks TLS here, that its certificate is for this \
         name, and that the client trusts who issued it"
    )]
    Tls(Box<str>),
    /// The upgrade to WebSocket was refused.
    #[error("the server refused the upgrade: {0}; check address, path and origin")]
    Upgrade(Box<str>),
    /// Connecting, or the answer to `Hello`, took too long.
    #[error("the server did not answer in time; check the network, or try again later")]
    Timeout,
    /// Nothing was heard for a heartbeat interval and its timeout.
    #[error("the server was silent for too long; the connection counts as lost")]
    Silence,
    /// The server closed the connection.
    #[error("{}", CloseText(*code, reason))]
    Closed {
        /// Close code of the WebSocket close frame; 1006 when there was none.
        code: u16,
        /// Text of the server.
        reason: Box<str>,
    },
    /// The server sent what it must not.
    #[error("the server broke the protocol: {0}; use matching versions of server and client")]
    Protocol(Box<str>),
    /// The token provider failed.
    #[error("no token: {0}; the client asks again with the next attempt")]
    Token(Box<str>),
    /// The token provider said that there will be no token.
    #[error("no token and no further attempt: {0}; sign in again")]
    TokenDenied(Box<str>),
    /// The server asked to reconnect.
    #[error("the server asked the client to reconnect")]
    Moved,
}

struct CloseText<'a>(u16, &'a str);

impl fmt::Display for CloseText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CloseCode::from_number(self.0) {
            Some(code) => write!(
                f,
                "the server closed the connection: {} ({}): {} {} {}",
                code.name(),
                self.0,
                code.meaning(),
                code.cause(),
                code.cure()
            )?,
            None => write!(f, "the server closed the connection with code {}", self.0)?,
        }
        if self.1.is_empty() {
            return Ok(());
        }
        write!(f, " [{}]", self.1)
    }
}

/// Everything that a request of an application can fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused a request.
    #[error("{}", RefusedText(*code, message))]
    Refused {
        /// Why, from the code table.
        code: Code,
        /// Text of the server; empty when it gave none.
        message: Box<str>,
        /// True when the same request may succeed later.
        temporary: bool,
        /// Earliest useful retry.
        retry_after: Option<Duration>,
    },
    /// The address is not one that the client can use.
    #[error(
        "the address {0:?} is not usable; write wss://host:port or ws://host:port, with a path if \
         needed"
    )]
    Address(Box<str>),
    /// The addresses cannot be those of one client.
    #[error("the addresses cannot be used together: {0}")]
    Addresses(Box<str>),
    /// The client cannot speak TLS as it was told to.
    #[error("TLS cannot be used: {0}")]
    Tls(Box<str>),
    /// The channel name is not well formed.
    #[error("{0}")]
    Channel(#[from] ChannelError),
    /// This client is subscribed to the channel already.
    #[error("this client is subscribed to {0} already; use that subscription or drop it first")]
    AlreadySubscribed(Arc<str>),
    /// The client has as many subscriptions as the server allows.
    #[error("the server allows {0} subscriptions for a client; end some that are not needed")]
    TooManySubscriptions(usize),
    /// The publish does not fit a frame.
    #[error("the publish needs {bytes} bytes and {most} are allowed; publish a reference instead")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// The time to live of a publish ended before it could be sent.
    #[error("the publish expired before it could be sent; publish a current one")]
    Expired,
    /// The answer to a request did not come in time.
    #[error("no answer came within {0:?}; ask again when the client is connected")]
    TimedOut(Duration),
    /// Too many requests of this kind wait for answers.
    #[error("{0} requests of this kind wait for answers; wait for one of them first")]
    Busy(usize),
    /// The first connection could not be made.
    #[error("no connection after {attempts} attempts; the last one: {last}")]
    Unreachable {
        /// Attempts that were made.
        attempts: u32,
        /// How the last one failed.
        last: Loss,
    },
    /// The client is closed. An unanswered publish may or may not have been accepted.
    #[error("the client is closed: {0}")]
    Closed(ClosedBy),
}

/// Who closed the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosedBy {
    /// The application closed or dropped it.
    #[error("the application closed it; make a new client to go on")]
    Application,
    /// The server, for good.
    #[error("{0}")]
    Server(Loss),
    /// The server, for good, with a code from the table.
    #[error("{0}")]
    Refused(Box<Error>),
}

impl Error {
    /// A refusal by code alone.
    pub(crate) fn refused(code: Code) -> Self {
        Self::Refused {
            code,
            message: "".into(),
            temporary: code.is_temporary(),
            retry_after: None,
        }
    }

    /// The server's code, when the server refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True when the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { temporary, .. } => *temporary,
            Self::TimedOut(_) | Self::Busy(_) | Self::Unreachable { .. } => true,
            _ => false,
        }
    }
}

struct RefusedText<'a>(Code, &'a str);

impl fmt::Display for RefusedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused: {}", self.0)?;
        if let Some(code) = self.0.known() {
            write!(f, ": {} {} {}", code.meaning(), code.cause(), code.cure())?;
        }
        // A server without words of its own sends the meaning of the code.
        let meaning = self.0.known().map(ErrorCode::meaning);
        if self.1.is_empty() || meaning == Some(self.1) {
            return Ok(());
        }
        write!(f, " [{}]", self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_with_meaning_cause_and_cure() {
        let text = Error::refused(ErrorCode::NotPermitted.into()).to_string();
        for part in [
            "not_permitted (202)",
            ErrorCode::NotPermitted.meaning(),
            ErrorCode::NotPermitted.cause(),
            ErrorCode::NotPermitted.cure(),
        ] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn codes_of_later_versions_are_shown_by_number() {
        assert_eq!(
            Error::refused(Code(64_000)).to_string(),
            "the server refused: code 64000"
        );
        let lost = Loss::Closed {
            code: 4_321,
            reason: "bye".into(),
        };
        assert_eq!(
            lost.to_string(),
            "the server closed the connection with code 4321 [bye]"
        );
    }

    #[test]
    fn temporary_follows_the_code_table() {
        assert!(Error::refused(ErrorCode::Overloaded.into()).is_temporary());
        assert!(!Error::refused(ErrorCode::NotPermitted.into()).is_temporary());
    }
}
