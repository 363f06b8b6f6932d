//! Routes of the control endpoint.
//!
//! Runs on: the control thread.

use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use tokio::sync::{oneshot, watch};

use super::{expose, signals, status, ControlState, Keepers};
use crate::server::{NodeEvent, Phase};
use crate::telemetry::exposition::CONTENT_TYPE;

/// How often the shards are looked at, so that an answer needs no waiting.
const OBSERVATION: Duration = Duration::from_millis(250);

/// What ends the endpoint.
pub(super) struct Ends {
    /// All of it.
    pub stopped: oneshot::Receiver<()>,
    /// Its answers to requests; the rest goes on.
    pub closed: watch::Receiver<bool>,
}

/// Serves until it is stopped, or an error of the listener.
pub(super) async fn serve(
    listener: TcpListener,
    state: ControlState,
    keepers: Keepers,
    events: &Sender<NodeEvent>,
    Ends {
        stopped,
        mut closed,
    }: Ends,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let state = Arc::new(state);
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/v1/drain", post(drain))
        .route_layer(from_fn_with_state(Arc::clone(&state), guard))
        .with_state(Arc::clone(&state));
    let requests = axum::serve(listener, router).with_graceful_shutdown(async move {
        // A sender that is dropped means that the whole endpoint ends.
        let _ = closed.wait_for(|is_closed| *is_closed).await;
    });
    let requests = async {
        requests.into_future().await?;
        std::future::pending().await
    };
    tokio::select! {
        result = requests => result,
        result = signals::forward(events) => result,
        () = observe(&state) => Ok(()),
        () = status::publish(&state) => Ok(()),
        result = keepers.run() => result,
        _ = stopped => Ok(()),
    }
}

/// Serves a request of who may ask.
async fn guard(State(state): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    let admitted = state.guard.as_ref();
    if admitted.is_none_or(|guard| guard.admits(request.headers())) {
        return next.run(request).await;
    }
    let challenge = [(
        header::WWW_AUTHENTICATE,
        "Bearer realm=\"interlink control\"",
    )];
    let text = "name the token of listen.control_token_file: Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
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
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], expose::all(&state))
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
