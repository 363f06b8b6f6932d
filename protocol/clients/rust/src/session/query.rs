//! Requests that are answered by a page: past events, and who is present.
//!
//! Purpose: keeps a request until its page, its refusal or its end of time, over
//! reconnections: reading again is harmless.
//! Limits: `limits::QUERIES_MAX`, `limits::QUERY_TIMEOUT_MS`.
//! Runs on: any thread; the clock comes in as an argument.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlink_protocol::ids::Position;

use crate::error::Error;
use crate::limits;

/// Which past events are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Full channel name.
    pub channel: Arc<str>,
    /// Events after this position; `None` is from the oldest retained.
    pub after: Option<Position>,
    /// Most events of the page; 0 is the server's default.
    pub limit: u32,
}

/// Which users are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceQuery {
    /// Full channel name.
    pub channel: Arc<str>,
    /// `next` of the page before; `None` is the first page.
    pub page: Option<Box<str>>,
}

#[derive(Clone, Debug)]
struct Pending<Q> {
    query: Q,
    deadline_ms: u64,
    /// Request id on the wire of this connection; a connection never sees one twice.
    sent_as: Option<u32>,
}

/// All open requests of one kind, by the ticket that the application waits under.
#[derive(Clone, Debug)]
pub struct QueryBook<Q> {
    pending: BTreeMap<u64, Pending<Q>>,
    next_ticket: u64,
}

impl<Q> Default for QueryBook<Q> {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            next_ticket: 0,
        }
    }
}

impl<Q> QueryBook<Q> {
    /// Takes a request and names its ticket.
    pub fn push(&mut self, query: Q, now_ms: u64) -> Result<u64, Error> {
        if self.pending.len() >= limits::QUERIES_MAX {
            return Err(Error::Busy(limits::QUERIES_MAX));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let deadline_ms = now_ms + limits::QUERY_TIMEOUT_MS;
        let pending = Pending {
            query,
            deadline_ms,
            sent_as: None,
        };
        self.pending.insert(ticket, pending);
        Ok(ticket)
    }

    /// The next query that has to leave, as `request`.
    pub fn take_unsent(&mut self, request: u32) -> Option<&Q> {
        let unsent = |pending: &&mut Pending<Q>| pending.sent_as.is_none();
        let pending = self.pending.values_mut().find(unsent)?;
        pending.sent_as = Some(request);
        Some(&pending.query)
    }

    /// True when a request has to leave.
    pub fn has_unsent(&self) -> bool {
        self.pending
            .values()
            .any(|pending| pending.sent_as.is_none())
    }

    /// An answer came: the ticket that waits for it.
    pub fn on_answer(&mut self, request: u32) -> Option<u64> {
        let sent = |pending: &Pending<Q>| pending.sent_as == Some(request);
        let ticket = *self.pending.iter().find(|(_, pending)| sent(pending))?.0;
        self.pending.remove(&ticket);
        Some(ticket)
    }

    /// The connection is gone: everything is asked again.
    pub fn on_lost(&mut self) {
        self.pending
            .values_mut()
            .for_each(|pending| pending.sent_as = None);
    }

    /// Takes a request whose time is over.
    pub fn take_overdue(&mut self, now_ms: u64) -> Option<u64> {
        let overdue = |pending: &Pending<Q>| pending.deadline_ms <= now_ms;
        let ticket = *self.pending.iter().find(|(_, pending)| overdue(pending))?.0;
        self.pending.remove(&ticket);
        Some(ticket)
    }

    /// When the next request's time is over.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.pending
            .values()
            .map(|pending| pending.deadline_ms)
            .min()
    }

    /// Forgets everything; the tickets that somebody waits for.
    pub fn drain(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.pending).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> HistoryQuery {
        HistoryQuery {
            channel: "chat.a~b".into(),
            after: None,
            limit: 10,
        }
    }

    #[test]
    fn a_request_is_sent_once_for_each_connection_until_answered() {
        let mut book = QueryBook::default();
        let ticket = book.push(query(), 0).unwrap();
        assert!(book.take_unsent(4).is_some());
        assert!(!book.has_unsent());
        book.on_lost();
        assert!(book.take_unsent(5).is_some());
        assert_eq!(
            book.on_answer(4),
            None,
            "an answer to the lost connection's request"
        );
        assert_eq!(book.on_answer(5), Some(ticket));
        assert_eq!(book.on_answer(5), None);
    }

    #[test]
    fn a_request_ends_with_its_time() {
        let mut book = QueryBook::default();
        let ticket = book.push(query(), 100).unwrap();
        let end = 100 + limits::QUERY_TIMEOUT_MS;
        assert_eq!(book.deadline_ms(), Some(end));
        assert_eq!(book.take_overdue(end - 1), None);
        assert_eq!(book.take_overdue(end), Some(ticket));
        assert_eq!(book.take_overdue(end), None);
    }

    #[test]
    fn open_requests_are_bounded() {
        let mut book = QueryBook::default();
        for _ in 0..limits::QUERIES_MAX {
            book.push(query(), 0).unwrap();
        }
        assert!(matches!(book.push(query(), 0), Err(Error::Busy(_))));
    }
}
