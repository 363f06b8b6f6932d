//! Certificates, keys, and the configuration of rustls that is made of them.
//!
//! Purpose: PEM files become certificates that are chosen by the name that a client asks
//! for; the first one serves clients that ask for none or for an unknown name.
//!
//! Invariant: a key belongs to its certificate, checked here and not at a handshake.
//! Limits: [`CERTIFICATES_MAX`], [`PEM_BYTES_MAX`].
//!
//! Runs on: the main thread and the control thread; names are looked up on shards.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{aws_lc_rs, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::ServerConfig;

use super::error::TlsError;
use super::limits::{CERTIFICATES_MAX, PEM_BYTES_MAX, TICKETS_PER_HANDSHAKE};
use super::tickets::TicketKeys;

/// The only protocol inside of TLS: a WebSocket begins as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The certificates of a node, chosen by name.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Never empty.
    certified: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads each certificate chain with its key.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read, is no PEM, or a key is another one's.
    pub fn read(pairs: &[(PathBuf, PathBuf)]) -> Result<Self, TlsError> {
        if pairs.is_empty() || pairs.len() > CERTIFICATES_MAX {
            let problem = format!("is one of {} certificates", pairs.len());
            let path = pairs.first().map(|pair| pair.0.clone());
            return Err(TlsError::material(
                path.unwrap_or_default(),
                format!("{problem}; configure 1 to {CERTIFICATES_MAX}"),
            ));
        }
        let provider = aws_lc_rs::default_provider();
        let certified = pairs
            .iter()
            .map(|(chain, key)| read_pair(chain, key, &provider).map(Arc::new));
        Ok(Self {
            certified: certified.collect::<Result<_, _>>()?,
        })
    }

    /// The certificate for a name: one that is valid for it, else the first.
    pub fn for_name(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let first = &self.certified[0];
        if self.certified.len() == 1 {
            return Arc::clone(first);
        }
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let found = name.and_then(|name| {
            let mut all = self.certified.iter();
            all.find(|certified| is_valid_for(certified, &name))
        });
        Arc::clone(found.unwrap_or(first))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.for_name(hello.server_name()))
    }
}

fn is_valid_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = certified.cert.first().map(ParsedCertificate::try_from);
    matches!(leaf, Some(Ok(leaf)) if verify_server_name(&leaf, name).is_ok())
}

fn read_pair(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let text = read_file(chain)?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::material(chain, format!("is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsError::material(
            chain,
            "holds no certificate; put the chain there, the node's own certificate first",
        ));
    }
    let private = PrivateKeyDer::from_pem_slice(&read_file(key)?).map_err(|error| {
        let cure = "put a PKCS#8, PKCS#1 or SEC1 private key there, not encrypted";
        TlsError::material(key, format!("holds no private key: {error}; {cure}"))
    })?;
    CertifiedKey::from_der(certificates, private, provider).map_err(|error| {
        let of = chain.display();
        TlsError::material(key, format!("does not fit the certificate {of}: {error}"))
    })
}

/// The content of a file of bounded size.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        let problem = format!("is longer than {PEM_BYTES_MAX} bytes; it is not what it should be");
        return Err(TlsError::material(path, problem));
    }
    Ok(bytes)
}

/// The configuration of new sessions.
///
/// # Errors
/// When rustls refuses it.
pub fn server_config(
    certificates: Certificates,
    tickets: TicketKeys,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Configuration)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Resumption is by tickets alone, so that a node keeps nothing of sessions that are over.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(tickets);
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    // Early data could be replayed, and a Hello in it would be a token used twice.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
