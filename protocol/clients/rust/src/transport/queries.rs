//! Who waits for pages.
//!
//! Purpose: from the session's tickets to the tasks of the application.
//! Limits: those of the session, which refuses what is beyond them.
//! Runs on: the client's task.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::event::{HistoryPage, PresencePage};
use crate::session::{HistoryQuery, PresenceQuery, Session};

/// Where a page is waited for.
pub(crate) type Answer<P> = oneshot::Sender<Result<P, Error>>;

/// Open questions by their tickets.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    histories: HashMap<u64, Answer<HistoryPage>>,
    presences: HashMap<u64, Answer<PresencePage>>,
}

impl Queries {
    /// Asks for past events.
    pub(crate) fn ask_history(
        &mut self,
        session: &mut Session,
        query: HistoryQuery,
        answer: Answer<HistoryPage>,
        now_ms: u64,
    ) {
        let ticket = session.history(query, now_ms);
        keep(&mut self.histories, ticket, answer);
    }

    /// Asks who is present.
    pub(crate) fn ask_presence(
        &mut self,
        session: &mut Session,
        query: PresenceQuery,
        answer: Answer<PresencePage>,
        now_ms: u64,
    ) {
        let ticket = session.presence(query, now_ms);
        keep(&mut self.presences, ticket, answer);
    }

    /// A question for past events is over.
    pub(crate) fn on_history(&mut self, ticket: u64, result: Result<HistoryPage, Error>) {
        give(&mut self.histories, ticket, result);
    }

    /// A question who is present is over.
    pub(crate) fn on_presence(&mut self, ticket: u64, result: Result<PresencePage, Error>) {
        give(&mut self.presences, ticket, result);
    }
}

// Who asked may have stopped waiting, in both.

fn keep<P>(open: &mut HashMap<u64, Answer<P>>, ticket: Result<u64, Error>, answer: Answer<P>) {
    match ticket {
        Ok(ticket) => drop(open.insert(ticket, answer)),
        Err(error) => drop(answer.send(Err(error))),
    }
}

fn give<P>(open: &mut HashMap<u64, Answer<P>>, ticket: u64, result: Result<P, Error>) {
    if let Some(answer) = open.remove(&ticket) {
        let _ = answer.send(result);
    }
}
