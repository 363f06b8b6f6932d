//! What clients did and saw, for the checker: one JSON object a line.
//!
//! Purpose: the checker (`bench/checker/`) judges by this file alone and knows nothing of the
//! bench or the server. Times are microseconds of one monotonic clock, ids are payload numbers that
//! no two publishes share.
//! Invariants: a line is whole or absent; a publish is noted before it is handed to the client, an
//! answer and a delivery after they came, so that the order of the file is the order of causes.
//! Limits: none of its own; a line has some 120 bytes.
//!
//! Runs on: any thread; a lock is held for one line.

use crate::sys;
use anyhow::{Context, Result};
use interlink_client::{AckLevel, Delivery, GapReason, PublishReceipt};
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes that wait in memory for the file.
const BUFFER_BYTES: usize = 256 * 1024;

/// One thing that happened. Names and fields are what the checker reads.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Line<'a> {
    /// An event is handed to the client.
    Publish {
        /// Who.
        client: &'a str,
        /// Full channel name.
        channel: &'a str,
        /// Payload number.
        id: u64,
        /// Class of the channel, 0 to 3.
        class: usize,
        /// What order is promised for, within the channel: the publisher.
        key: &'a str,
    },
    /// A publish was acknowledged.
    Ack {
        /// Who.
        client: &'a str,
        /// Payload number.
        id: u64,
        /// `accepted`, `local` or `replicated`.
        level: &'static str,
        /// A higher level was wanted.
        degraded: bool,
    },
    /// A publish was refused for good.
    Refused {
        /// Who.
        client: &'a str,
        /// Payload number.
        id: u64,
        /// Error code of the server; 0 when the client itself refused.
        code: u16,
    },
    /// Everything of this client and class up to this payload number is settled.
    Settled {
        /// Who.
        client: &'a str,
        /// Class.
        class: usize,
        /// Highest payload number that the client had handed over.
        through: u64,
    },
    /// An event came.
    Deliver {
        /// Who.
        client: &'a str,
        /// Full channel name.
        channel: &'a str,
        /// Epoch of its position.
        epoch: u64,
        /// Offset of its position.
        offset: u64,
        /// Payload number.
        id: u64,
    },
    /// A subscription was made, or continued after a loss.
    Subscribed {
        /// Who.
        client: &'a str,
        /// Full channel name.
        channel: &'a str,
        /// Whether everything since the last position follows; true when it is new.
        recovered: bool,
        /// Why not; `new` for a subscription that had no position.
        reason: &'static str,
        /// Epoch of the last position; 0 when there was none.
        epoch: u64,
        /// Offset of the last position; 0 when there was none.
        offset: u64,
    },
    /// The server announced that events are missing here, or that the numbering changed.
    Position {
        /// Who.
        client: &'a str,
        /// Full channel name.
        channel: &'a str,
        /// How many are missing.
        skipped: u64,
        /// Why.
        reason: &'static str,
        /// Epoch from which it goes on.
        epoch: u64,
        /// Offset after which it goes on.
        offset: u64,
    },
    /// A connection was welcomed.
    Connected {
        /// Who.
        client: &'a str,
        /// Name of the node.
        node: &'a str,
        /// Whether the session goes on.
        resumed: bool,
    },
    /// A connection was lost.
    Lost {
        /// Who.
        client: &'a str,
    },
    /// The driver made something fail.
    Fault {
        /// What.
        what: &'a str,
    },
    /// The driver ended the fault.
    Healed {},
}

#[derive(Serialize)]
struct Timed<'a> {
    t: u64,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

/// A history that is being written.
pub struct History {
    file: Mutex<Writing>,
}

struct Writing {
    file: BufWriter<File>,
    /// Why a line could not be written; the run is worth nothing then.
    failure: Option<std::io::Error>,
}

impl History {
    /// Begins a history.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(Writing {
                file: BufWriter::with_capacity(BUFFER_BYTES, file),
                failure: None,
            }),
        })
    }

    /// Adds a line, with the time of now.
    pub fn note(&self, line: &Line<'_>) {
        let mut writing = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that times never fall.
        let timed = Timed {
            t: sys::monotonic_ns() / 1_000,
            line,
        };
        let written = serde_json::to_writer(&mut writing.file, &timed);
        let written = written
            .map_err(std::io::Error::from)
            .and_then(|()| writing.file.write_all(b"\n"));
        if let Err(error) = written {
            writing.failure.get_or_insert(error);
        }
    }

    /// Writes what waits; fails when any line could not be written.
    pub fn finish(&self) -> Result<()> {
        let mut writing = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = writing.failure.take() {
            return Err(error).context("writing the history");
        }
        writing.file.flush().context("writing the history")
    }
}

/// A receipt as the checker reads it.
pub fn ack<'a>(client: &'a str, id: u64, receipt: &PublishReceipt) -> Line<'a> {
    Line::Ack {
        client,
        id,
        level: level_word(receipt.level),
        degraded: receipt.degraded,
    }
}

/// What a subscription handed out beside events, as the checker reads it; `last` is the position
/// of the last event. Presence is none of its concern.
pub fn beside_events<'a>(
    client: &'a str,
    channel: &'a str,
    delivery: &Delivery,
    (epoch, offset): (u64, u64),
) -> Option<Line<'a>> {
    match delivery {
        Delivery::Gap(gap) => Some(Line::Position {
            client,
            channel,
            skipped: gap.skipped,
            reason: reason_word(gap.reason),
            epoch: gap.position.epoch,
            offset: gap.position.offset,
        }),
        Delivery::Recovered(recovery) => Some(Line::Subscribed {
            client,
            channel,
            recovered: recovery.recovered,
            reason: reason_word(recovery.reason),
            epoch,
            offset,
        }),
        _ => None,
    }
}

fn level_word(level: AckLevel) -> &'static str {
    match level {
        AckLevel::Accepted => "accepted",
        AckLevel::Local => "local",
        AckLevel::Replicated => "replicated",
    }
}

fn reason_word(reason: GapReason) -> &'static str {
    match reason {
        GapReason::None => "none",
        GapReason::Conflated => "conflated",
        GapReason::Slow => "slow",
        GapReason::Lineage => "lineage",
        GapReason::Retention => "retention",
        GapReason::Ephemeral => "ephemeral",
        GapReason::Region => "region",
        GapReason::Unknown => "unknown",
        GapReason::Lagging => "lagging",
        GapReason::Unannounced => "unannounced",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_timed_in_order_and_named_as_the_checker_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.ndjson");
        let history = History::create(&path).unwrap();
        history.note(&Line::Publish {
            client: "u1",
            channel: "chat.u1~u2",
            id: 7,
            class: 1,
            key: "u1",
        });
        history.note(&Line::Fault {
            what: "kill \"node-1\"",
        });
        history.note(&Line::Healed {});
        history.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["do"], "publish");
        assert_eq!(
            (lines[0]["id"].as_u64(), lines[0]["key"].as_str()),
            (Some(7), Some("u1"))
        );
        assert_eq!(lines[1]["what"], "kill \"node-1\"");
        assert_eq!(lines[2]["do"], "healed");
        let times: Vec<u64> = lines
            .iter()
            .map(|line| line["t"].as_u64().unwrap())
            .collect();
        assert!(times.is_sorted());
    }
}
