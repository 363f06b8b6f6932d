//! Where a partition was at which time, for going back. Pure.

use std::collections::VecDeque;

use super::limits::{MARKS_MAX, REWIND_MS};

/// The past of a partition.
#[derive(Debug, Default)]
pub struct Marks {
    /// Begin of a batch and when it was read, oldest first.
    marks: VecDeque<(i64, u64)>,
    /// Everything before this offset is in the target's log.
    appended: i64,
    /// Seeks that were ordered and not confirmed.
    seeks: u32,
}

impl Marks {
    /// A batch begins at an offset.
    pub fn note(&mut self, offset: i64, now_ms: u64) {
        let newest = self.marks.back();
        // Marks closer than half a second to each other tell nothing.
        if newest.is_some_and(|(_, at_ms)| at_ms + REWIND_MS / MARKS_MAX as u64 > now_ms) {
            return;
        }
        self.marks.push_back((offset, now_ms));
        // The newest of those that are old enough stays: it is where going back begins.
        while self.marks.len() > MARKS_MAX
            || self
                .marks
                .get(1)
                .is_some_and(|(_, at_ms)| at_ms + REWIND_MS <= now_ms)
        {
            self.marks.pop_front();
        }
    }

    /// Where to begin again, if something was read within the time; nothing else is accepted
    /// until the seek is confirmed.
    pub fn go_back(&mut self, now_ms: u64) -> Option<i64> {
        let begin = now_ms.saturating_sub(REWIND_MS);
        let older = |(_, at_ms): &&(i64, u64)| *at_ms <= begin;
        let before = self.marks.iter().take_while(older).last();
        let (offset, _) = *before.or(self.marks.front())?;
        self.marks.retain(|(mark, _)| *mark <= offset);
        self.seeks += 1;
        Some(offset)
    }

    /// A seek is confirmed.
    pub fn on_sought(&mut self) {
        self.seeks = self.seeks.saturating_sub(1);
    }

    /// Whether batches are what was asked for.
    pub fn accepts(&self) -> bool {
        self.seeks == 0
    }

    /// Everything before an offset is in the target's log.
    pub fn note_appended(&mut self, next: i64) {
        self.appended = self.appended.max(next);
    }

    /// The offset before which everything is in the target's log, as far as this process knows.
    pub fn appended(&self) -> i64 {
        self.appended
    }
}
