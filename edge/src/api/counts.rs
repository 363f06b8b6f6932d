//! Numbers of the server API for `/metrics`.
//!
//! Invariant: there is one writer, the control thread.
//! Runs on: the control thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use interlink_protocol::ErrorCode;

use super::routes::{operation_name, OPERATIONS};
use crate::gateway::PublishAnswer;
use crate::telemetry::counters::Kind::{Counter, Gauge, Histogram};
use crate::telemetry::exposition::Exposition;
use crate::telemetry::latency::{SharedHistogram, Snapshot};
use crate::telemetry::metric::Metric;
use crate::telemetry::names;

/// Statuses that answers have; others would count as 500, which none is.
const STATUSES: [u16; 12] = [200, 400, 401, 403, 404, 405, 409, 410, 413, 429, 500, 503];

/// Open connections.
const CONNECTIONS: Metric = Metric::number(
    names::API_CONNECTIONS,
    "Connections of the server API that are open now.",
    Gauge,
    "near 1,024: callers wait in the backlog",
);

/// Requests.
const REQUESTS: Metric = Metric {
    name: names::API_REQUESTS,
    text: "Requests of the server API that were answered, by operation and HTTP status; \
           `other` is every path that there is not.",
    kind: Counter,
    labels: &["operation", "status"],
    worry: "5xx or 429 grow; 401 grows: a caller has a wrong token, or somebody guesses",
};

/// Times.
const LATENCY: Metric = Metric {
    name: names::API_LATENCY,
    text: "Time from the head of a request to its answer, by operation; for publishes it contains \
           the time to the wanted level.",
    kind: Histogram,
    labels: &["operation"],
    worry: "p99 above 100 ms: shards are busy, or the disk is slow",
};

/// Events.
const EVENTS: Metric = Metric::number(
    names::API_EVENTS,
    "Events that the server API accepted.",
    Counter,
    "",
);

/// Repeats.
const REPEATS: Metric = Metric::number(
    names::API_REPEATS,
    "Events whose idempotency key had been accepted before.",
    Counter,
    "it is a large part of the accepted ones: callers do not get their answers in time",
);

/// Refusals.
const REFUSALS: Metric = Metric {
    name: names::API_REFUSALS,
    text: "Requests that the server API refused, and events of accepted requests, by error code.",
    kind: Counter,
    labels: &["code"],
    worry: "a code grows; the error catalogue has its cause and cure",
};

/// Every metric of the API, in the order in which they are exposed.
pub const METRICS: [Metric; 6] = [CONNECTIONS, REQUESTS, LATENCY, EVENTS, REPEATS, REFUSALS];

/// What was counted.
#[derive(Debug)]
pub struct ApiCounts {
    connections: AtomicU64,
    /// By operation and place of the status.
    requests: Vec<[AtomicU64; STATUSES.len()]>,
    /// By operation.
    latencies: Vec<SharedHistogram>,
    events: AtomicU64,
    repeats: AtomicU64,
    /// By place of the code in the catalogue.
    refusals: [AtomicU64; ErrorCode::ALL.len()],
}

impl Default for ApiCounts {
    fn default() -> Self {
        Self {
            connections: AtomicU64::new(0),
            requests: (0..OPERATIONS).map(|_| Default::default()).collect(),
            latencies: (0..OPERATIONS).map(|_| Default::default()).collect(),
            events: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            refusals: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl ApiCounts {
    /// A connection was opened; it counts until the returned value is dropped.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        add(&self.connections);
        OpenConnection(Arc::clone(self))
    }

    /// A request was answered.
    pub fn note_request(&self, operation: usize, status: StatusCode, time: Duration) {
        let place = STATUSES.iter().position(|known| *known == status.as_u16());
        let internal = STATUSES.iter().position(|known| *known == 500);
        if let Some(place) = place.or(internal) {
            add(&self.requests[operation][place]);
        }
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.latencies[operation].record(time_us, 1);
    }

    /// A request was refused as a whole.
    pub fn note_refusal(&self, code: ErrorCode) {
        if let Some(place) = ErrorCode::ALL.iter().position(|known| *known == code) {
            add(&self.refusals[place]);
        }
    }

    /// An event of an accepted request has its outcome.
    pub fn note_event(&self, answer: &PublishAnswer) {
        match answer {
            PublishAnswer::Accepted { repeat: false, .. } => add(&self.events),
            PublishAnswer::Accepted { repeat: true, .. } => add(&self.repeats),
            PublishAnswer::Refused(refusal) => self.note_refusal(refusal.code),
        }
    }

    /// Writes all of it.
    pub fn expose(&self, exposition: &mut Exposition) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        exposition.number(&CONNECTIONS, read(&self.connections) as f64);
        let requests = self.requests.iter().enumerate();
        exposition.labelled(
            &REQUESTS,
            requests.flat_map(|(operation, counts)| {
                let name = operation_name(operation);
                STATUSES.iter().zip(counts).map(move |(status, count)| {
                    let labels = format!("operation=\"{name}\",status=\"{status}\"");
                    (labels, read(count))
                })
            }),
        );
        let latencies = self.latencies.iter().enumerate();
        exposition.histograms(
            &LATENCY,
            latencies.map(|(operation, histogram)| {
                let mut found = Snapshot::empty();
                found.add(histogram);
                let name = operation_name(operation);
                (format!("operation=\"{name}\""), found)
            }),
        );
        exposition.number(&EVENTS, read(&self.events) as f64);
        exposition.number(&REPEATS, read(&self.repeats) as f64);
        let refusals = ErrorCode::ALL.iter().zip(&self.refusals);
        exposition.labelled(
            &REFUSALS,
            refusals.map(|(code, count)| (format!("code=\"{}\"", code.name()), read(count))),
        );
    }
}

/// An open connection.
#[derive(Debug)]
pub struct OpenConnection(Arc<ApiCounts>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::super::failure::status_of;
    use super::*;

    #[test]
    fn every_status_of_a_refusal_is_counted_as_itself() {
        for code in ErrorCode::ALL {
            let status = status_of(code).as_u16();
            assert!(STATUSES.contains(&status), "{status} of {}", code.name());
        }
    }

    #[test]
    fn what_was_counted_is_exposed() {
        let counts = Arc::new(ApiCounts::default());
        let open = counts.connection();
        counts.note_request(0, StatusCode::OK, Duration::from_micros(300));
        counts.note_request(OPERATIONS - 1, StatusCode::NOT_FOUND, Duration::ZERO);
        counts.note_refusal(ErrorCode::NotSupported);
        let mut exposition = Exposition::default();
        counts.expose(&mut exposition);
        let text = exposition.finish();
        for line in [
            "interlink_edge_api_connections_open 1",
            "interlink_edge_api_requests_total{operation=\"publish\",status=\"200\"} 1",
            "interlink_edge_api_requests_total{operation=\"other\",status=\"404\"} 1",
            "interlink_edge_api_latency_seconds_bucket{operation=\"publish\",le=\"0.0005\"} 1",
            "interlink_edge_api_latency_seconds_count{operation=\"publish\"} 1",
            "interlink_edge_api_refusals_total{code=\"not_supported\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        drop(open);
        assert_eq!(counts.connections.load(Ordering::Relaxed), 0);
    }
}
