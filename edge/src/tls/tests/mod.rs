//! Sessions against rustls' own client, tickets, certificates by name, and the keeper.

mod attacks;
mod keeping;
mod sessions;
mod tickets;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tempfile::TempDir;

use super::*;

/// Time between two ticket keys in tests.
const ROTATION: Duration = Duration::from_secs(3_600);
/// A moment in the middle of a period.
const NOON_S: u64 = 1_000 * 3_600 + 1_800;
/// The name of the first certificate.
const NAME: &str = "edge.example";

/// Certificates in files of a directory of their own.
struct Files {
    directory: TempDir,
    pairs: Vec<(PathBuf, PathBuf)>,
    roots: RootCertStore,
}

impl Files {
    /// A self-signed certificate for each name.
    fn of(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let mut files = Self {
            directory,
            pairs: Vec::new(),
            roots: RootCertStore::empty(),
        };
        for (index, name) in names.iter().enumerate() {
            let path = |end: &str| files.directory.path().join(format!("{index}.{end}"));
            let pair = (path("pem"), path("key"));
            files.write(&pair, name);
            files.pairs.push(pair);
        }
        files
    }

    /// Writes a new certificate for `name` and trusts it.
    fn write(&mut self, pair: &(PathBuf, PathBuf), name: &str) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a name");
        std::fs::write(&pair.0, made.cert.pem()).expect("a file can be written");
        std::fs::write(&pair.1, made.signing_key.serialize_pem()).expect("a file can be written");
        let root = CertificateDer::from(made.cert.der().to_vec());
        self.roots.add(root).expect("a certificate");
    }

    fn certificates(&self) -> Certificates {
        Certificates::read(&self.pairs).expect("the files are right")
    }

    /// A server's configuration at a moment, with tickets of `secret`.
    fn server(&self, secret: &TicketSecret, now_s: u64) -> Arc<ServerConfig> {
        let tickets = TicketKeys::at(secret, now_s, ROTATION);
        server_config(self.certificates(), tickets).expect("a configuration")
    }

    fn any_server(&self) -> Arc<ServerConfig> {
        let secret = TicketSecret::random().expect("randomness");
        self.server(&secret, NOON_S)
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// A client and a server session with nothing between them but the test.
struct Pair {
    client: ClientConnection,
    server: TlsSession,
    /// Bytes that the server was given and has not used.
    held: Vec<u8>,
    /// What the server has decrypted.
    plain: Vec<u8>,
    /// How many bytes arrive at once.
    step: usize,
}

impl Pair {
    fn new(client: Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &'static str) -> Self {
        let name = name.try_into().expect("a name");
        Self {
            client: ClientConnection::new(client, name).expect("a client"),
            server: TlsSession::new(server).expect("a server"),
            held: Vec::new(),
            plain: Vec::new(),
            step: usize::MAX,
        }
    }

    /// Moves bytes both ways until nothing moves.
    fn talk(&mut self) -> Result<Opened, TlsError> {
        let mut standing = Opened::Open;
        loop {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).expect("a vector takes");
            }
            let answered = self.server.waiting().to_vec();
            self.server.advance(answered.len());
            if bytes.is_empty() && answered.is_empty() {
                return Ok(standing);
            }
            self.feed_client(&answered);
            for part in bytes.chunks(self.step) {
                standing = self.feed_server(part)?;
            }
        }
    }

    fn feed_server(&mut self, bytes: &[u8]) -> Result<Opened, TlsError> {
        self.held.extend_from_slice(bytes);
        let (used, opened) = self.server.open(&mut self.held, &mut self.plain);
        self.held.drain(..used);
        opened
    }

    fn feed_client(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("a slice gives");
            // A refused session is looked at by the test.
            let _ = self.client.process_new_packets();
        }
    }

    fn say(&mut self, text: &[u8]) {
        self.client.writer().write_all(text).expect("room");
    }

    /// What the client gets when the server seals `text`.
    fn answer(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let sealed = self.server.seal(&mut self.held, text, &mut out);
        sealed.expect("the session takes data");
        self.feed_client(&out);
        let mut read = vec![0; text.len() + 1];
        let count = self.client.reader().read(&mut read).expect("data came");
        read.truncate(count);
        read
    }
}

/// Replaces a file as deployments do.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).expect("a file can be written");
    std::fs::rename(&fresh, path).expect("a file can be renamed");
}
