//! Past events of a cluster's channels, which shards ask for.
//!
//! Purpose: what a shard of a node alone asks the journal-files thread, a shard of a cluster asks
//! here; the backplane knows recent events, and [`super::past`] says when the archive is asked
//! after it.
//!
//! What becomes of a question that cannot be asked, since the connection is sought or the breaker
//! of the reads holds it back, or whose call has failed:
//!
//! | question | connection is sought | held back | the call failed |
//! |---|---|---|---|
//! | page that a client or service asks for | from the node's memory | the same | the same |
//! | page for a subscription that is behind | waits | waits | is asked again |
//! | look-up | waits | `unreadable`: come again | `unreadable` |
//!
//! Limits: shards bound what they have asked (`shard::files`).
//!
//! Thread: relay.

use std::collections::HashMap;

use interlink_protocol::ids::Position;
use interlink_relay::backplane::BackplaneRequest;
use interlink_relay::files::{Gap, HistoryPage};
use interlink_relay::ports::Ticket;

use super::past::{begins_late, Past, Wanted};
use super::reads::{part_of, Admission, Parts};
use crate::shard::files::{
    FilesReply, FilesRequest, Finding, HistoryAnswer, HistoryFor, HistoryWish, LookUpAnswer,
    LookUpWish,
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

    /// The part of its channel.
    fn part(&self) -> usize {
        part_of(match self {
            Self::Wanted(wanted) | Self::Known(wanted, _) => wanted.range().0,
            Self::Oldest(wish, _) => &wish.channel,
        })
    }

    /// Where the question waits.
    fn place(&self) -> Place {
        match self {
            Self::Wanted(Wanted::LookUp(_)) | Self::Known(Wanted::LookUp(_), _) => Place::LookUp,
            Self::Oldest(..) => Place::LookUp,
            Self::Wanted(Wanted::Page(wish)) | Self::Known(Wanted::Page(wish), _) => {
                match wish.purpose {
                    HistoryFor::Subscription { .. } => Place::Recovery,
                    HistoryFor::Request { .. } | HistoryFor::Service { .. } => Place::Request,
                }
            }
        }
    }

    /// What becomes of it when it cannot be asked.
    ///
    /// # Errors
    /// What is wanted comes back when it can only be asked again: a subscription would skip what
    /// the node does not keep itself.
    fn unasked(self) -> Result<Answered, Wanted> {
        let place = self.place();
        let wanted = match self {
            Self::Wanted(wanted) | Self::Known(wanted, _) => wanted,
            Self::Oldest(wish, _) => Wanted::LookUp(wish),
        };
        match wanted {
            Wanted::LookUp(wish) => Ok(found(wish, Finding::Unreadable).into()),
            Wanted::Page(wish) if place == Place::Request => Ok(Answered::Kept(wish)),
            page @ Wanted::Page(_) => Err(page),
        }
    }
}

/// Where questions wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A client or service waits for a page.
    Request,
    /// A `Subscribe` waits for what follows its position.
    LookUp,
    /// A subscription that is behind waits for a page.
    Recovery,
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
    /// The shards of this node are asked what they keep.
    Kept(HistoryWish),
}

impl From<(u16, FilesReply)> for Answered {
    fn from((shard, reply): (u16, FilesReply)) -> Self {
        Self::Reply(shard, reply)
    }
}

