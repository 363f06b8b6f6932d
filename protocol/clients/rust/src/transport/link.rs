//! The connection that the task holds, or is about to.
//!
//! Runs on: the client's task.

use std::future::Future;
use std::io;
use std::pin::Pin;

use super::address::Address;
use super::connection::Connection;
use super::trust::Trust;
use crate::error::Loss;
use crate::token::{TokenRequest, TokenSource};

type Dial = Pin<Box<dyn Future<Output = Dialed> + Send>>;

/// Result of an attempt: the connection and the token to greet with.
pub(crate) type Dialed = Result<(Connection, Box<str>), Loss>;

/// At most one connection or attempt.
pub(crate) enum Link {
    /// None.
    Down,
    /// An attempt is under way.
    Dialing(Dial),
    /// Upgraded.
    Up(Box<Connection>),
}

/// What a link woke the task with.
pub(crate) enum LinkNews {
    /// The attempt ended.
    Dialed(Dialed),
    /// The socket can be read or written.
    Ready(io::Result<()>),
}

impl Link {
    /// Starts an attempt: first the token, then the connection.
    pub(crate) fn dial(
        address: Address,
        trust: Trust,
        tokens: TokenSource,
        request: TokenRequest,
    ) -> Self {
        Self::Dialing(Box::pin(async move {
            let token = tokens.token(request).await?;
            let connection = Connection::open(&address, &trust).await?;
            Ok((connection, token))
        }))
    }

    /// Waits for news; for ever when there is no link. Nothing is lost when it is dropped.
    pub(crate) async fn wait(&mut self) -> LinkNews {
        match self {
            Self::Down => std::future::pending().await,
            Self::Dialing(dial) => LinkNews::Dialed(dial.await),
            Self::Up(connection) => LinkNews::Ready(connection.ready().await),
        }
    }

    /// The open connection.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Up(connection) => Some(connection),
            _ => None,
        }
    }

    /// True while frames may be queued.
    pub(crate) fn has_room(&self) -> bool {
        matches!(self, Self::Up(connection) if connection.has_room())
    }

    /// True while queued bytes have not left.
    pub(crate) fn has_output(&self) -> bool {
        matches!(self, Self::Up(connection) if connection.has_output())
    }
}
