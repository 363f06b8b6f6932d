//! Whom the client believes that it is the server.
//!
//! Purpose: the configuration of TLS, made once for a client, so that its later connections
//! resume the session of the earlier ones.
//! Runs on: the task that makes the client, and the client's task.

use crate::error::Error;

#[cfg(feature = "tls")]
pub(crate) use with_tls::Trust;
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::Trust;

/// The client speaks TLS.
#[cfg(feature = "tls")]
mod with_tls {
    use std::fmt;
    use std::sync::{Arc, OnceLock};

    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::Error;

    /// What a client says that it will speak within TLS (RFC 7301).
    const ALPN: &[u8] = b"http/1.1";

    /// The authorities of the system or of the application.
    #[derive(Clone, Default)]
    pub(crate) struct Trust {
        authorities: Option<Arc<[u8]>>,
        connector: Arc<OnceLock<TlsConnector>>,
    }

    impl fmt::Debug for Trust {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self.authorities {
                Some(_) => "Trust::Authorities",
                None => "Trust::System",
            })
        }
    }

    impl Trust {
        /// Trusts the certificates of a PEM text only.
        pub(crate) fn authorities(pem: Vec<u8>) -> Self {
            Self {
                authorities: Some(pem.into()),
                ..Self::default()
            }
        }

        /// Finds out now what would keep a client with TLS from ever connecting.
        pub(crate) fn check(&self, is_tls: bool) -> Result<(), Error> {
            if is_tls || self.authorities.is_some() {
                self.connector()?;
            }
            Ok(())
        }

        /// What makes TLS sessions; it keeps the tickets of the server.
        pub(crate) fn connector(&self) -> Result<&TlsConnector, Error> {
            if let Some(connector) = self.connector.get() {
                return Ok(connector);
            }
            let roots = match &self.authorities {
                Some(pem) => roots_of(pem)?,
                None => roots_of_system()?,
            };
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::Tls(error.to_string().into()))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![ALPN.to_vec()];
            let connector = TlsConnector::from(Arc::new(config));
            Ok(self.connector.get_or_init(|| connector))
        }
    }

    fn roots_of(pem: &[u8]) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                Error::Tls(format!("the authorities are no PEM: {error}").into())
            })?;
            roots.add(certificate).map_err(|error| {
                Error::Tls(format!("an authority cannot be used: {error}").into())
            })?;
        }
        match roots.is_empty() {
            true => Err(Error::Tls(
                "the authorities hold no certificate; give them as PEM".into(),
            )),
            false => Ok(roots),
        }
    }

    /// The authorities of the system, or of the file that `SSL_CERT_FILE` names.
    fn roots_of_system() -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // A certificate that cannot be parsed is none.
        roots.add_parsable_certificates(found.certs);
        match roots.is_empty() {
            true => Err(Error::Tls(
                "the system has no certificate authorities; install ca-certificates, or name \
                 yours with `ClientBuilder::authorities`"
                    .into(),
            )),
            false => Ok(roots),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn refusal(pem: &str) -> String {
            let trust = Trust::authorities(pem.into());
            trust.check(false).expect_err("no authority").to_string()
        }

        #[test]
        fn authorities_that_are_none_are_refused_before_the_first_attempt() {
            assert!(refusal("").contains("hold no certificate"));
            assert!(refusal("-----BEGIN CERTIFICATE-----\n").contains("are no PEM"));
            let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
            assert!(refusal(nonsense).contains("cannot be used"));
        }
    }
}

/// The client was built without TLS.
#[cfg(not(feature = "tls"))]
mod without_tls {
    use super::Error;

    /// Nobody.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Trust;

    impl Trust {
        /// Refuses what this build cannot do.
        pub(crate) fn check(&self, is_tls: bool) -> Result<(), Error> {
            match is_tls {
                true => Err(Error::Tls(
                    "this client was built without it; enable the feature `tls` of \
                     interlink-client"
                        .into(),
                )),
                false => Ok(()),
            }
        }
    }
}
