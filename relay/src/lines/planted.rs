//! Deliberate defects for the simulation: a test that never fails proves nothing, so it has to
//! find each of these. Outside of tests none of them exists.

/// A defect that a test can switch on for its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    /// A hole in what is offered is taken for the next record.
    HoleUnnoticed,
    /// Watermarks stand where records were taken and not where they are done.
    WatermarkPasses,
    /// Records of this boot go before those that earlier boots left on other shards.
    BootsMixed,
    /// A call that failed counts as one that was answered.
    FailureForgotten,
    /// A call that failed is put behind what waits.
    FailureLast,
    /// A line has more than one call under way.
    SecondCall,
    /// Nothing goes back after a change of lineage.
    RewindSkipped,
    /// A start does not know what was settled before it, so that nothing of it goes back.
    SettledForgotten,
    /// After a change of lineage new records go before those that may be lost.
    RewindUnordered,
    /// An answer from before a change of lineage is believed.
    StaleBelieved,
    /// A server that another one has followed proves what that one has.
    ProofLate,
    /// A record that a server knows at another place proves what was before it.
    ProofAnywhere,
    /// A record whose id was known counts as placed just now.
    RepeatIsNew,
    /// A rewind begins at the oldest open record of a log instead of a minute ago.
    RewindTooFar,
    /// A place that comes after its record was fed is kept to oneself.
    PositionUntold,
    /// A batch that failed counts as one that is in Kafka.
    BatchForgotten,
    /// A batch that failed goes behind those that follow.
    BatchLast,
    /// The cursor passes records whose positions are still to be told.
    CursorPasses,
}

#[cfg(test)]
impl Planted {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::HoleUnnoticed,
        Self::WatermarkPasses,
        Self::BootsMixed,
        Self::FailureForgotten,
        Self::FailureLast,
        Self::SecondCall,
        Self::RewindSkipped,
        Self::SettledForgotten,
        Self::RewindUnordered,
        Self::StaleBelieved,
        Self::ProofLate,
        Self::ProofAnywhere,
        Self::RepeatIsNew,
        Self::RewindTooFar,
        Self::PositionUntold,
        Self::BatchForgotten,
        Self::BatchLast,
        Self::CursorPasses,
    ];
}

#[cfg(not(test))]
pub(crate) const fn is_planted(_defect: Planted) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switched::{is_planted, with_planted};

#[cfg(test)]
mod switched {
    use std::cell::Cell;

    use super::Planted;

    thread_local! {
        static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    pub(crate) fn is_planted(defect: Planted) -> bool {
        PLANTED.with(|planted| planted.get() == Some(defect))
    }

    /// Runs `body` with one defect switched on.
    pub(crate) fn with_planted<T>(defect: Planted, body: impl FnOnce() -> T) -> T {
        PLANTED.with(|planted| planted.set(Some(defect)));
        let result = body();
        PLANTED.with(|planted| planted.set(None));
        result
    }
}
