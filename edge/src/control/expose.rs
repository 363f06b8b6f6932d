//! What `/metrics` shows beside the shards: the node, its keys, its certificates and its API.
//!
//! Runs on: the control thread.

use std::sync::atomic::Ordering;

use super::guard::Guard;
use super::ControlState;
use crate::auth::KeeperCounts;
use crate::telemetry::counters::Kind::{Counter, Gauge};
use crate::telemetry::exposition::Exposition;
use crate::telemetry::metric::Metric;
use crate::telemetry::process::ProcessStatus;
use crate::telemetry::{allocator, names};
use crate::tls::TlsCounts;

/// Version of the program.
pub(crate) const BUILD: Metric = Metric {
    name: names::BUILD_INFO,
    text: "Version of the program, as a label of the constant 1.",
    kind: Gauge,
    labels: &["version"],
    worry: "nodes of one cluster differ for long",
};

/// State of the node.
pub(crate) const PHASE: Metric = Metric {
    name: names::NODE_PHASE,
    text: "State of the node, as a label of the constant 1: starting, recovering, ready, \
           draining, stopped.",
    kind: Gauge,
    labels: &["phase"],
    worry: "anything but ready, unplanned",
};

/// The memory plan.
pub(crate) const PLAN: Metric = Metric::number(
    names::PLAN_BYTES,
    "Most memory that the plan allows; see config print.",
    Gauge,
    "",
);

/// Keys of tokens and revocations, in the order of their values.
pub(crate) const KEYS: [Metric; 8] = [
    Metric::number(
        names::KEYS,
        "Keys that tokens are checked with.",
        Gauge,
        "0: nobody can connect",
    ),
    Metric::number(
        names::REVOCATIONS,
        "Entries of the revocation list.",
        Gauge,
        "",
    ),
    Metric::number(
        names::KEY_SET_AGE,
        "Time since the oldest key set was fetched.",
        Gauge,
        "above twice auth.jwks_refresh",
    ),
    Metric::number(
        names::KEY_RELOADS,
        "Key and revocation files that were read again.",
        Counter,
        "",
    ),
    Metric::number(
        names::KEY_RELOAD_FAILURES,
        "Key and revocation files that could not be read again.",
        Counter,
        "ever: the old keys stay in use; see the log",
    ),
    Metric::number(
        names::KEY_SET_FETCHES,
        "Key sets that were fetched.",
        Counter,
        "",
    ),
    Metric::number(
        names::KEY_SET_EARLY_FETCHES,
        "Fetches because of a token with an unknown key.",
        Counter,
        "a steady rate: tokens with invented key names",
    ),
    Metric::number(
        names::KEY_SET_FAILURES,
        "Fetches of key sets that failed.",
        Counter,
        "it grows: the issuer is away",
    ),
];

/// Requests without the token of the endpoint.
pub(crate) const REFUSED: Metric = Metric::number(
    names::CONTROL_REFUSED,
    "Requests of the control endpoint without its token.",
    Counter,
    "it grows: an agent has a wrong token, or somebody guesses",
);

/// Certificates, if the node serves TLS, in the order of their values.
pub(crate) const TLS: [Metric; 2] = [
    Metric::number(
        names::TLS_RELOADS,
        "Times that certificates and ticket secrets were read again.",
        Counter,
        "",
    ),
    Metric::number(
        names::TLS_RELOAD_FAILURES,
        "Times that certificates and ticket secrets could not be read again.",
        Counter,
        "ever: the old certificate stays in use; see the log",
    ),
];

/// The whole answer to `/metrics`.
pub(super) fn all(state: &ControlState) -> String {
    let mut exposition = Exposition::default();
    exposition.fact(&BUILD, env!("CARGO_PKG_VERSION"));
    exposition.fact(&PHASE, state.node.phase().word());
    exposition.number(&PLAN, state.facts.plan_bytes as f64);
    keys(&mut exposition, &state.keys);
    let refused = state.guard.as_ref().map_or(0, Guard::refused);
    exposition.number(&REFUSED, refused as f64);
    if let Some(counts) = &state.tls {
        tls(&mut exposition, counts);
    }
    state.api.expose(&mut exposition);
    state.backbone.expose(&mut exposition);
    exposition.shards(&state.counters);
    ProcessStatus::read().expose(&mut exposition);
    allocator::expose(&mut exposition);
    exposition.finish()
}

fn keys(exposition: &mut Exposition, counts: &KeeperCounts) {
    let values = [
        &counts.keys,
        &counts.revocations,
        &counts.key_set_age_s,
        &counts.reloads,
        &counts.reload_failures,
        &counts.fetches,
        &counts.early_fetches,
        &counts.fetch_failures,
    ];
    for (metric, value) in KEYS.iter().zip(values) {
        exposition.number(metric, value.load(Ordering::Relaxed) as f64);
    }
}

fn tls(exposition: &mut Exposition, counts: &TlsCounts) {
    for (metric, value) in TLS.iter().zip([&counts.reloads, &counts.reload_failures]) {
        exposition.number(metric, value.load(Ordering::Relaxed) as f64);
    }
}
