//! The server API of edges, as a caller: one request at a time on each connection.
//!
//! Edges are asked in turn; one that does not answer is passed over by the next call. Connections
//! are kept and used again.
//!
//! Invariants: a call ends within its time; the token is read from its file again after a few
//! seconds, so that it can be renewed by replacing the file; nothing but the configured addresses
//! is asked, and no redirect is followed.
//! Limits: `limits.rs`. Runs on: any tokio thread.

mod answer;
mod limits;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{header, Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use answer::{judge, Verdict};
pub use limits::CALL_TIME_MAX;

/// Why the API cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// An address that cannot be asked.
    #[error("`{0}` in edge.api is no address; write http or https, ://, host, : and port")]
    Address(String),
    /// A plaintext address that is not on this host.
    #[error("`{0}` in edge.api would send the token readable; use https")]
    Readable(String),
    /// No address.
    #[error("no server API is named; list at least one address in edge.api")]
    NoAddress,
    /// A file cannot be read.
    #[error("{} cannot be read: {cause}; make it readable for this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// TLS cannot start.
    #[error("TLS cannot start: {0}")]
    Tls(String),
}

/// How edges are reached.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Addresses of server APIs, `http` or `https`, each with its port.
    pub addresses: Vec<String>,
    /// The file with a token of the role `service`.
    pub token_file: PathBuf,
    /// PEM file of the authorities that vouch for edges; those of the host when absent.
    pub authorities: Option<PathBuf>,
}

#[derive(Debug)]
struct Edge {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Edge {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::Address(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        let loopback = host.parse::<std::net::IpAddr>();
        let loopback = loopback.map_or(host == "localhost", |address| address.is_loopback());
        if !is_tls && !loopback {
            return Err(ApiError::Readable(text.to_owned()));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }
}

type Connection = http1::SendRequest<Full<Bytes>>;

/// Why a call has no answer. It may or may not have had an effect.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time.
    #[error("no whole answer in time")]
    Timeout,
    /// The connection failed under the call.
    #[error("{0}")]
    Connection(String),
    /// There is no connection, so that nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// The token cannot be read.
    #[error("{0}")]
    Token(#[from] ApiError),
}

impl CallError {
    /// Whether the request may have reached a node.
    pub fn may_have_effect(&self) -> bool {
        matches!(self, Self::Timeout | Self::Connection(_))
    }
}

/// The server API of some edges.
pub struct EdgeApi {
    edges: Vec<Edge>,
    turn: AtomicUsize,
    token_file: PathBuf,
    token: Mutex<Option<(Instant, Arc<str>)>>,
    connector: Option<TlsConnector>,
    idle: Mutex<Vec<(usize, Connection)>>,
}

impl std::fmt::Debug for EdgeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeApi")
            .field("edges", &self.edges)
            .finish_non_exhaustive()
    }
}

impl EdgeApi {
    /// The API as configured; nothing is asked yet.
    ///
    /// # Errors
    /// What cannot be used, with its cure.
    pub fn new(config: &ApiConfig) -> Result<Self, ApiError> {
        let edges = config.addresses.iter().map(|text| Edge::parse(text));
        let edges = edges.collect::<Result<Vec<_>, _>>()?;
        if edges.is_empty() {
            return Err(ApiError::NoAddress);
        }
        let connector = match edges.iter().any(|edge| edge.is_tls) {
            true => Some(connector(config)?),
            false => None,
        };
        let api = Self {
            edges,
            turn: AtomicUsize::new(0),
            token_file: config.token_file.clone(),
            token: Mutex::new(None),
            connector,
            idle: Mutex::new(Vec::new()),
        };
        api.token()?;
        Ok(api)
    }

    /// `POST /v1/publish` with this body; the status and the body of the answer.
    ///
    /// # Errors
    /// When there is no answer. The same body may be sent again if it names an idempotency key.
    pub async fn publish(&self, body: Bytes) -> Result<(u16, Bytes), CallError> {
        let call = tokio::time::timeout(limits::CALL_TIME_MAX, self.call(body));
        call.await.unwrap_or(Err(CallError::Timeout))
    }

