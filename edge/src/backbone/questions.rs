//! Past events of a cluster's channels, which shards ask for.
//!
//! Purpose: what a shard of a node alone asks the journal-files thread, a shard of a cluster asks
//! here; the backplane knows recent events, and [`super::past`] says when the archive is asked
//! after it. Pages for subscribers and clients wait while the backplane is away; a look-up is
//! answered `unreadable` then, which tells the client to come again.
//!
//! Limits: shards bound what they have asked (`shard::files`).
//!
//! Thread: relay.

use std::collections::{HashMap, VecDeque};

use interlink_protocol::ids::Position;
use interlink_relay::backplane::BackplaneRequest;
use interlink_relay::files::{Gap, HistoryPage};
use interlink_relay::ports::Ticket;

use super::past::{begins_late, Past, Wanted};
use crate::shard::files::{
    FilesReply, FilesRequest, Finding, HistoryAnswer, LookUpAnswer, LookUpWish,
};

/// Something that a shard wants to know.
#[derive(Debug)]
pub(super) enum Question {
    /// Past events, or whether some follow a position.
    Wanted(Wanted),
    /// Whether the backplane has anything of a channel of which it does not know a position, with
    /// the answer that it gave.
    Known(Wanted, HistoryPage),
    /// The oldest event that is left behind a gap.
    Oldest(LookUpWish, Gap),
}

impl Question {
    /// The question as the backplane takes it.
    pub fn request(&self) -> BackplaneRequest<'_> {
        let (channel, after, limit) = match self {
            Self::Wanted(wanted) => wanted.range(),
            Self::Known(wanted, _) => (wanted.range().0, Position::ZERO, 1),
            Self::Oldest(wish, _) => (&*wish.channel, Position::ZERO, 1),
        };
        BackplaneRequest::History {
            channel,
            after,
            limit,
        }
    }
}

/// What becomes of an answer.
#[derive(Debug)]
pub(super) enum Answered {
    /// Something else is asked first.
    Nothing,
    /// A shard is told.
    Reply(u16, FilesReply),
    /// The archive is asked.
    Archive(Past),
}

impl From<(u16, FilesReply)> for Answered {
    fn from((shard, reply): (u16, FilesReply)) -> Self {
        Self::Reply(shard, reply)
    }
}

/// All questions of a node.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    under_way: HashMap<Ticket, Question>,
}

impl Questions {
    /// Takes a request of a shard; what is no question comes back.
    pub fn take(&mut self, request: FilesRequest) -> Option<FilesRequest> {
        let wanted = match request {
            FilesRequest::History(wish) => Wanted::Page(wish),
            FilesRequest::LookUp(wish) => Wanted::LookUp(wish),
            other => return Some(other),
        };
        self.ask(Question::Wanted(wanted));
        None
    }

    /// Something is to be asked.
    pub fn ask(&mut self, question: Question) {
        self.waiting.push_back(question);
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

    /// The answer, `None` when the backplane is away. `archive` says whether there is one.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        page: Option<HistoryPage>,
        archive: bool,
    ) -> Answered {
        let Some(question) = self.under_way.remove(&ticket) else {
            return Answered::Nothing;
        };
        match (question, page) {
            (Question::Wanted(wanted), Some(page)) => {
                let after = wanted.range().1;
                if archive && begins_late(&page, after) {
                    return Answered::Archive(Past::Wanted(wanted, page));
                }
                if archive && page.gap == Some(Gap::Unknown) {
                    self.waiting.push_front(Question::Known(wanted, page));
                    return Answered::Nothing;
                }
                self.conclude(wanted, page)
            }
            (Question::Known(wanted, page), Some(oldest)) => match oldest.events.is_empty() {
                true => Answered::Archive(Past::Wanted(wanted, page)),
                false => self.conclude(wanted, page),
            },
            (Question::Oldest(wish, gap), Some(page)) => {
                found(wish, Finding::Broken(gap, before_first(&page))).into()
            }
            (Question::Wanted(page @ Wanted::Page(_)) | Question::Known(page, _), None) => {
                self.waiting.push_back(Question::Wanted(page));
                Answered::Nothing
            }
            (Question::Wanted(Wanted::LookUp(wish)) | Question::Oldest(wish, _), None) => {
                found(wish, Finding::Unreadable).into()
            }
        }
    }

    /// What the backplane says is all that can be known.
    fn conclude(&mut self, wanted: Wanted, page: HistoryPage) -> Answered {
        match wanted {
            Wanted::Page(wish) => {
                let shard = wish.shard;
                let answer = HistoryAnswer::of(wish, page);
                Answered::Reply(shard, FilesReply::Page(answer))
            }
            Wanted::LookUp(wish) => match gap_after(&page, wish.after) {
                None => found(wish, Finding::Whole).into(),
                Some(gap) => {
                    self.waiting.push_front(Question::Oldest(wish, gap));
                    Answered::Nothing
                }
            },
        }
    }
}

/// The answer to a look-up.
pub(super) fn found(wish: LookUpWish, finding: Finding) -> (u16, FilesReply) {
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
