//! What the generator's clients offer, whom they accept, and the tickets that they keep.
//!
//! Limits: one ticket for each client of a fleet is kept, the newest ones.
//! Runs on: made on the bench's main thread, used on the generator's thread, which is the same.

use super::key_share::SHARED_X25519;
use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::{verify_tls13_signature, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The name that clients ask for, and that certificates of the bench are made for.
pub const SERVER_NAME: &str = "edge.test";

/// What is spoken, as words for the result.
pub const DESCRIPTION: &str = "TLS 1.3, AES-128-GCM, X25519, ECDSA P-256 certificate";

/// The protocol inside of TLS.
const ALPN: &[u8] = b"http/1.1";

/// What clients offer. They accept `trusted` alone, and continue sessions by `tickets`.
pub fn client_config(
    trusted: &[CertificateDer<'static>],
    tickets: &Arc<Tickets>,
) -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![&SHARED_X25519],
        ..default_provider()
    };
    let verifier = Pinned {
        algorithms: provider.signature_verification_algorithms,
        trusted: trusted.iter().map(Trusted::new).collect(),
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .context("choosing the TLS version")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::store(Arc::clone(tickets) as Arc<dyn ClientSessionStore>);
    Ok(Arc::new(config))
}

/// A certificate that is accepted.
#[derive(Debug)]
struct Trusted {
    certificate: CertificateDer<'static>,
    /// A signature of its key was checked.
    is_checked: AtomicBool,
}

impl Trusted {
    fn new(certificate: &CertificateDer<'static>) -> Self {
        Self {
            certificate: certificate.clone(),
            is_checked: AtomicBool::new(false),
        }
    }
}

/// Accepts the certificates that the bench made.
#[derive(Debug)]
struct Pinned {
    algorithms: WebPkiSupportedAlgorithms,
    trusted: Vec<Trusted>,
}

impl Pinned {
    fn find(&self, certificate: &CertificateDer<'_>) -> Result<&Trusted, Error> {
        let mut all = self.trusted.iter();
        all.find(|trusted| trusted.certificate.as_ref() == certificate.as_ref())
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.find(end_entity)
            .map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let trusted = self.find(certificate)?;
        if !trusted.is_checked.load(Ordering::Relaxed) {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)?;
            trusted.is_checked.store(true, Ordering::Relaxed);
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Tickets of all clients: whoever got one, any of them may use it, once.
pub struct Tickets {
    kept: Mutex<VecDeque<Tls13ClientSessionValue>>,
    most: usize,
    are_used: AtomicBool,
}

impl Tickets {
    /// Keeps the newest `most` tickets, and uses none until told to.
    pub fn keeping(most: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            most,
            are_used: AtomicBool::new(false),
        })
    }

    /// Whether new sessions continue earlier ones.
    pub fn set_used(&self, are_used: bool) {
        self.are_used.store(are_used, Ordering::Relaxed);
    }

    /// Tickets that are kept.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        // Nothing under the lock can leave it half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.count())
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut kept = self.lock();
        if kept.len() >= self.most {
            kept.pop_front();
        }
        if self.most > 0 {
            kept.push_back(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.are_used.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().pop_front()
    }
}
