//! Certificates that the bench makes for the edge of a run, and never keeps.
//!
//! Invariants: the files of the pair that is served are replaced as a whole, the key before the
//! chain, as tools that renew certificates do.
//! Runs on: the bench's main thread.

use super::edge_config::TlsFiles;
use crate::engine::tls::SERVER_NAME;
use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};

/// A self-signed certificate with its key (ECDSA P-256).
struct Made {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

/// Certificates of which one is served.
pub struct Certificates {
    folder: PathBuf,
    made: Vec<Made>,
}

impl Certificates {
    /// Makes `count` certificates and puts the first into its files in `folder`.
    pub fn make(folder: &Path, count: usize) -> Result<Self> {
        let made = (0..count).map(|_| {
            let certified = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
            Ok(Made {
                chain: certified.cert.pem(),
                key: certified.signing_key.serialize_pem(),
                der: certified.cert.der().clone(),
            })
        });
        let made: Result<Vec<Made>, rcgen::Error> = made.collect();
        let certificates = Self {
            folder: folder.to_owned(),
            made: made.context("making a certificate")?,
        };
        certificates.serve(0)?;
        Ok(certificates)
    }

    /// Where the certificate that is served stands.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.folder.join("edge.pem"),
            key: self.folder.join("edge.key"),
        }
    }

    /// Puts a certificate in the place of the one that is served.
    pub fn serve(&self, number: usize) -> Result<()> {
        let made = &self.made[number];
        let files = self.files();
        replace(&files.key, &made.key)?;
        replace(&files.certificate, &made.chain)
    }

    /// All of them, as clients compare them.
    pub fn all(&self) -> Vec<CertificateDer<'static>> {
        self.made.iter().map(|made| made.der.clone()).collect()
    }
}

/// Replaces a file as a whole.
pub fn replace(path: &Path, content: &str) -> Result<()> {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, content)
        .and_then(|()| std::fs::rename(&fresh, path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_served_pair_is_replaced_and_no_other_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::make(folder.path(), 2).unwrap();
        let files = certificates.files();
        let first = std::fs::read_to_string(&files.certificate).unwrap();
        certificates.serve(1).unwrap();
        let second = std::fs::read_to_string(&files.certificate).unwrap();
        assert!(first != second && second.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_ne!(certificates.all()[0], certificates.all()[1]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