    async fn call(&self, body: Bytes) -> Result<(u16, Bytes), CallError> {
        let token = self.token()?;
        let idle = lock(&self.idle).pop();
        let (edge, mut connection) = match idle {
            Some((edge, connection)) if connection.is_ready() => (edge, connection),
            _ => {
                let edge = self.turn.fetch_add(1, Ordering::Relaxed) % self.edges.len();
                (edge, self.connect(edge).await?)
            }
        };
        let Edge { host, port, .. } = &self.edges[edge];
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/publish")
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "interlink-workers")
            .body(Full::new(body))
            .map_err(|error| CallError::Connection(error.to_string()))?;
        let failed = |error: hyper::Error| CallError::Connection(error.to_string());
        let answer = connection.send_request(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), limits::ANSWER_BYTES_MAX);
        let body = body.collect().await;
        let body = body.map_err(|error| CallError::Connection(error.to_string()))?;
        let mut idle = lock(&self.idle);
        if idle.len() < limits::IDLE_CONNECTIONS_MAX {
            idle.push((edge, connection));
        }
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self, edge: usize) -> Result<Connection, CallError> {
        let edge = &self.edges[edge];
        let failed = |error: std::io::Error| {
            let Edge { host, port, .. } = edge;
            CallError::Unreachable(format!("{host}:{port}: {error}"))
        };
        let stream = TcpStream::connect((&*edge.host, edge.port)).await;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match (&self.connector, edge.is_tls) {
            (Some(connector), true) => {
                let name = ServerName::try_from(edge.host.clone())
                    .map_err(|error| CallError::Unreachable(error.to_string()))?;
                let stream = connector.connect(name, stream).await.map_err(failed)?;
                open(stream).await
            }
            _ => open(stream).await,
        }
    }

    /// The token, read again after a while.
    fn token(&self) -> Result<Arc<str>, ApiError> {
        let mut known = lock(&self.token);
        if let Some((read_at, token)) = &*known {
            if read_at.elapsed() < limits::TOKEN_READ_AGAIN {
                return Ok(token.clone());
            }
        }
        let text = std::fs::read_to_string(&self.token_file).map_err(|error| ApiError::File {
            path: self.token_file.clone(),
            cause: error.to_string(),
        })?;
        let token: Arc<str> = text.trim().into();
        *known = Some((Instant::now(), token.clone()));
        Ok(token)
    }
}

async fn open<S>(stream: S) -> Result<Connection, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = http1::Builder::new().handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| CallError::Unreachable(error.to_string()))?;
    // It ends with its sender; why it ended is told to the call that it served.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn connector(config: &ApiConfig) -> Result<TlsConnector, ApiError> {
    let mut roots = RootCertStore::empty();
    match &config.authorities {
        None => {
            let found = rustls_native_certs::load_native_certs();
            // A certificate that cannot be parsed is none.
            roots.add_parsable_certificates(found.certs);
        }
        Some(path) => {
            let wrong = |error: rustls::pki_types::pem::Error| ApiError::File {
                path: path.clone(),
                cause: error.to_string(),
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
                let added = roots.add(certificate.map_err(wrong)?);
                added.map_err(|error| ApiError::Tls(error.to_string()))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ApiError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> ApiConfig {
        ApiConfig {
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            token_file: "/nowhere/token".into(),
            authorities: None,
        }
    }

    #[test]
    fn addresses_are_checked_before_anything_is_asked() {
        for (address, cure) in [
            ("127.0.0.1:8082", "write http"),
            ("ftp://127.0.0.1:8082", "write http"),
            ("http://127.0.0.1", "write http"),
            ("http://:80", "write http"),
            ("http://edge.example.com:8082", "use https"),
        ] {
            let error = EdgeApi::new(&config(&[address])).expect_err("wrong");
            assert!(error.to_string().contains(cure), "{address}: {error}");
        }
        assert!(matches!(
            EdgeApi::new(&config(&[])),
            Err(ApiError::NoAddress)
        ));
    }

    #[test]
    fn a_missing_token_is_told_at_the_start() {
        let error = EdgeApi::new(&config(&["http://[::1]:8082"])).expect_err("no token");
        assert!(error.to_string().contains("/nowhere/token"), "{error}");
    }
}
