//! A stretch of a channel's stream, and what it says about a position.
//!
//! Runs on: any thread; plain values.

use interlink_protocol::ids::Position;

use crate::backplane::holds;
use crate::files::{Gap, HistoryPage};
use crate::recovery::RecoveredEvent;

/// Events of a channel from an offset on, as a server had them at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// The newest position; [`Position::ZERO`]'s offset when nothing is known.
    pub top: Position,
    /// Events in order.
    pub events: Vec<RecoveredEvent>,
}

impl Range {
    /// Events after an offset.
    pub fn after(&self, offset: u64) -> &[RecoveredEvent] {
        let first = self
            .events
            .partition_point(|event| event.placement.position.offset <= offset);
        &self.events[first..]
    }

    /// Whether a stream can go on after a position, by its top and the event that follows.
    pub fn continues(&self, position: Position) -> bool {
        let following = self.after(position.offset).first();
        holds(position, self.top, following.map(|event| &event.placement))
    }

    /// Whether the event at a position is here.
    pub fn contains(&self, position: Position) -> bool {
        let found = self
            .events
            .binary_search_by_key(&position.offset, |event| event.placement.position.offset);
        found.is_ok_and(|at| self.events[at].placement.position.chain == position.chain)
    }

    /// The page of history after a position, of at most `limit` events.
    pub fn page(self, after: Position, limit: usize) -> HistoryPage {
        let mut page = HistoryPage {
            events: Vec::new(),
            last: after,
            gap: None,
            more: false,
        };
        if after != Position::ZERO && !self.continues(after) {
            let next = after.offset.saturating_add(1);
            let first = self.after(after.offset).first();
            let went = after.offset < self.top.offset
                && first.is_none_or(|first| first.placement.position.offset > next);
            page.gap = Some(if went { Gap::Retention } else { Gap::Unknown });
            return page;
        }
        let top = self.top;
        for event in self.events {
            let position = event.placement.position;
            if position.offset <= after.offset {
                continue;
            }
            let joins = page.events.last().is_none_or(|last: &RecoveredEvent| {
                let last = last.placement.position;
                last.offset + 1 == position.offset && last.chain == event.placement.previous_chain
            });
            if !joins || page.events.len() == limit {
                break;
            }
            page.last = position;
            page.events.push(event);
        }
        page.more = page.last.offset < top.offset && !page.events.is_empty();
        page
    }
}
