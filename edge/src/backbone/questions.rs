//! Past events of a cluster's channels, which shards ask for.
//!
//! Purpose: what a shard of a node alone asks the journal-files thread, a shard of a cluster asks
//! here; the backplane knows recent events. Pages for subscribers and clients wait while it is
//! away; a look-up is answered `unreadable` then, which tells the client to come again.
//!
//! Limits: shards bound what they have asked (`shard::files`).
//!
//! Thread: relay.

use std::collections::{HashMap, VecDeque};

use interlink_protocol::ids::Position;
use interlink_relay::backplane::BackplaneRequest;
use interlink_relay::files::{Gap, HistoryPage};
use interlink_relay::ports::Ticket;

use crate::shard::files::{
    FilesReply, FilesRequest, Finding, HistoryAnswer, HistoryWish, LookUpAnswer, LookUpWish,
};

/// Something that a shard wants to know.
#[derive(Debug)]
pub enum Question {
    /// Past events.
    Page(HistoryWish),
    /// Whether events follow a position.
    LookUp(LookUpWish),
    /// The oldest event that is left behind a gap.
    Oldest(LookUpWish, Gap),
}

impl Question {
    /// The question as the backplane takes it.
    pub fn request(&self) -> BackplaneRequest<'_> {
        let (channel, after, limit) = match self {
            Self::Page(wish) => (&wish.channel, wish.after, wish.limit),
            Self::LookUp(wish) => (&wish.channel, wish.after, 1),
            Self::Oldest(wish, _) => (&wish.channel, Position::ZERO, 1),
        };
        BackplaneRequest::History {
            channel,
            after,
            limit,
        }
    }
}

/// All questions of a node.
#[derive(Debug, Default)]
pub struct Questions {
    waiting: VecDeque<Question>,
    under_way: HashMap<Ticket, Question>,
}

impl Questions {
    /// Takes a request of a shard; what is no question comes back.
    pub fn take(&mut self, request: FilesRequest) -> Option<FilesRequest> {
        match request {
            FilesRequest::History(wish) => self.waiting.push_back(Question::Page(wish)),
            FilesRequest::LookUp(wish) => self.waiting.push_back(Question::LookUp(wish)),
            other => return Some(other),
        }
        None
    }

    /// The next question to be asked.
    pub fn next_question(&mut self) -> Option<Question> {
        self.waiting.pop_front()
    }

    /// The backplane was too busy for a question.
    pub fn put_back(&mut self, question: Question) {
        self.waiting.push_front(question);
    }

    /// A question is under way.
    pub fn asked(&mut self, ticket: Ticket, question: Question) {
        self.under_way.insert(ticket, question);
    }

    /// Whether a ticket is of a question.
    pub fn is_asked(&self, ticket: Ticket) -> bool {
        self.under_way.contains_key(&ticket)
    }

    /// The answer, `None` when the backplane is away: the shard and what to tell it.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        page: Option<HistoryPage>,
    ) -> Option<(u16, FilesReply)> {
        let question = self.under_way.remove(&ticket)?;
        match (question, page) {
            (Question::Page(wish), Some(page)) => {
                let shard = wish.shard;
                let answer = HistoryAnswer::of(wish, page);
                Some((shard, FilesReply::Page(answer)))
            }
            (Question::LookUp(wish), Some(page)) => match gap_after(&page, wish.after) {
                None => Some(found(wish, Finding::Whole)),
                Some(gap) => {
                    self.waiting.push_front(Question::Oldest(wish, gap));
                    None
                }
            },
            (Question::Oldest(wish, gap), Some(page)) => {
                Some(found(wish, Finding::Broken(gap, before_first(&page))))
            }
            (question @ Question::Page(_), None) => {
                self.waiting.push_back(question);
                None
            }
            (Question::LookUp(wish) | Question::Oldest(wish, _), None) => {
                Some(found(wish, Finding::Unreadable))
            }
        }
    }
}

fn found(wish: LookUpWish, finding: Finding) -> (u16, FilesReply) {
    (
        wish.shard,
        FilesReply::Found(LookUpAnswer { finding, wish }),
    )
}

/// Why the events of a page do not follow a position, if they do not.
pub fn gap_after(page: &HistoryPage, after: Position) -> Option<Gap> {
    let first = page.events.first().map(|event| event.placement.position);
    let late = first.is_some_and(|first| first.offset != after.offset.saturating_add(1));
    page.gap.or(late.then_some(Gap::Retention))
}

/// The position before the first event of a page.
pub fn before_first(page: &HistoryPage) -> Option<Position> {
    let first = page.events.first()?.placement;
    Some(Position {
        epoch: first.position.epoch,
        offset: first.position.offset.saturating_sub(1),
        chain: first.previous_chain,
    })
}
