//! Fetches a key set: one GET on a connection of its own.
//!
//! Invariants: exactly the configured address is asked; redirects are failures and no proxy
//! of the environment is used; time and size are bounded before anything is parsed.
//! Limits: `limits::KEY_SET_TIMEOUT`, `limits::KEY_SET_BYTES_MAX`.
//! Runs on: the control thread.

use std::sync::Arc;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{header, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::limits::{KEY_SET_BYTES_MAX, KEY_SET_TIMEOUT};

/// Bytes of an answer's head; hyper takes no less.
const HEAD_BYTES_MAX: usize = 8_192;

/// Why a key set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No complete answer in time.
    #[error("no whole answer came within 5 s; check that this host reaches the address")]
    Timeout,
    /// The connection failed.
    #[error("{0}; check name, port and firewall")]
    Connect(std::io::Error),
    /// TLS cannot be used.
    #[error("TLS cannot start: {0}; install the system's root certificates")]
    Tls(String),
    /// The answer is no HTTP, or ended early, or is too long.
    #[error("the answer is broken or longer than 64 KiB: {0}; check what listens there")]
    Answer(String),
    /// The answer is no key set.
    #[error(
        "it answered with status {0}; configure the final address, redirects are not followed"
    )]
    Status(StatusCode),
}

/// TLS with the root certificates of the system (or of `SSL_CERT_FILE`), read for each fetch,
/// so that a renewed certificate store needs no restart.
fn tls_of_system() -> Result<TlsConnector, FetchError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(FetchError::Tls("no root certificate was found".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The body of a successful answer.
pub(super) async fn fetch(address: &Address) -> Result<Bytes, FetchError> {
    timeout(KEY_SET_TIMEOUT, fetch_unbounded(address))
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

async fn fetch_unbounded(address: &Address) -> Result<Bytes, FetchError> {
    let stream = TcpStream::connect((address.host(), address.port()))
        .await
        .map_err(FetchError::Connect)?;
    if !address.is_tls() {
        return get(address, stream).await;
    }
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|error| FetchError::Tls(error.to_string()))?;
    let stream = tls_of_system()?
        .connect(name, stream)
        .await
        .map_err(FetchError::Connect)?;
    get(address, stream).await
}

async fn get<S>(address: &Address, stream: S) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| FetchError::Answer(error.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(address.target())
        .header(header::HOST, address.authority())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, "interlink-edge")
        .body(Empty::<Bytes>::new())
        .map_err(|error| FetchError::Answer(error.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX);
        let collected = body.collect().await;
        let collected = collected.map_err(|error| FetchError::Answer(error.to_string()))?;
        Ok(collected.to_bytes())
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        // The exchange ends first: an answer that has come counts even if the peer hangs up.
        biased;
        result = &mut exchange => result,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(broken(error)),
        },
    }
}
