//! Routes of the control endpoint.
//!
//! Runs on: the control thread.

use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::Router;
use tokio::sync::oneshot;

use super::{signals, ControlState, Keepers};
use crate::auth::KeeperCounts;
use crate::server::{NodeEvent, Phase};
use crate::telemetry::counters::Kind;
use crate::telemetry::exposition::{Exposition, CONTENT_TYPE};
use crate::telemetry::process::ProcessStatus;
use crate::telemetry::{allocator, names};
use crate::tls::TlsCounts;

/// How often the shards are looked at, so that an answer needs no waiting.
const OBSERVATION: Duration = Duration::from_millis(250);

/// Serves until `stopped` or an error of the listener.
pub(super) async fn serve(
    listener: TcpListener,
    state: ControlState,
    keepers: Keepers,
    events: &Sender<NodeEvent>,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let state = Arc::new(state);
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/v1/drain", post(drain))
        .with_state(Arc::clone(&state));
    tokio::select! {
        result = axum::serve(listener, router).into_future() => result,
        result = signals::forward(events) => result,
        () = observe(&state) => Ok(()),
        result = keepers.run() => result,
        _ = stopped => Ok(()),
    }
}

/// Looks at the shards for ever.
async fn observe(state: &ControlState) {
    let mut ticks = tokio::time::interval(OBSERVATION);
    loop {
        ticks.tick().await;
        state.observe(Instant::now());
    }
}

async fn metrics(State(state): State<Arc<ControlState>>) -> impl IntoResponse {
    let mut exposition = Exposition::default();
    let version = env!("CARGO_PKG_VERSION");
    exposition.fact(
        names::BUILD_INFO,
        "Version of the program.",
        "version",
        version,
    );
    let phase = state.node.phase().word();
    exposition.fact(names::NODE_PHASE, "State of the node.", "phase", phase);
    let plan = state.plan_bytes as f64;
    exposition.number(
        names::PLAN_BYTES,
        "Most memory by the plan.",
        Kind::Gauge,
        plan,
    );
    expose_keys(&mut exposition, &state.keys);
    if let Some(counts) = &state.tls {
        expose_tls(&mut exposition, counts);
    }
    exposition.shards(&state.counters);
    ProcessStatus::read().expose(&mut exposition);
    allocator::expose(&mut exposition);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition.finish())
}

fn expose_keys(exposition: &mut Exposition, counts: &KeeperCounts) {
    let numbers = [
        (
            names::KEYS,
            "Keys that tokens are checked with.",
            Kind::Gauge,
            &counts.keys,
        ),
        (
            names::REVOCATIONS,
            "Entries of the revocation list.",
            Kind::Gauge,
            &counts.revocations,
        ),
        (
            names::KEY_SET_AGE,
            "Time since the oldest key set was fetched.",
            Kind::Gauge,
            &counts.key_set_age_s,
        ),
        (
            names::KEY_RELOADS,
            "Key and revocation files that were read again.",
            Kind::Counter,
            &counts.reloads,
        ),
        (
            names::KEY_RELOAD_FAILURES,
            "Key and revocation files that could not be read again.",
            Kind::Counter,
            &counts.reload_failures,
        ),
        (
            names::KEY_SET_FETCHES,
            "Key sets that were fetched.",
            Kind::Counter,
            &counts.fetches,
        ),
        (
            names::KEY_SET_EARLY_FETCHES,
            "Fetches because of a token with an unknown key.",
            Kind::Counter,
            &counts.early_fetches,
        ),
        (
            names::KEY_SET_FAILURES,
            "Fetches of key sets that failed.",
            Kind::Counter,
            &counts.fetch_failures,
        ),
    ];
    for (name, text, kind, value) in numbers {
        exposition.number(name, text, kind, value.load(Ordering::Relaxed) as f64);
    }
}

fn expose_tls(exposition: &mut Exposition, counts: &TlsCounts) {
    let reloads = counts.reloads.load(Ordering::Relaxed) as f64;
    let text = "Times that certificates and ticket secrets were read again.";
    exposition.number(names::TLS_RELOADS, text, Kind::Counter, reloads);
    let failures = counts.reload_failures.load(Ordering::Relaxed) as f64;
    let text = "Times that certificates and ticket secrets could not be read again.";
    exposition.number(names::TLS_RELOAD_FAILURES, text, Kind::Counter, failures);
}

async fn live(State(state): State<Arc<ControlState>>) -> (StatusCode, String) {
    // Before the shards run and after they were stopped nothing can be stuck.
    if state.node.phase() != Phase::Ready {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let still = state.observe(Instant::now());
    if still.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let list: Vec<String> = still.iter().map(usize::to_string).collect();
    let text = format!("shards that stand still: {}\n", list.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn ready(State(state): State<Arc<ControlState>>) -> (StatusCode, String) {
    let phase = state.node.phase();
    let status = match phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Recovering | Phase::Draining | Phase::Stopped => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (status, format!("{}\n", phase.word()))
}

/// Starts to empty the node; asked again, it says how far that is.
async fn drain(
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
) -> (StatusCode, &'static str) {
    // A page in a browser on this host reaches loopback addresses too, but names its origin.
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "browsers may not drain a node\n");
    }
    match (state.node.phase(), &state.events) {
        (Phase::Ready, Some(events)) => {
            // The main thread may be on its way out already.
            let _ = events.send(NodeEvent::DrainAsked);
            (StatusCode::ACCEPTED, "draining\n")
        }
        (Phase::Draining | Phase::Stopped, _) => (StatusCode::OK, "draining\n"),
        _ => (
            StatusCode::CONFLICT,
            "the node does not serve yet; try again when /readyz says ready\n",
        ),
    }
}
