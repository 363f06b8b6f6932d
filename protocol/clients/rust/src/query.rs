//! Questions of an application that are answered by pages.
//!
//! Runs on: any task.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use interlink_protocol::ids::Position;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::event::{HistoryPage, PresenceMember, PresencePage};
use crate::handle::{Handle, Request};
use crate::limits::PRESENT_USERS_MAX;
use crate::session::{HistoryQuery, PresenceQuery};

/// A request for past events; `.await` sends it.
#[derive(Debug)]
#[must_use = "history is fetched by awaiting it"]
pub struct History {
    handle: Arc<Handle>,
    query: HistoryQuery,
}

impl History {
    pub(crate) fn new(handle: Arc<Handle>, channel: &str) -> Self {
        let query = HistoryQuery {
            channel: channel.into(),
            after: None,
            limit: 0,
        };
        Self { handle, query }
    }

    /// Events after `position`; without it from the oldest that is retained.
    pub fn after(mut self, position: Position) -> Self {
        self.query.after = Some(position);
        self
    }

    /// Most events of the page; the server has a bound of its own.
    pub fn limit(mut self, events: u32) -> Self {
        self.query.limit = events;
        self
    }

    async fn fetch(self) -> Result<HistoryPage, Error> {
        let (answer, answered) = oneshot::channel();
        let request = Request::History {
            query: self.query,
            answer,
        };
        self.handle.request(request).await?;
        answered.await.map_err(|_| self.handle.closed())?
    }
}

impl IntoFuture for History {
    type Output = Result<HistoryPage, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.fetch())
    }
}

/// A question who is present; `.await` reads all pages.
#[derive(Debug)]
#[must_use = "presence is read by awaiting it"]
pub struct Presence {
    handle: Arc<Handle>,
    query: PresenceQuery,
}

impl Presence {
    pub(crate) fn new(handle: Arc<Handle>, channel: &str) -> Self {
        let query = PresenceQuery {
            channel: channel.into(),
            page: None,
        };
        Self { handle, query }
    }

    /// Begins with the page that `next` of another one names.
    pub fn from_page(mut self, next: impl Into<Box<str>>) -> Self {
        self.query.page = Some(next.into());
        self
    }

    /// Reads one page.
    pub async fn page(self) -> Result<PresencePage, Error> {
        let (answer, answered) = oneshot::channel();
        let query = self.query;
        self.handle
            .request(Request::Presence { query, answer })
            .await?;
        answered.await.map_err(|_| self.handle.closed())?
    }

    /// Reads page after page, at most [`PRESENT_USERS_MAX`] users.
    async fn all(self) -> Result<Vec<PresenceMember>, Error> {
        let mut members = Vec::new();
        let mut query = self.query;
        loop {
            let asked = Self {
                handle: self.handle.clone(),
                query: query.clone(),
            };
            let page = asked.page().await?;
            members.extend(page.members);
            match page.next {
                Some(next) if members.len() < PRESENT_USERS_MAX => query.page = Some(next),
                _ => return Ok(members),
            }
        }
    }
}

impl IntoFuture for Presence {
    type Output = Result<Vec<PresenceMember>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}
