//! History that the backplane does not have any more: how its answer and the archive's fit.
//!
//! Order of a question: the shard's own log, the backplane, the archive. The archive is asked
//! when the backplane says that what follows a position is not kept, when a page is to begin
//! before the backplane's oldest event, and when the backplane does not know the channel at all.
//! What the backplane knows to be lost is lost, whatever an archive has that lags.
//!
//! Pure but for the replies. Thread: relay.

use interlink_protocol::ids::Position;
use interlink_protocol::ErrorCode;
use interlink_relay::archive::ArchiveRequest;
use interlink_relay::files::{Gap, HistoryFloor, HistoryPage};

use super::archive::Ask;
use super::limits::ARCHIVE_LAG_US;
use super::questions::{before_first, found, gap_after, Question};
use super::task::{unix_us, Relay};
use crate::shard::files::{FilesReply, Finding, HistoryAnswer, HistoryWish, LookUpWish};

/// Past events that somebody wants, whoever has them.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A page.
    Page(HistoryWish),
    /// Whether events follow a position.
    LookUp(LookUpWish),
}

impl Wanted {
    /// The channel, the position, and how many events.
    pub fn range(&self) -> (&str, Position, usize) {
        match self {
            Self::Page(wish) => (&wish.channel, wish.after, wish.limit),
            Self::LookUp(wish) => (&wish.channel, wish.after, 1),
        }
    }

    fn floor(&self) -> HistoryFloor {
        match self {
            Self::Page(wish) => wish.floor,
            Self::LookUp(wish) => wish.floor,
        }
    }
}

/// A question for the archive.
#[derive(Debug)]
pub(super) enum Past {
    /// What is wanted, with the page of the backplane.
    Wanted(Wanted, HistoryPage),
    /// The oldest event that is left behind a gap.
    Oldest(LookUpWish, Gap),
}

impl Past {
    /// The question as the archive takes it.
    pub fn request(&self) -> ArchiveRequest<'_> {
        let ((channel, after, limit), floor) = match self {
            Self::Wanted(wanted, _) => (wanted.range(), wanted.floor()),
            Self::Oldest(wish, _) => ((&*wish.channel, Position::ZERO, 1), wish.floor),
        };
        ArchiveRequest::History {
            channel,
            after,
            limit,
            floor,
        }
    }
}

/// Whether the archive may have more than a page of the backplane.
pub(super) fn begins_late(page: &HistoryPage, after: Position) -> bool {
    let first = page.events.first().map(|event| event.placement.position);
    match after == Position::ZERO {
        true => first.is_none_or(|first| first.offset > 1),
        false => page.gap == Some(Gap::Retention),
    }
}

/// What both pages say together; nothing when the archive has not come far enough.
pub(super) fn joined(
    after: Position,
    backplane: HistoryPage,
    archive: HistoryPage,
    now_us: u64,
) -> Option<HistoryPage> {
    if after == Position::ZERO {
        let first = |page: &HistoryPage| Some(page.events.first()?.placement.position.offset);
        let oldest = backplane.events.first();
        let is_young = oldest.is_some_and(|it| it.accepted_at_us + ARCHIVE_LAG_US > now_us);
        return match (first(&backplane), first(&archive)) {
            // What came before it may be on its way.
            (_, None) if is_young => None,
            (_, None) => Some(backplane),
            (Some(recent), Some(old)) if recent <= old => Some(backplane),
            _ => Some(HistoryPage {
                more: archive.more || backplane.last.offset > archive.last.offset,
                ..archive
            }),
        };
    }
    // The backplane is further than the position when it says that something went.
    let more = backplane.gap == Some(Gap::Retention);
    match (archive.gap, archive.events.is_empty()) {
        (None, true) if more => None,
        (None, _) => Some(HistoryPage {
            more: archive.more || more,
            ..archive
        }),
        (Some(_), _) => Some(archive),
    }
}

impl Relay {
    /// The archive has past events, or says that they are lost.
    pub(super) fn on_past(&mut self, past: Past, page: HistoryPage) {
        match past {
            Past::Wanted(wanted, backplane) => {
                let after = wanted.range().1;
                match joined(after, backplane, page, unix_us()) {
                    Some(page) => self.on_page(wanted, page),
                    None => self.on_past_later(wanted),
                }
            }
            Past::Oldest(wish, gap) => match before_first(&page) {
                Some(before) => {
                    let (shard, reply) = found(wish, Finding::Broken(gap, Some(before)));
                    self.peers[usize::from(shard)].reply(reply);
                }
                None => self.questions.ask(Question::Oldest(wish, gap)),
            },
        }
    }

    /// A page of whoever had it.
    fn on_page(&mut self, wanted: Wanted, page: HistoryPage) {
        let (shard, reply) = match wanted {
            Wanted::Page(wish) => {
                let shard = wish.shard;
                (shard, FilesReply::Page(HistoryAnswer::of(wish, page)))
            }
            Wanted::LookUp(wish) => match gap_after(&page, wish.after) {
                None => found(wish, Finding::Whole),
                Some(gap) => return self.archive.ask(Ask::Past(Past::Oldest(wish, gap))),
            },
        };
        self.peers[usize::from(shard)].reply(reply);
    }

