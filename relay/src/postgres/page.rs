//! From rows of a channel to a page of history. Pure.
//!
//! Rows are what consumers have stored: events of one channel come through several partitions, so
//! that the newest may have holes for a while, and after a failure of the backplane there may be
//! rows of a numbering that was lost, in an earlier epoch. The chain decides: a row follows if it
//! names the chain before it as its previous one. Of the rows at an offset those of the latest
//! epoch count: the others, and all that follow them, were lost.

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::limits::LAG_TIME_US;
use crate::files::{Gap, HistoryPage};
use crate::limits::HISTORY_BYTES_MAX;
use crate::record::Placement;
use crate::recovery::RecoveredEvent;

/// A stored event.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub placement: Placement,
    pub record: RecordId,
    pub class: Priority,
    pub accepted_at_us: u64,
    pub stored_at_us: u64,
    pub frame: Vec<u8>,
}

/// What a page is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Events after this position.
    pub after: Position,
    /// Most events.
    pub limit: usize,
    /// The newest position that is archived.
    pub top: Option<Position>,
    /// Offset of the first event that counts as retained.
    pub oldest: u64,
    /// Microseconds since the Unix epoch.
    pub now_us: u64,
}

/// Not archived yet, as it seems.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lag;

/// Makes the page out of the rows from the wanted position on, itself included, in the order of
/// offset and epoch.
pub(super) fn page(wanted: &Wanted, mut rows: Vec<Row>) -> Result<HistoryPage, Lag> {
    let after = wanted.after;
    let was_lost = rows.iter().any(|row| {
        let position = row.placement.position;
        position.offset == after.offset
            && position.epoch > after.epoch
            && position.chain != after.chain
    });
    rows.retain(|row| offset_of(row) > after.offset);
    let first = rows.first().map(|row| (row.placement, row.stored_at_us));
    let at_next: Vec<_> = rows
        .iter()
        .filter(|row| row.placement.position.offset == after.offset + 1)
        .map(|row| row.placement)
        .collect();
    let mut page = HistoryPage {
        events: Vec::new(),
        last: after,
        gap: None,
        more: false,
    };
    if was_lost {
        page.gap = Some(Gap::Unknown);
        return Ok(page);
    }
    let mut bytes = 0;
    for group in rows.chunk_by(|one, other| offset_of(one) == offset_of(other)) {
        if page.events.len() == wanted.limit || bytes >= HISTORY_BYTES_MAX {
            break;
        }
        let begins = page.events.is_empty() && after.offset == 0;
        if !begins && offset_of(&group[0]) != page.last.offset + 1 {
            break;
        }
        // The last of a group is of its latest epoch.
        let Some(row) = group.last().filter(|row| {
            let (position, chain) = (row.placement.position, row.placement.previous_chain);
            begins || chain == page.last.chain && position.epoch >= page.last.epoch
        }) else {
            break;
        };
        let mut frame = row.frame.clone();
        // Bytes that are no event are given out as they came.
        let _ = patch_position(
            &mut frame,
            row.placement.position,
            row.placement.previous_chain,
        );
        bytes += frame.len();
        page.last = row.placement.position;
        page.events.push(RecoveredEvent {
            placement: row.placement,
            record: row.record,
            class: row.class,
            accepted_at_us: row.accepted_at_us,
            frame: frame.into(),
        });
    }
    if page.events.is_empty() {
        page.gap = gap(wanted, first, &at_next)?;
    } else {
        let end = page.last;
        page.more = wanted.top.is_some_and(|top| top.offset > end.offset);
    }
    Ok(page)
}

fn offset_of(row: &Row) -> u64 {
    row.placement.position.offset
}

