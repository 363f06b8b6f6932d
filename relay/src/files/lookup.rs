//! Single facts out of retained segments: a channel's newest event, an accepted id.

use interlink_protocol::ids::{placement_hash, InstanceId, Position};
use interlink_protocol::priority::Priority;

use crate::dedupe::{fingerprint, Verdict};
use crate::files::layout::{sidecar_path, SegmentKey};
use crate::files::{FilesError, JournalFiles};
use crate::index::sidecar::{self, Section, Sidecar};
use crate::index::{newer, AcceptedId};

impl JournalFiles {
    /// Position of the newest retained event of a channel. Blocks for reading.
    pub fn top(&mut self, channel: &str) -> Result<Option<Position>, FilesError> {
        self.index_growing()?;
        let hash = placement_hash(channel.as_bytes());
        let mut top: Option<(u32, Position)> = None;
        for (key, file) in self.catalog.files.iter().rev() {
            // Events of an earlier boot come before all of a later one.
            if top.is_some_and(|(boot, _)| boot > key.boot) {
                break;
            }
            let found = match self.catalog.growing.get(key) {
                Some(growing) => {
                    let marks = growing.index.marks.iter();
                    let marked = marks.filter(|mark| mark.channel_hash == hash);
                    let marked = marked.map(|mark| mark.position).reduce(newer);
                    [growing.index.tops.get(channel).copied(), marked]
                }
                None if file.channels.may_hold(hash) => self.sealed_top(key, channel, hash),
                None => [None, None],
            };
            for position in found.into_iter().flatten() {
                let known = top.map_or(position, |(_, known)| newer(known, position));
                top = Some((key.boot, known));
            }
        }
        Ok(top.map(|(_, position)| position))
    }

    /// Whether a publish was accepted whose first attempt was made at `since_us`. `TooOld`
    /// when that is before what is retained. Blocks for reading.
    pub fn was_accepted(
        &mut self,
        instance: InstanceId,
        class: Priority,
        client_message_id: u64,
        payload_hash: u64,
        since_us: u64,
    ) -> Result<Verdict, FilesError> {
        self.index_growing()?;
        let mut verdict = Verdict::New;
        let mut judge = |accepted: &AcceptedId| {
            let asked = (instance, class, client_message_id);
            if (accepted.instance, accepted.class, accepted.id) == asked {
                let same = accepted.fingerprint == fingerprint(payload_hash);
                verdict = if same {
                    Verdict::Repeat
                } else {
                    Verdict::Conflict
                };
            }
        };
        for (key, file) in &self.catalog.files {
            if let Some(growing) = self.catalog.growing.get(key) {
                growing.index.accepted.iter().for_each(&mut judge);
            } else if file.last_us >= since_us {
                let path = sidecar_path(&file.path);
                let Some(sidecar) = Sidecar::open(&path) else {
                    continue;
                };
                let section = sidecar.section(Section::Accepted);
                let section = section.map_err(FilesError::access("read", &path))?;
                sidecar::accepted_of(&section, |accepted| judge(&accepted));
            }
        }
        if verdict == Verdict::New && since_us < self.retained_since_us {
            return Ok(Verdict::TooOld);
        }
        Ok(verdict)
    }

    fn sealed_top(&self, key: &SegmentKey, channel: &str, hash: u64) -> [Option<Position>; 2] {
        let file = self.catalog.files.get(key);
        let Some(sidecar) = file.and_then(|file| Sidecar::open(&sidecar_path(&file.path))) else {
            return [None, None];
        };
        let tops = sidecar.section(Section::Tops).unwrap_or_default();
        let placed = sidecar::tops_of(&tops).find(|(name, _)| *name == channel);
        let marks = sidecar.section(Section::Marks).unwrap_or_default();
        let marked = sidecar::marks_of(&marks).filter(|mark| mark.channel_hash == hash);
        let marked = marked.map(|mark| mark.position).reduce(newer);
        [placed.map(|(_, position)| position), marked]
    }
}
