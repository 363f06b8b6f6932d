//! Deliberate defects for the crash tests: a test that never fails proves nothing, so the
//! harness has to find each of these. Outside of tests none of them exists.

/// A defect that a test can switch on for its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    /// Entries count as durable once they are written.
    AckBeforeSync,
    /// The sync is not issued.
    SyncSkipped,
    /// A failed sync counts as a good one.
    SyncErrorIgnored,
    /// Blocks of earlier lives of a segment are taken for its own.
    ReuseUnnoticed,
    /// The checksum of a block is not compared.
    ChecksumIgnored,
    /// The checksum covers the content, but not the length.
    LengthUncovered,
    /// Entries after a hole in the sequence are believed.
    HoleBelieved,
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