/// Why nothing follows a position.
fn gap(
    wanted: &Wanted,
    first: Option<(Placement, u64)>,
    at_next: &[Placement],
) -> Result<Option<Gap>, Lag> {
    let after = wanted.after;
    if after.offset == 0 && first.is_none() {
        return Ok(None);
    }
    let Some(top) = wanted.top.filter(|top| top.offset >= after.offset) else {
        return Err(Lag);
    };
    if after.epoch > top.epoch {
        return Err(Lag);
    }
    if top.offset == after.offset {
        let is_top = top.chain == after.chain;
        return Ok((!is_top).then_some(Gap::Unknown));
    }
    if wanted.oldest > after.offset + 1 {
        return Ok(Some(Gap::Retention));
    }
    if at_next
        .iter()
        .any(|next| next.position.epoch >= after.epoch)
    {
        return Ok(Some(Gap::Unknown));
    }
    match first {
        Some((_, stored_us)) if stored_us + LAG_TIME_US > wanted.now_us => Err(Lag),
        _ => Ok(Some(Gap::Retention)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Sequencer;

    const NOW_US: u64 = 1_000_000_000_000;
    const OLD_US: u64 = 1;

    fn row(placement: Placement, record: u128, stored_at_us: u64) -> Row {
        Row {
            placement,
            record: RecordId(record),
            class: Priority::P1,
            accepted_at_us: 1,
            stored_at_us,
            frame: vec![1; 10],
        }
    }

    /// Rows of records 1 to `count` in epoch 1.
    fn rows(count: u128) -> Vec<Row> {
        let mut sequencer = Sequencer::new(1);
        let place = |record| row(sequencer.place(RecordId(record)), record, OLD_US);
        (1..=count).map(place).collect()
    }

    fn ask(after: Position, rows: &[Row], oldest: u64) -> Result<HistoryPage, Lag> {
        let top = rows.iter().map(|row| row.placement.position);
        let top = top.max_by_key(|top| (top.epoch, top.offset));
        let wanted = Wanted {
            after,
            limit: 100,
            top,
            oldest,
            now_us: NOW_US,
        };
        let mut rest = rows.to_vec();
        rest.retain(|row| offset_of(row) >= after.offset.max(oldest));
        rest.sort_by_key(|row| (offset_of(row), row.placement.position.epoch));
        page(&wanted, rest)
    }

    fn offsets(page: &HistoryPage) -> Vec<u64> {
        let placed = page.events.iter().map(|event| event.placement);
        placed.map(|placement| placement.position.offset).collect()
    }

    #[test]
    fn a_hole_ends_the_page_and_is_a_gap_for_whoever_stands_before_it() {
        let mut rows = rows(6);
        rows.remove(3);
        let found = ask(Position::ZERO, &rows, 1).expect("a page");
        assert_eq!((offsets(&found), found.more), (vec![1, 2, 3], true));
        let at_hole = ask(found.last, &rows, 1).expect("a page");
        assert_eq!(at_hole.gap, Some(Gap::Retention));
        for row in &mut rows {
            row.stored_at_us = NOW_US - 1_000_000;
        }
        assert_eq!(ask(found.last, &rows, 1), Err(Lag), "it may be filled");
    }

    #[test]
    fn a_lost_numbering_is_not_continued() {
        let mut rows = rows(5);
        // Offsets 4 and 5 were lost; record 9 got offset 4 in the next epoch, record 5 offset 5.
        let mut next = Sequencer::resume_in(2, rows[2].placement.position);
        rows.push(row(next.place(RecordId(9)), 9, OLD_US));
        rows.push(row(next.place(RecordId(5)), 5, OLD_US));
        let lost = rows[4].placement.position;
        let found = ask(rows[1].placement.position, &rows, 1).expect("a page");
        let records: Vec<_> = found.events.iter().map(|event| event.record.0).collect();
        assert_eq!((records, found.more), (vec![3, 9, 5], false));
        let page = ask(lost, &rows, 1).expect("a page");
        assert_eq!(page.gap, Some(Gap::Unknown), "the lost top");
        let page = ask(rows[3].placement.position, &rows, 1).expect("a page");
        assert_eq!(page.gap, Some(Gap::Unknown), "within what was lost");
        let unfinished = &rows[..6];
        let page = ask(rows[3].placement.position, unfinished, 1).expect("a page");
        assert_eq!(page.gap, Some(Gap::Unknown), "before the rest is archived");
    }

    #[test]
    fn a_lost_end_that_is_longer_does_not_hide_the_end_of_the_line() {
        let mut rows = rows(6);
        let mut next = Sequencer::resume_in(2, rows[2].placement.position);
        rows.push(row(next.place(RecordId(9)), 9, OLD_US));
        let found = ask(Position::ZERO, &rows, 1).expect("a page");
        assert_eq!((offsets(&found), found.more), (vec![1, 2, 3, 4], false));
        assert_eq!(ask(found.last, &rows, 1).expect("a page").gap, None);
    }

    #[test]
    fn positions_that_are_not_archived_are_no_answer() {
        let rows = rows(3);
        let top = rows[2].placement.position;
        assert_eq!(ask(top.after(RecordId(4)), &rows, 1), Err(Lag));
        let later = Position { epoch: 2, ..top };
        assert_eq!(ask(later, &rows, 1), Err(Lag));
        assert_eq!(ask(top, &[], 1), Err(Lag));
        assert_eq!(ask(Position::ZERO, &[], 1).expect("a page").gap, None);
    }

    #[test]
    fn what_is_older_than_the_floor_is_said_to_be() {
        let rows = rows(9);
        let page = ask(rows[1].placement.position, &rows, 5).expect("a page");
        assert_eq!(page.gap, Some(Gap::Retention));
        let page = ask(Position::ZERO, &rows, 5).expect("a page");
        assert_eq!(offsets(&page), vec![5, 6, 7, 8, 9]);
    }
}
