//! Certificates that a test makes for its node, and clients that trust them.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

/// Certificates in PEM files, and who trusts them.
#[derive(Debug)]
pub struct TestCertificates {
    directory: TempDir,
    roots: RootCertStore,
}

impl TestCertificates {
    /// A self-signed certificate for each name, in files `0.pem` and `0.key` and so on.
    pub fn of(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let roots = RootCertStore::empty();
        let mut made = Self { directory, roots };
        for (index, name) in names.iter().enumerate() {
            made.replace(index, name);
        }
        made
    }

    /// Writes another certificate in the place of one and trusts it too.
    pub fn replace(&mut self, index: usize, name: &str) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a name");
        let root = CertificateDer::from(made.cert.der().to_vec());
        self.roots.add(root).expect("a certificate");
        // The key first: a chain without its key is not taken, and looked at again.
        for (end, text) in [
            ("key", made.signing_key.serialize_pem()),
            ("pem", made.cert.pem()),
        ] {
            std::fs::write(self.path(index, end), text).expect("a file can be written");
        }
    }

    /// The file with a chain (`pem`) or a key (`key`).
    pub fn path(&self, index: usize, end: &str) -> std::path::PathBuf {
        self.directory.path().join(format!("{index}.{end}"))
    }

    /// The lines of a configuration file that serve the first `count` certificates.
    pub fn config(&self, count: usize) -> String {
        let list = |end| {
            let paths = (0..count).map(|index| format!("{:?}", self.path(index, end)));
            paths.collect::<Vec<_>>().join(", ")
        };
        let (chains, keys) = (list("pem"), list("key"));
        format!("[listen]\ntls = \"on\"\n[tls]\ncertificate = [{chains}]\nkey = [{keys}]\n")
    }

    /// A client that trusts all of them.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Arc::new(config)
    }
}
