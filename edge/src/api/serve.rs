//! Connections of the API: accepted, with or without TLS, and served within bounds.
//!
//! Invariants: a handshake or a slow request holds up nobody else; a connection gets the
//! certificates that are valid when it begins; once the API is closed, no connection is kept open
//! beyond the request that it is in, so that callers come to who has the address then.
//! Limits: `limits.rs`. Runs on: the control thread.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::Router;
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
use super::{routes, ApiState};
use crate::gateway::Gateway;
use crate::tls::Serving;

/// Rest after an accept that failed for want of descriptors.
const REST: Duration = Duration::from_millis(100);

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
}

/// An API that listens and is not served yet.
#[derive(Debug)]
pub struct Api {
    listener: TcpListener,
    callers: Callers,
    tls: Option<Arc<Serving>>,
    gateway: Gateway,
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
        Ok(Self {
            listener,
            callers: plan.callers,
            tls: plan.tls,
            gateway: plan.gateway,
        })
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
        let state = Arc::new(ApiState {
            callers: self.callers,
            gateway: self.gateway,
            room: Semaphore::new(ROOM_UNITS),
        });
        let router = routes::router(Arc::clone(&state));
        let router = router.layer(middleware::from_fn_with_state(state, within_bounds));
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (stream, place) = tokio::select! {
                accepted = accept(&listener, &connections) => accepted,
                () = until_closed(&mut closed) => break,
            };
            let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.reader()));
            let (router, closed) = (router.clone(), closed.clone());
            tokio::spawn(async move {
                serve_one(stream, tls, router, closed).await;
                drop(place);
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
    router: Router,
    closed: watch::Receiver<bool>,
) {
    // Answers are small and come at once.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve_http(stream, router, closed).await;
    };
    let accepting = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, accepting).await {
        serve_http(stream, router, closed).await;
    }
}

async fn serve_http<S>(stream: S, router: Router, mut closed: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
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

/// Keeps bodies within their room and requests within their time.
async fn within_bounds(
    State(state): State<Arc<ApiState>>,
    request: Request,
    next: Next,
) -> Response {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(BODY_BYTES_MAX);
    if length > BODY_BYTES_MAX {
        let detail = format!("{length} bytes of body, at most {BODY_BYTES_MAX}");
        return Refused::because(ErrorCode::FrameTooLarge, detail).into_response();
    }
    let units = length.div_ceil(ROOM_UNIT_BYTES).max(1) as u32;
    let Ok(_room) = state.room.try_acquire_many(units) else {
        return Refused::of(ErrorCode::Overloaded).into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::of(ErrorCode::Unavailable).into_response(),
    }
}
