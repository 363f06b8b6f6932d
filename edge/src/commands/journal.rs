//! `journal dump`: every record of a journal as JSON lines. `journal feed`: brings what a dead node
//! left to Redis and Kafka.
//!
//! A dump reads without locking or changing anything, so it works beside a running node and
//! on the files of a dead one. Damage is reported on standard error and in the exit code.
//!
//! Runs on: the main thread.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_relay::dump::{visit, DumpEntry, DumpReport};
use interlink_relay::journal::EntryBody;
use interlink_relay::record::{Mark, RecordRef};
use serde_json::{json, Value};

use super::payload::text_of;
use super::settings::load;
use super::show::position_text;
use crate::backbone::feed;
use crate::cli::{JournalCommand, NodeArguments};
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::telemetry;

/// Runs one of the commands.
pub(super) fn run(command: &JournalCommand) -> Result<(), CommandError> {
    match command {
        JournalCommand::Dump { directory } => dump(directory, &mut std::io::stdout().lock()),
        JournalCommand::Feed { directory, config } => feed(directory, config),
    }
}

fn feed(directory: &Path, config: &Path) -> Result<(), CommandError> {
    if !directory.join("journal").is_dir() {
        let cause = format!("{} has no folder `journal`", directory.display());
        let cure = "name the data directory of the dead node, such as interlink-data";
        return Err(CommandError::new(Exit::Data, cause).cure(cure));
    }
    let config = load(Some(config), &NodeArguments::default())?;
    telemetry::log::init(&config.log);
    let data =
        DataDirectory::open(directory).map_err(|error| CommandError::new(Exit::Data, error))?;
    let counts = feed::feed(config, &data, |counts| eprintln!("{}", counts.feed_line()))?;
    eprintln!("{}; nothing is left", counts.feed_line());
    Ok(())
}

fn dump(directory: &Path, out: &mut impl Write) -> Result<(), CommandError> {
    if !directory.is_dir() {
        let cause = format!("{} is no directory", directory.display());
        let cure = "name the journal of a data directory, such as interlink-data/journal";
        return Err(CommandError::new(Exit::Data, cause).cure(cure));
    }
    let mut out = BufWriter::new(out);
    let report = visit(directory, |entry| {
        // A reader that has gone away wants no more lines.
        match writeln!(out, "{}", line(entry)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let report = report.map_err(|error| CommandError::new(Exit::Data, error))?;
    // The same holds for the lines that are still buffered.
    let _ = out.flush();
    judge(&report)
}

/// Tells of ends that are not clean, which are normal after a crash, and fails when
/// durable entries are missing.
fn judge(report: &DumpReport) -> Result<(), CommandError> {
    for torn in &report.torn {
        eprintln!("unfinished end, as a crash leaves it: {torn:?}");
    }
    if report.damage.is_empty() {
        return Ok(());
    }
    for damage in &report.damage {
        eprintln!("damage: {damage:?}");
    }
    let cause = format!(
        "{} stretches of the journal are damaged",
        report.damage.len()
    );
    Err(CommandError::new(Exit::Data, cause)
        .cure("check the disk; a node starts with what is whole and says what is missing"))
}

fn line(entry: &DumpEntry<'_>) -> Value {
    let mut value = match &entry.body {
        EntryBody::Record(record) => of_record(record),
        EntryBody::Mark(mark) => of_mark(mark),
        EntryBody::Unknown { tag } => json!({ "kind": "unknown", "tag": tag }),
    };
    value["boot"] = json!(entry.segment.boot);
    value["shard"] = json!(entry.segment.shard);
    value["log"] = json!(entry.segment.id.kind.name());
    value["segment"] = json!(entry.segment.id.number);
    value["sequence"] = json!(entry.sequence.0);
    value["sealed_at_us"] = json!(entry.sealed_at_us);
    value
}

fn of_record(record: &RecordRef<'_>) -> Value {
    let mut value = json!({
        "kind": "record",
        "record": format!("{:032x}", record.record.0),
        "class": record.class.name(),
        "channel": record.channel,
        "instance": format!("{:032x}", record.instance.0),
        "client_message_id": record.client_message_id,
        "accepted_at_us": record.accepted_at_us,
        "position": record.placement.map(|placed| position_text(placed.position)),
    });
    if let Ok(ServerFrame::Event(event)) = decode_server(record.frame, &FrameLimits::SERVER) {
        let payload = event.payload().bytes();
        value["publisher"] = json!(event.publisher());
        value["event_type"] = json!(event.event_type());
        value["schema_version"] = json!(event.schema_version());
        value["text"] = json!(text_of(event.event_type(), payload));
        value["payload"] = json!(STANDARD.encode(payload));
    }
    value
}

fn of_mark(mark: &Mark) -> Value {
    json!({
        "kind": "mark",
        "record": format!("{:032x}", mark.record.0),
        "channel_hash": mark.channel_hash,
        "position": position_text(mark.position),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_journal_names_the_cure() {
        let error = dump(Path::new("does/not/exist"), &mut Vec::new()).expect_err("nothing");
        assert_eq!(error.exit, Exit::Data);
        assert!(error.to_string().contains("interlink-data/journal"));
    }

    #[test]
    fn a_feed_needs_a_data_directory() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let error = feed(directory.path(), Path::new("edge.toml")).expect_err("no journal");
        assert_eq!(error.exit, Exit::Data);
        assert!(error.to_string().contains("interlink-data"));
    }

    #[test]
    fn an_empty_directory_has_no_records() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut out = Vec::new();
        dump(directory.path(), &mut out).expect("nothing is wrong");
        assert!(out.is_empty());
    }
}