/// All questions of a node.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// By [`Place`].
    waiting: [Parts<Question>; 3],
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
        let (place, part) = (question.place(), question.part());
        self.waiting[place as usize].push(part, question);
    }

    /// The next question to be asked.
    pub fn next_question(&mut self, admission: Admission) -> Option<Question> {
        let mut places = self.waiting.iter_mut();
        places.find_map(|place| place.next(admission))
    }

    /// What becomes of the next question that is not to be asked now, unless all of those wait.
    /// `connected` says whether the connection stands.
    pub fn next_held(&mut self, admission: Admission, connected: bool) -> Option<Answered> {
        let [requests, look_ups, _] = &mut self.waiting;
        let held = requests.next_held(admission);
        let held = held.or_else(|| match connected {
            true => look_ups.next_held(admission),
            false => None,
        });
        held.and_then(|question| question.unasked().ok())
    }

    /// The backplane was too busy for a question.
    pub fn put_back(&mut self, question: Question) {
        let (place, part) = (question.place(), question.part());
        self.waiting[place as usize].put_back(part, question);
    }

    /// A question is under way.
    pub fn asked(&mut self, ticket: Ticket, question: Question) {
        self.under_way.insert(ticket, question);
    }

    /// Whether a ticket is of a question.
    pub fn is_asked(&self, ticket: Ticket) -> bool {
        self.under_way.contains_key(&ticket)
    }

    /// The answer, `None` when the backplane has none. `archive` says whether there is one.
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
                    self.put_back(Question::Known(wanted, page));
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
            (question, None) => question.unasked().unwrap_or_else(|page| {
                self.ask(Question::Wanted(page));
                Answered::Nothing
            }),
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
                    self.put_back(Question::Oldest(wish, gap));
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

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::ids::SessionKey;
    use interlink_relay::breaker::Traffic;
    use interlink_relay::files::HistoryFloor;
    use interlink_uring::SocketId;

    const FOR_CLIENT: HistoryFor = HistoryFor::Request {
        socket: SocketId::NONE,
        request_id: 1,
    };
    const FOR_SERVICE: HistoryFor = HistoryFor::Service { from: 1, number: 1 };

    fn page(purpose: HistoryFor) -> FilesRequest {
        FilesRequest::History(HistoryWish {
            shard: 1,
            channel: "class.algebra".into(),
            after: Position::ZERO,
            limit: 100,
            floor: HistoryFloor::default(),
            purpose,
        })
    }

    fn recovery() -> FilesRequest {
        page(HistoryFor::Subscription {
            subscription: 1,
            session: SessionKey(1),
        })
    }

    fn look_up() -> FilesRequest {
        FilesRequest::LookUp(LookUpWish {
            shard: 1,
            socket: SocketId::NONE,
            channel: "class.algebra".into(),
            after: Position::ZERO,
            floor: HistoryFloor::default(),
        })
    }

    /// What becomes of a question while it may not be asked.
    fn held(request: FilesRequest, connected: bool) -> &'static str {
        let mut questions = Questions::default();
        assert!(questions.take(request).is_none(), "a question");
        let held = questions.next_held(Admission::NONE, connected);
        assert!(questions.next_held(Admission::NONE, connected).is_none());
        let left = questions.next_question(Admission::ALL);
        assert_eq!(left.is_some(), held.is_none(), "one or the other");
        word(held)
    }

    fn word(answered: Option<Answered>) -> &'static str {
        match answered {
            None | Some(Answered::Nothing) => "waits",
            Some(Answered::Kept(_)) => "kept",
            Some(Answered::Archive(_)) => "archive",
            Some(Answered::Reply(1, FilesReply::Found(answer))) => match answer.finding {
                Finding::Unreadable => "unreadable",
                _ => "found",
            },
            Some(Answered::Reply(..)) => "page",
        }
    }

    #[test]
    fn requests_are_answered_from_memory_and_recovery_waits_while_nothing_may_be_asked() {
        for connected in [true, false] {
            assert_eq!(held(page(FOR_CLIENT), connected), "kept");
            assert_eq!(held(page(FOR_SERVICE), connected), "kept");
            assert_eq!(held(recovery(), connected), "waits");
        }
        assert_eq!(held(look_up(), true), "unreadable");
        assert_eq!(held(look_up(), false), "waits", "it is a matter of moments");
    }

    /// What becomes of a question whose call has failed, and whether it is asked again.
    fn failed(request: FilesRequest) -> (&'static str, bool) {
        let mut questions = Questions::default();
        questions.take(request);
        let question = questions.next_question(Admission::ALL).expect("a question");
        questions.asked(Ticket(1), question);
        let told = word(Some(questions.answered(Ticket(1), None, true)));
        let again = questions.next_question(Admission::ALL).is_some();
        (told, again)
    }

    #[test]
    fn a_call_that_failed_is_made_again_for_recovery_alone() {
        assert_eq!(failed(page(FOR_CLIENT)), ("kept", false));
        assert_eq!(failed(page(FOR_SERVICE)), ("kept", false));
        assert_eq!(failed(look_up()), ("unreadable", false));
        assert_eq!(failed(recovery()), ("waits", true));
    }

    #[test]
    fn what_a_share_lets_through_is_asked_and_the_rest_is_held() {
        let part = part_of("class.algebra") as u64;
        let share = |turn| Admission::of(Traffic::Share(10), turn);
        let (out, into) = (share(11 - part), share(10 - part));
        let mut questions = Questions::default();
        questions.take(page(FOR_CLIENT));
        questions.take(recovery());
        assert!(questions.next_question(out).is_none());
        assert!(questions.next_held(into, true).is_none());
        assert!(matches!(
            questions.next_held(out, true),
            Some(Answered::Kept(_))
        ));
        let asked = questions.next_question(into).expect("the recovery");
        assert_eq!(asked.place(), Place::Recovery);
    }
}
