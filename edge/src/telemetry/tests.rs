//! Counters, their copies and their exposition.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlink_protocol::priority::Priority;
use interlink_protocol::{CloseCode, ErrorCode};

use super::counters::{Counters, Kind, ShardCounters};
use super::exposition::Exposition;
use super::fields::{Latency, LATENCY_BUCKETS_US};
use super::names;
use super::process::ProcessStatus;

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
fn a_histogram_is_cumulative_and_in_seconds() {
    let mut counters = Counters::default();
    counters.ack_latency.record(100, 1);
    counters.ack_latency.record(101, 2);
    counters.ack_latency.record(u64::from(u32::MAX), 1);
    let text = exposed(&[counters]);
    let name = names::ACK_LATENCY;
    for line in [
        format!("{name}_bucket{{shard=\"0\",le=\"0.0001\"}} 1"),
        format!("{name}_bucket{{shard=\"0\",le=\"0.00025\"}} 3"),
        format!("{name}_bucket{{shard=\"0\",le=\"300\"}} 3"),
        format!("{name}_bucket{{shard=\"0\",le=\"+Inf\"}} 4"),
        format!("{name}_count{{shard=\"0\"}} 4"),
        format!("{name}_sum{{shard=\"0\"}} 4294.967597"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing");
    }
}

#[test]
fn bucket_labels_say_the_bounds() {
    use super::fields::Field;
    for (slot, bound) in LATENCY_BUCKETS_US.iter().enumerate() {
        let (_, label) = Latency::label(slot).expect("bucket");
        let seconds: f64 = label.parse().expect("number");
        assert_eq!((seconds * 1e6).round() as u64, *bound);
    }
}

#[test]
fn names_follow_the_grammar_and_are_used_once() {
    let mut seen = BTreeMap::new();
    for descriptor in Counters::DESCRIPTORS {
        let name = descriptor.name;
        assert!(name.starts_with("interlink_edge_"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            descriptor.kind == Kind::Counter,
            "{name}"
        );
        assert_eq!(
            name.ends_with("_seconds"),
            descriptor.kind == Kind::Histogram,
            "{name}"
        );
        assert!(descriptor.text.ends_with('.'), "{name}");
        assert_eq!(seen.insert(name, ()), None, "{name} is used twice");
    }
    let slots: usize = Counters::DESCRIPTORS
        .iter()
        .map(|descriptor| descriptor.slots)
        .sum();
    assert_eq!(slots, Counters::SLOTS);
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
