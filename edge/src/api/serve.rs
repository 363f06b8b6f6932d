//! Connections of the API: accepted, with or without TLS, and served within bounds.
//!
//! Invariants: a handshake or a slow request holds up nobody else; a connection gets the
//! certificates that are valid when it begins; once the API is closed, no connection is kept open
//! beyond the request that it is in, so that callers come to who has the address then; the room of
//! a request is held until its answer has been written.
//! Limits: `limits.rs`. Runs on: the control thread.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::Router;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use interlink_protocol::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::caller::Callers;
use super::failure::Refused;
use super::limits::{
    BODY_BYTES_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, REQUEST_TIMEOUT, ROOM_UNITS,
    ROOM_UNIT_BYTES,
};
use super::timely::Timely;
use super::{routes, ApiCounts, ApiState};
use crate::auth::Revoker;
use crate::gateway::Gateway;
use crate::tls::Serving;

/// Rest after an accept that failed for want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// What bounds connections and requests; tests take smaller ones than `limits` has.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// Time for a TLS handshake and for the head of each request.
    pub head_timeout: Duration,
    /// Time for a request with its body, and longest time in which a caller takes nothing of an
    /// answer.
    pub request_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            head_timeout: HEAD_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

/// What the API is started with.
#[derive(Debug)]
pub struct ApiPlan {
    /// Where it listens.
    pub address: SocketAddr,
    /// A socket that listens there already.
    pub socket: Option<TcpListener>,
    /// What tokens are checked with.
    pub callers: Callers,
    /// What TLS is served with, if the node serves TLS.
    pub tls: Option<Arc<Serving>>,
    /// The way into the shards.
    pub gateway: Gateway,
    /// Revokes tokens.
    pub revoker: Revoker,
    /// What bounds it.
    pub bounds: Bounds,
}

/// An API that listens and is not served yet.
#[derive(Debug)]
pub struct Api {
    listener: TcpListener,
    tls: Option<Arc<Serving>>,
    state: Arc<ApiState>,
}

impl Api {
    /// Binds the address, unless there is a socket.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(plan: ApiPlan) -> std::io::Result<Self> {
        let listener = match plan.socket {
            Some(socket) => socket,
            None => TcpListener::bind(plan.address)?,
        };
        listener.set_nonblocking(true)?;
        let state = Arc::new(ApiState {
            callers: plan.callers,
            gateway: plan.gateway,
            revoker: plan.revoker,
            counts: Arc::default(),
            bounds: plan.bounds,
            room: Arc::new(Semaphore::new(ROOM_UNITS)),
        });
        Ok(Self {
            listener,
            tls: plan.tls,
            state,
        })
    }

    /// What it counts.
    pub fn counts(&self) -> Arc<ApiCounts> {
        Arc::clone(&self.state.counts)
    }

    /// The listening socket.
    pub fn socket(&self) -> &TcpListener {
        &self.listener
    }

    /// The address with its real port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is closed, and then rests for ever while the last requests are answered.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn serve(self, mut closed: watch::Receiver<bool>) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let state = self.state;
        let router = routes::router(Arc::clone(&state));
        let router = router.layer(middleware::from_fn_with_state(Arc::clone(&state), observed));
        let connections = Arc::new(Semaphore::new(state.bounds.connections));
        loop {
            let (stream, place) = tokio::select! {
                accepted = accept(&listener, &connections) => accepted,
                () = until_closed(&mut closed) => break,
            };
            let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.reader()));
            let (router, closed) = (router.clone(), closed.clone());
            let counted = state.counts.connection();
            let bounds = state.bounds;
            tokio::spawn(async move {
                serve_one(stream, tls, (router, bounds), closed).await;
                drop((place, counted));
            });
        }
        drop(listener);
        std::future::pending().await
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &tokio::net::TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                debug!(%error, "an accept of the server API failed");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Waits until the API is closed; the end of the thread that could close it counts as well.
async fn until_closed(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|is_closed| *is_closed).await;
}

async fn serve_one(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    (router, bounds): (Router, Bounds),
    closed: watch::Receiver<bool>,
) {
    let (head_timeout, write_timeout) = (bounds.head_timeout, bounds.request_timeout);
    // Answers are small and come at once.
    let _ = stream.set_nodelay(true);
    let stream = Timely::new(stream, write_timeout);
    let Some(tls) = tls else {
        return serve_http(stream, (router, head_timeout), closed).await;
    };
    let accepting = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(head_timeout, accepting).await {
        serve_http(stream, (router, head_timeout), closed).await;
    }
}

async fn serve_http<S>(
    stream: S,
    (router, head_timeout): (Router, Duration),
    mut closed: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = until_closed(&mut closed) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection of the server API ended");
    }
}

/// Counts a request and its answer.
async fn observed(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let operation = routes::operation_of(request.uri().path());
    let begin = Instant::now();
    let response = within_bounds(&state, operation, request, next).await;
    let counts = &state.counts;
    counts.note_request(operation, response.status(), begin.elapsed());
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        counts.note_refusal(*code);
    }
    response
}

/// Keeps bodies and answers within their room and requests within their time.
async fn within_bounds(
    state: &ApiState,
    operation: usize,
    request: Request,
    next: Next,
) -> Response {
    let length = match request.headers().get(header::CONTENT_LENGTH) {
        Some(value) => value.to_str().ok().and_then(|value| value.parse().ok()),
        // Without a length the body comes in chunks, or there is none.
        None if request.headers().contains_key(header::TRANSFER_ENCODING) => None,
        None => Some(0),
    };
    let length = length.unwrap_or(BODY_BYTES_MAX);
    if length > BODY_BYTES_MAX {
        let detail = format!("{length} bytes of body, at most {BODY_BYTES_MAX}");
        return Refused::because(ErrorCode::FrameTooLarge, detail).into_response();
    }
    let units = length.div_ceil(ROOM_UNIT_BYTES);
    let units = units.max(routes::answer_units(operation)) as u32;
    let Ok(room) = Arc::clone(&state.room).try_acquire_many_owned(units) else {
        return Refused::of(ErrorCode::Overloaded).into_response();
    };
    let answered = tokio::time::timeout(state.bounds.request_timeout, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| Refused::of(ErrorCode::Unavailable).into_response());
    // The body, and with it the room, is dropped once it was written.
    response.map(|body| {
        Body::new(body.map_err(move |error| {
            let _ = &room;
            error
        }))
    })
}
