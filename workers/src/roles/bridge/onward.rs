//! What is appended to the target's log of a batch that is placed there. Pure.

use interlink_relay::event_log::AppendKind;
use interlink_relay::record::Placement;

use crate::transit::Transit;

/// What is appended of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Onward {
    /// The event's index in the batch.
    pub index: usize,
    /// The event, or its place only.
    pub kind: AppendKind,
    /// Where it stands in the target.
    pub placement: Placement,
}

/// What is to be appended once every event is placed, in the order of the batch. Of records before
/// the offset `appended_before`, which were appended already, only new places are.
pub fn onward(transit: &Transit, appended_before: i64) -> Vec<Onward> {
    let events = transit.events.iter().filter_map(|event| {
        let placed = event.placed?;
        let appended = transit.batch.records[event.index].offset < appended_before;
        let kind = match appended {
            false => AppendKind::Event,
            // It stands where it was said to stand.
            true if placed.repeated => return None,
            true => AppendKind::Positioned,
        };
        Some(Onward {
            index: event.index,
            kind,
            placement: placed.placement,
        })
    });
    events.collect()
}
