//! Which segments go: the oldest first, beyond a size or an age, and none before two
//! minutes are over.

use crate::files::layout::{sidecar_path, SegmentKey};
use crate::files::pool::remove;
use crate::files::{Boot, FilesError, JournalFiles};
use crate::limits::MARK_SLACK_US;

impl JournalFiles {
    /// Removes or recycles one segment if one has had its time.
    pub(super) fn apply_retention(&mut self, now_us: u64) -> Result<bool, FilesError> {
        let age_us = self.config.retention_s.saturating_mul(1_000_000);
        let too_much = self.catalog.bytes() > self.config.retention_bytes;
        let Some((key, last_us)) = self.oldest_removable() else {
            return Ok(false);
        };
        // A mark must not go before the record that it places is known to have it.
        let wait_us = if too_much {
            MARK_SLACK_US
        } else {
            age_us.max(MARK_SLACK_US)
        };
        if last_us.saturating_add(wait_us) > now_us {
            return Ok(false);
        }
        self.remove_segment(&key)?;
        Ok(true)
    }

    /// Whether a consumer has not passed a segment.
    pub(super) fn is_needed(&self, key: &SegmentKey) -> bool {
        let needed = self.needed_from.get(&(key.shard, key.id.kind));
        needed.is_some_and(|first| key >= first)
    }

    /// Whether a consumer may go back to a segment.
    fn is_kept(&self, key: &SegmentKey) -> bool {
        let kept = self.kept_from.get(&(key.shard, key.id.kind));
        kept.is_some_and(|first| key >= first)
    }

    /// Removes directories of earlier boots that hold no segment.
    pub(super) fn remove_empty_boots(&mut self) -> Result<(), FilesError> {
        for boot in Boot::list(&self.layout)? {
            // A note of damage speaks of all channels up to its time.
            let noted = boot.path.join("damage").exists();
            let mut boots = self.catalog.files.keys().map(|key| key.boot);
            let used = boots.any(|used| used == boot.number || noted && used < boot.number);
            if !used && boot.number != self.boot.number {
                std::fs::remove_dir_all(&boot.path)
                    .map_err(FilesError::access("remove", &boot.path))?;
            }
        }
        Ok(())
    }

    /// The removable segment with the oldest last entry. Each log loses its segments from
    /// the front only, so that no hole arises.
    fn oldest_removable(&self) -> Option<(SegmentKey, u64)> {
        let mut front = None;
        let mut oldest: Option<(SegmentKey, u64)> = None;
        for (key, file) in &self.catalog.files {
            let log = (key.boot, key.shard, key.id.kind);
            if front == Some(log) {
                continue;
            }
            front = Some(log);
            let earlier = key.boot != self.boot.number;
            let wanted = self.is_needed(key) || self.is_kept(key);
            if !file.sealed || wanted || earlier && !self.released {
                continue;
            }
            if oldest.is_none_or(|(_, last_us)| file.last_us < last_us) {
                oldest = Some((*key, file.last_us));
            }
        }
        oldest
    }

    fn remove_segment(&mut self, key: &SegmentKey) -> Result<(), FilesError> {
        let Some(file) = self.catalog.files.get(key) else {
            return Ok(());
        };
        self.retained_since_us = self.retained_since_us.max(file.last_us);
        // The index goes first: a segment without one is read again, an index without its
        // segment would vouch for another one.
        remove(&sidecar_path(&file.path))?;
        self.pool
            .recycle(&file.path, !file.poisoned && !file.damaged)?;
        self.catalog.growing.remove(key);
        self.catalog.files.remove(key);
        self.counters.retired += 1;
        let last_of_boot = !self
            .catalog
            .files
            .keys()
            .any(|other| other.boot == key.boot);
        if last_of_boot && key.boot != self.boot.number {
            self.remove_empty_boots()?;
        }
        Ok(())
    }
}
