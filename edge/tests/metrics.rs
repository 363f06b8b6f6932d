//! `/metrics` of the real node: a right exposition that tells what happened.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use interlink_edge::telemetry::reference;
use support::chat::{next_text, say, saying};
use support::{http_get, run, wait_for, Node, Setup};

/// Labels that samples may have: closed sets, never a channel, user or connection.
const LABELS: [&str; 11] = [
    "shard",
    "system",
    "class",
    "code",
    "version",
    "phase",
    "kind",
    "outcome",
    "operation",
    "status",
    "le",
];
/// Events of the conversation.
const EVENTS: u64 = 40;

/// A sample: name, labels in order, value.
type Sample = (String, Vec<(String, String)>, f64);

/// The metrics of an exposition by name: type and samples.
type Exposition = BTreeMap<String, (String, Vec<Sample>)>;

/// Reads the text format 0.0.4 and refuses what a scraper would.
fn parse(text: &str) -> Exposition {
    assert!(text.ends_with('\n'), "the last line has an end");
    let mut metrics = Exposition::new();
    let (mut current, mut seen) = (String::new(), BTreeSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            assert!(help.ends_with('.'), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let kind = kind.and_then(|kind| kind.strip_prefix(name));
            let kind = kind.expect("a type follows its help").trim();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            let begun = metrics.insert(name.to_owned(), (kind.to_owned(), Vec::new()));
            assert_eq!(begun, None, "{name} begins twice");
            current = name.to_owned();
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(seen.insert(series.to_owned()), "{series} is there twice");
        let sample = parse_series(series, value.parse().expect("a number"));
        let (kind, samples) = metrics.get_mut(&current).expect("a head comes first");
        let suffix = sample.0.strip_prefix(current.as_str());
        let allowed: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let suffix = suffix.unwrap_or_else(|| panic!("{series} stands under {current}"));
        assert!(allowed.contains(&suffix), "{series} stands under {current}");
        samples.push(sample);
    }
    metrics
}

fn parse_series(series: &str, value: f64) -> Sample {
    assert!(value.is_finite() && value >= 0.0, "{series} {value}");
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), Vec::new(), value);
    };
    let labels = labels.strip_suffix('}').expect("a closing brace");
    let labels = labels.split(',').map(|label| {
        let (key, word) = label.split_once('=').expect("a value of the label");
        assert!(LABELS.contains(&key), "{key} is no label of ours");
        let word = word
            .strip_prefix('"')
            .and_then(|word| word.strip_suffix('"'));
        (key.to_owned(), word.expect("quotes").to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

/// Buckets rise, the last one is the count, and the sum fits.
fn check_histogram(name: &str, samples: &[Sample]) {
    let mut by_labels = BTreeMap::<Vec<(String, String)>, Vec<&Sample>>::new();
    for sample in samples {
        let key = sample.1.iter().filter(|label| label.0 != "le").cloned();
        by_labels.entry(key.collect()).or_default().push(sample);
    }
    for (labels, samples) in by_labels {
        let of = |suffix: &str| {
            let wanted = format!("{name}{suffix}");
            let found = samples.iter().filter(|sample| sample.0 == wanted);
            found.map(|sample| sample.2).collect::<Vec<f64>>()
        };
        let (buckets, sum, count) = (of("_bucket"), of("_sum"), of("_count"));
        assert!(buckets.is_sorted(), "{name} {labels:?}");
        assert_eq!(buckets.last(), count.first(), "{name} {labels:?}");
        assert_eq!((sum.len(), count.len()), (1, 1), "{name} {labels:?}");
        let last = samples.iter().rfind(|sample| sample.0.ends_with("_bucket"));
        let bound = last.and_then(|sample| sample.1.last());
        assert_eq!(bound.map(|label| label.1.as_str()), Some("+Inf"));
    }
}

fn scraped(node: &Node) -> Exposition {
    let (status, body) = http_get(node.control(), "/metrics").expect("control answers");
    assert_eq!(status, 200);
    parse(&body)
}

/// The sum of the samples with this name and label.
fn sum(metrics: &Exposition, name: &str, label: Option<(&str, &str)>) -> f64 {
    let base = name.trim_end_matches("_count").trim_end_matches("_sum");
    let found = metrics.get(name).or_else(|| metrics.get(base));
    let (_, samples) = found.unwrap_or_else(|| panic!("{name} is missing"));
    let matches = |sample: &&Sample| {
        let has = |(key, word): (&str, &str)| {
            let labels = &sample.1;
            labels.iter().any(|label| label.0 == key && label.1 == word)
        };
        sample.0 == name && label.is_none_or(has)
    };
    samples.iter().filter(matches).map(|sample| sample.2).sum()
}

fn converse(node: &Node) {
    run(async {
        let (ada, bob) = (node.client("ada").await, node.client("bob").await);
        let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
        for number in 0..EVENTS {
            let text = number.to_string();
            say(&ada, "chat.ada~bob", &text).await.unwrap();
            assert_eq!(next_text(&mut chat).await, text);
        }
        let mut own = ada.subscribe("activity.ada").await.unwrap();
        ada.publish("activity.ada", b"typing".to_vec())
            .await
            .unwrap();
        own.next().await.expect("the event");
        let refused = saying(&ada, "alert.bob", "not allowed").await;
        assert!(refused.is_err());
        bob.close().await;
        ada.close().await;
    });
}

#[test]
fn the_exposition_is_right_and_is_what_the_reference_says() {
    let node = Setup::shards(2).start();
    converse(&node);
    let metrics = scraped(&node);
    for (name, (kind, samples)) in &metrics {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        if kind == "histogram" {
            check_histogram(name, samples);
        }
    }
    let documented: BTreeMap<_, _> = reference::all()
        .map(|metric| (metric.name.to_owned(), metric))
        .collect();
    for (name, (kind, samples)) in &metrics {
        let metric = documented
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the reference"));
        assert_eq!(metric.kind.word(), kind, "{name}");
        for sample in samples {
            let labels = sample.1.iter().map(|label| label.0.as_str());
            let labels: Vec<&str> = labels.filter(|label| *label != "le").collect();
            assert_eq!(labels, metric.labels, "{name}");
        }
    }
    // Only a node that serves TLS shows its certificates.
    let hidden = documented
        .keys()
        .filter(|name| !metrics.contains_key(*name));
    let hidden: Vec<&str> = hidden.map(String::as_str).collect();
    assert_eq!(
        hidden,
        [
            "interlink_edge_tls_reload_failures_total",
            "interlink_edge_tls_reloads_total"
        ]
    );
}

#[test]
fn what_happened_is_counted_by_class_and_timed_by_stage() {
    for shards in [1, 2] {
        let node = Setup::shards(shards).start();
        converse(&node);
        let (p1, p2) = (Some(("class", "p1")), Some(("class", "p2")));
        let seen = |metrics: &Exposition, name: &str, class| {
            let name = format!("interlink_edge_{name}");
            sum(metrics, &name, class)
        };
        // A shard shows its numbers when it has nothing more to do.
        let metrics = wait_for("the last counters", || {
            let metrics = scraped(&node);
            (seen(&metrics, "connections_open", None) == 0.0).then_some(metrics)
        });
        let events = EVENTS as f64;
        for (name, class, expected) in [
            ("publishes_total", p1, events),
            ("publishes_acked_total", p1, events),
            ("delivered_events_total", p1, events),
            ("journal_records_total", p1, events),
            ("ack_latency_seconds_count", p1, events),
            ("delivery_latency_seconds_count", p1, events),
            ("delivered_events_total", p2, 1.0),
            ("ack_latency_seconds_count", p2, 1.0),
            ("delivery_latency_seconds_count", p2, 1.0),
            ("publishes_refused_total", Some(("class", "p0")), 1.0),
            ("refusals_total", Some(("code", "not_permitted")), 1.0),
            ("journal_failures_total", None, 0.0),
        ] {
            assert_eq!(seen(&metrics, name, class), expected, "{name} of {shards}");
        }
        assert!(seen(&metrics, "visible_latency_seconds_count", p1) >= events);
        // The node itself publishes its summaries there, which nobody subscribes to here.
        assert!(seen(&metrics, "publishes_total", p2) >= 1.0);
        for name in [
            "journal_sync_latency_seconds_count",
            "journal_write_latency_seconds_count",
            "turn_seconds_count",
            "turn_seconds_sum",
            "ack_latency_seconds_sum",
            "received_bytes_total",
            "sent_bytes_total",
            "journal_quota_bytes",
        ] {
            assert!(seen(&metrics, name, None) > 0.0, "{name} of {shards}");
        }
        assert!(sum(&metrics, "process_cpu_seconds_total", None) > 0.0);
        assert!(seen(&metrics, "allocator_retained_bytes", None) >= 0.0);
        // A durable publish waits at least for its sync; a turn is at most a few milliseconds.
        let average = |stage: &str, class| {
            let total = seen(&metrics, &format!("{stage}_sum"), class);
            total / seen(&metrics, &format!("{stage}_count"), class)
        };
        assert!(average("ack_latency_seconds", p1) >= average("visible_latency_seconds", p1));
    }
}
