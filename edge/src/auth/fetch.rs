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

/// The root certificates of the system (or of `SSL_CERT_FILE`), read for each fetch, so that a
/// renewed certificate store needs no restart.
fn roots_of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // A certificate that cannot be parsed is none.
    roots.add_parsable_certificates(found.certs);
    roots
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, FetchError> {
    if roots.is_empty() {
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
    let fetched = timeout(KEY_SET_TIMEOUT, fetch_trusting(address, roots_of_system));
    fetched.await.unwrap_or(Err(FetchError::Timeout))
}

async fn fetch_trusting(
    address: &Address,
    roots: impl FnOnce() -> RootCertStore,
) -> Result<Bytes, FetchError> {
    let stream = TcpStream::connect((address.host(), address.port()))
        .await
        .map_err(FetchError::Connect)?;
    if !address.is_tls() {
        return get(address, stream).await;
    }
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|error| FetchError::Tls(error.to_string()))?;
    let stream = connector(roots())?
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

#[cfg(test)]
mod tests {
    use rcgen::{generate_simple_self_signed, CertifiedKey, KeyPair};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const BODY: &str = "{\"keys\":[]}";

    fn certificate(name: &str) -> CertifiedKey<KeyPair> {
        generate_simple_self_signed([name.to_owned()]).expect("a certificate")
    }

    fn trusting(certified: &CertifiedKey<KeyPair>) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let added = roots.add(certified.cert.der().clone());
        added.expect("a root certificate");
        roots
    }

    /// Serves [`BODY`] over TLS with this certificate; returns the address to fetch from.
    async fn serve(certified: &CertifiedKey<KeyPair>) -> Address {
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der());
        let chain = vec![certified.cert.der().clone()];
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key.expect("a key"))
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust us ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = [0; 1_024];
                let read = stream.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /keys HTTP/1.1\r\n"));
                let len = BODY.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{BODY}");
                stream.write_all(answer.as_bytes()).await.expect("sent");
                let _ended_first = stream.shutdown().await;
            }
        });
        Address::parse(&format!("https://127.0.0.1:{port}/keys")).expect("an address")
    }

    #[tokio::test]
    async fn a_key_set_comes_over_tls_from_who_has_the_right_certificate() {
        let certified = certificate("127.0.0.1");
        let address = serve(&certified).await;
        let body = fetch_trusting(&address, || trusting(&certified)).await;
        assert_eq!(body.expect("fetched"), BODY);
        let stranger = certificate("127.0.0.1");
        let error = fetch_trusting(&address, || trusting(&stranger)).await;
        assert!(matches!(error, Err(FetchError::Connect(_))), "{error:?}");
        let error = fetch_trusting(&address, RootCertStore::empty).await;
        assert!(matches!(error, Err(FetchError::Tls(_))), "{error:?}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let certified = certificate("login.example");
        let address = serve(&certified).await;
        let error = fetch_trusting(&address, || trusting(&certified)).await;
        assert!(matches!(error, Err(FetchError::Connect(_))), "{error:?}");
    }
}
