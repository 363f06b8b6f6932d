//! Counters, their copies and their exposition.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlink_protocol::priority::Priority;
use interlink_protocol::{CloseCode, ErrorCode};

use super::counters::{Counters, Kind, ShardCounters};
use super::exposition::Exposition;
use super::latency::Stage;
use super::process::ProcessStatus;
use super::{names, reference};

fn exposed(counters: &[Counters]) -> String {
    let shards: Vec<Arc<ShardCounters>> = counters
        .iter()
        .map(|counters| {
            let shared = ShardCounters::default();
            shared.publish(counters);
            Arc::new(shared)
        })
        .collect();
    let mut exposition = Exposition::default();
    exposition.shards(&shards);
    exposition.finish()
}

#[test]
fn every_number_appears_under_its_own_name_and_label() {
    let mut counters = Counters {
        turns: 7,
        sessions_open: 3,
        ..Counters::default()
    };
    counters.publishes.add(Priority::P1, 5);
    counters.refusals.add(ErrorCode::Overloaded);
    counters.closes.add(CloseCode::TakenOver);
    let text = exposed(&[Counters::default(), counters]);
    let lines = [
        "interlink_edge_turns_total{shard=\"0\"} 0",
        "interlink_edge_turns_total{shard=\"1\"} 7",
        "interlink_edge_sessions_open{shard=\"1\"} 3",
        "interlink_edge_publishes_total{shard=\"1\",class=\"p1\"} 5",
        "interlink_edge_publishes_total{shard=\"1\",class=\"p0\"} 0",
        "interlink_edge_refusals_total{shard=\"1\",code=\"overloaded\"} 1",
        "interlink_edge_close_frames_total{shard=\"1\",code=\"taken_over\"} 1",
    ];
    for line in lines {
        assert!(text.lines().any(|found| found == line), "{line} is missing");
    }
}

#[test]
fn latencies_of_all_shards_are_one_histogram_in_seconds() {
    let shards: Vec<Arc<ShardCounters>> = (0..2).map(|_| Arc::default()).collect();
    let stage = |shard: usize, stage: Stage| shards[shard].latencies().stage(stage.index());
    stage(0, Stage::Ack(Priority::P1)).record(90, 1);
    stage(1, Stage::Ack(Priority::P1)).record(110, 2);
    stage(1, Stage::Ack(Priority::P1)).record(400_000_000, 1);
    stage(1, Stage::Turn).record(200, 3);
    let mut exposition = Exposition::default();
    exposition.shards(&shards);
    let text = exposition.finish();
    let (ack, turn) = (names::ACK_LATENCY, names::TURN_LATENCY);
    for line in [
        format!("{ack}_bucket{{class=\"p1\",le=\"0.0001\"}} 1"),
        format!("{ack}_bucket{{class=\"p1\",le=\"0.00025\"}} 3"),
        format!("{ack}_bucket{{class=\"p1\",le=\"300\"}} 3"),
        format!("{ack}_bucket{{class=\"p1\",le=\"+Inf\"}} 4"),
        format!("{ack}_count{{class=\"p1\"}} 4"),
        format!("{ack}_sum{{class=\"p1\"}} 400.00031"),
        format!("{ack}_count{{class=\"p0\"}} 0"),
        format!("{turn}_count{{shard=\"0\"}} 0"),
        format!("{turn}_sum{{shard=\"1\"}} 0.0006"),
        format!("{}_count 0", names::SYNC_LATENCY),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing");
    }
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    let committed = include_str!("../../METRICS.md");
    assert!(
        committed == reference::reference(),
        "edge/METRICS.md differs from the declarations: \
         run `cargo run -p interlink-edge -- metrics > edge/METRICS.md`"
    );
}

#[test]
fn names_follow_the_grammar_and_are_used_once() {
    let mut seen = BTreeMap::new();
    for metric in reference::all() {
        let name = metric.name;
        assert!(
            name.starts_with("interlink_edge_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        let is_counter = metric.kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        if metric.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(metric.text.ends_with('.'), "{name}");
        assert!(!metric.text.contains(['\n', '|', '\\']), "{name}");
        assert_eq!(seen.insert(name, ()), None, "{name} is used twice");
    }
    let slots = Counters::DESCRIPTORS.iter().map(|entry| entry.slots);
    assert_eq!(slots.sum::<usize>(), Counters::SLOTS);
}

#[test]
fn every_sample_line_has_a_head_of_its_metric() {
    let text = exposed(&[Counters::default()]);
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap_or("");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(current), "{line} stands under {current}");
        }
    }
}

#[test]
fn a_shared_copy_is_aligned_and_readable_by_name() {
    let shared = ShardCounters::default();
    assert_eq!(std::mem::align_of_val(&shared), 128);
    shared.publish(&Counters {
        turns: 9,
        ..Counters::default()
    });
    assert_eq!(shared.turns(), 9);
    assert_eq!(shared.value("no_such_metric"), 0);
}

#[test]
fn the_process_uses_memory_threads_and_descriptors() {
    let status = ProcessStatus::read();
    assert!(status.resident > 0 && status.anonymous > 0 && status.virtual_size > status.resident);
    assert!(status.threads >= 1 && status.open_fds >= 3 && status.max_fds >= status.open_fds);
    assert!(status.start_s > 1e9);
}
