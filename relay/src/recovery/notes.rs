//! The note of damage in a boot's directory.
//!
//! Once a damaged segment has an index, its hole is not seen again by scanning. What was
//! found is therefore noted, one line each, and read at every start: the segment stays
//! aside, channels of that time do not continue their epochs, and only the first start is
//! degraded.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::files::FilesError;
use crate::record::{Kind, StreamId};
use crate::recovery::Damage;

fn path(boot: &Path) -> PathBuf {
    boot.join("damage")
}

/// What was noted for a boot.
pub(crate) fn read(boot: &Path, id: u64) -> Result<Vec<Damage>, FilesError> {
    let path = path(boot);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| parse(line, id)).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FilesError::access("read", &path)(error)),
    }
}

/// Adds to the note.
pub(crate) fn append(boot: &Path, damage: &[Damage]) -> Result<(), FilesError> {
    let path = path(boot);
    let text: String = damage.iter().map(line).collect();
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(FilesError::access("write", &path))
}

/// Whether two findings speak of the same hole. Its place may read differently once
/// indexes exist, what is missing does not.
pub(crate) fn is_same(one: &Damage, other: &Damage) -> bool {
    one.stream == other.stream && one.missing == other.missing
}

fn line(damage: &Damage) -> String {
    format!(
        "shard {} log {} segment {} offset {} missing {} to {}\n",
        damage.stream.shard,
        damage.stream.kind.name(),
        damage.segment,
        damage.offset,
        damage.missing.start(),
        damage.missing.end(),
    )
}

fn parse(line: &str, boot: u64) -> Option<Damage> {
    let mut words = line.split_ascii_whitespace();
    let mut after = |word: &str| {
        words.find(|found| *found == word)?;
        words.next()
    };
    let shard = after("shard")?.parse().ok()?;
    let kind = after("log")?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    let segment = after("segment")?.parse().ok()?;
    let offset = after("offset")?.parse().ok()?;
    let first: u64 = after("missing")?.parse().ok()?;
    let last: u64 = after("to")?.parse().ok()?;
    Some(Damage {
        stream: StreamId { boot, shard, kind },
        segment,
        offset,
        missing: first..=last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let stream = StreamId {
            boot: 7,
            shard: 3,
            kind: Kind::Background,
        };
        let damage = Damage {
            stream,
            segment: 4,
            offset: 512,
            missing: 9..=12,
        };
        assert_eq!(read(directory.path(), 7).expect("readable"), []);
        append(directory.path(), std::slice::from_ref(&damage)).expect("written");
        append(directory.path(), std::slice::from_ref(&damage)).expect("written");
        assert_eq!(
            read(directory.path(), 7).expect("readable"),
            [damage.clone(), damage]
        );
    }
}