    /// The archive cannot say now.
    pub(super) fn on_past_denied(&mut self, past: Past) {
        match past {
            Past::Wanted(wanted, _) => self.on_past_later(wanted),
            Past::Oldest(wish, gap) => self.questions.ask(Question::Oldest(wish, gap)),
        }
    }

    fn on_past_later(&mut self, wanted: Wanted) {
        let (shard, reply) = match wanted {
            Wanted::Page(wish) => {
                let shard = wish.shard;
                let answer = HistoryAnswer::later(wish, ErrorCode::HistoryLagging);
                (shard, FilesReply::Page(answer))
            }
            Wanted::LookUp(wish) => found(wish, Finding::Unreadable),
        };
        self.peers[usize::from(shard)].reply(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::ids::RecordId;
    use interlink_protocol::priority::Priority;
    use interlink_relay::backplane::Sequencer;
    use interlink_relay::recovery::RecoveredEvent;

    /// A page of the events from one offset to another, of a channel of 20.
    fn page(offsets: std::ops::RangeInclusive<u64>) -> HistoryPage {
        let mut sequencer = Sequencer::new(1);
        let all = (1..=20u128).map(|id| RecoveredEvent {
            placement: sequencer.place(RecordId(id)),
            record: RecordId(id),
            class: Priority::P1,
            accepted_at_us: NOW_US - 10 * ARCHIVE_LAG_US,
            frame: Box::from([1u8].as_slice()),
        });
        let events = all.filter(|event| offsets.contains(&event.placement.position.offset));
        let events: Vec<_> = events.collect();
        let last = events.last().map(|event| event.placement.position);
        HistoryPage {
            last: last.unwrap_or_default(),
            events,
            gap: None,
            more: false,
        }
    }

    fn gone(gap: Gap) -> HistoryPage {
        HistoryPage {
            gap: Some(gap),
            ..nothing()
        }
    }

    fn nothing() -> HistoryPage {
        HistoryPage {
            events: Vec::new(),
            last: Position::ZERO,
            gap: None,
            more: false,
        }
    }

    fn summary(page: Option<HistoryPage>) -> Option<(u64, usize, bool, Option<Gap>)> {
        let page = page?;
        let first = page.events.first();
        let first = first.map_or(0, |event| event.placement.position.offset);
        Some((first, page.events.len(), page.more, page.gap))
    }

    const NOW_US: u64 = 100 * ARCHIVE_LAG_US;
    const AFTER: Position = Position {
        epoch: 1,
        offset: 4,
        chain: 4,
    };

    #[test]
    fn the_archive_is_asked_for_what_the_backplane_does_not_keep() {
        assert!(!begins_late(&page(1..=9), Position::ZERO));
        assert!(begins_late(&page(5..=9), Position::ZERO));
        assert!(begins_late(&nothing(), Position::ZERO));
        assert!(begins_late(&gone(Gap::Retention), AFTER));
        assert!(!begins_late(&gone(Gap::Unknown), AFTER), "it knows better");
        assert!(!begins_late(&page(5..=9), AFTER));
    }

    #[test]
    fn a_page_of_the_archive_says_that_the_backplane_has_more() {
        let went = gone(Gap::Retention);
        let both = joined(AFTER, went.clone(), page(5..=9), NOW_US);
        assert_eq!(summary(both), Some((5, 5, true, None)));
        let unknown = joined(AFTER, gone(Gap::Unknown), page(5..=9), NOW_US);
        assert_eq!(summary(unknown), Some((5, 5, false, None)));
        let lost = joined(AFTER, went, gone(Gap::Retention), NOW_US);
        assert_eq!(summary(lost), Some((0, 0, false, Some(Gap::Retention))));
    }

    #[test]
    fn an_archive_that_ends_where_the_backplane_goes_on_lags() {
        let went = gone(Gap::Retention);
        assert_eq!(joined(AFTER, went, nothing(), NOW_US), None);
        // Of a channel that the backplane has forgotten it is the end.
        let end = joined(AFTER, gone(Gap::Unknown), nothing(), NOW_US);
        assert_eq!(summary(end), Some((0, 0, false, None)));
    }

    #[test]
    fn a_channel_begins_where_the_older_of_both_begins() {
        let zero = Position::ZERO;
        let begin = |backplane, archive| summary(joined(zero, backplane, archive, NOW_US));
        assert_eq!(begin(page(8..=9), page(1..=5)), Some((1, 5, true, None)));
        assert_eq!(begin(page(3..=9), page(1..=5)), Some((1, 5, true, None)));
        assert_eq!(begin(page(3..=9), page(1..=9)), Some((1, 9, false, None)));
        assert_eq!(begin(page(3..=9), page(6..=8)), Some((3, 7, false, None)));
        assert_eq!(begin(page(3..=9), nothing()), Some((3, 7, false, None)));
        assert_eq!(begin(nothing(), page(1..=5)), Some((1, 5, false, None)));
        assert_eq!(begin(nothing(), nothing()), Some((0, 0, false, None)));
        let mut young = page(3..=9);
        young.events[0].accepted_at_us = NOW_US;
        let lags = joined(zero, young, nothing(), NOW_US);
        assert_eq!(lags, None, "1 and 2 may be on their way");
    }
}
