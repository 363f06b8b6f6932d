//! Client sessions against rustls' own server, in memory.

use super::client::{Opened, TlsClient};
use super::config::{client_config, Tickets, SERVER_NAME};
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::{default_provider, Ticketer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::sync::Arc;

/// A certificate with its key, and the server that has it.
pub struct Served {
    pub server: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl Served {
    pub fn make() -> Self {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()]).unwrap();
        let key = made.signing_key.serialize_der();
        Self::of(made.cert.der().clone(), &key)
    }

    /// A server that shows a certificate and signs with any key.
    fn of(certificate: CertificateDer<'static>, key: &[u8]) -> Self {
        let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
        let key = default_provider()
            .key_provider
            .load_private_key(key)
            .unwrap();
        let certified = CertifiedKey::new(vec![certificate.clone()], key);
        let mut server = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.ticketer = Ticketer::new().unwrap();
        server.send_tls13_tickets = 1;
        Self {
            server: Arc::new(server),
            certificate,
        }
    }

    /// A client that trusts it, and keeps so many tickets.
    pub fn client(&self, tickets: usize) -> Arc<ClientConfig> {
        self.client_with(&Tickets::keeping(tickets))
    }

    fn client_with(&self, tickets: &Arc<Tickets>) -> Arc<ClientConfig> {
        client_config(std::slice::from_ref(&self.certificate), tickets).unwrap()
    }
}

/// A client and a server, and what went between them.
struct Pair {
    client: TlsClient,
    server: ServerConnection,
    /// Most bytes that are handed over at once.
    portion: usize,
    /// What the client has read.
    read: Vec<u8>,
    /// What the server has read.
    read_by_server: Vec<u8>,
}

impl Pair {
    fn new(served: &Served, config: &Arc<ClientConfig>, portion: usize) -> Self {
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        Self {
            client: TlsClient::new(config, name).unwrap(),
            server: ServerConnection::new(Arc::clone(&served.server)).unwrap(),
            portion,
            read: Vec::new(),
            read_by_server: Vec::new(),
        }
    }

    /// Hands bytes over until neither side has any.
    fn exchange(&mut self) -> Result<Opened, rustls::Error> {
        let mut opened = Opened::Open;
        loop {
            let sent = self.client.waiting().to_vec();
            for mut part in sent.chunks(self.portion) {
                while !part.is_empty() {
                    self.server.read_tls(&mut part).unwrap();
                    self.server.process_new_packets()?;
                    self.read_by_server();
                }
            }
            self.client.advance(sent.len());
            let mut back = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut back).unwrap();
            }
            for part in back.chunks_mut(self.portion) {
                opened = self.client.open(part, &mut self.read)?;
            }
            if self.client.waiting().is_empty() && back.is_empty() {
                return Ok(opened);
            }
        }
    }

    /// Moves what the server has decrypted, whose buffer is bounded.
    fn read_by_server(&mut self) {
        let mut part = [0; 4_096];
        while let Ok(count @ 1..) = self.server.reader().read(&mut part) {
            self.read_by_server.extend_from_slice(&part[..count]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_sides_read_what_the_other_wrote_whatever_portions_it_came_in(
        portion in prop_oneof![1_usize..40, 40_usize..3_000, Just(1 << 20)],
        sizes in prop::collection::vec((1_usize..40_000, 1_usize..40_000), 1..4),
    ) {
        let served = Served::make();
        let mut pair = Pair::new(&served, &served.client(0), portion);
        prop_assert!(pair.client.is_handshaking());
        pair.exchange().unwrap();
        prop_assert!(!pair.client.is_handshaking() && !pair.client.is_resumed());
        prop_assert_eq!(pair.client.certificate(), Some(&served.certificate));
        for (out, back) in sizes {
            let message: Vec<u8> = (0..out).map(|at| (at % 251) as u8).collect();
            pair.client.seal(&message).unwrap();
            pair.exchange().unwrap();
            prop_assert_eq!(std::mem::take(&mut pair.read_by_server), message);
            let answer: Vec<u8> = (0..back).map(|at| (at % 241) as u8).collect();
            // The server's buffer takes some of it at a time.
            let mut rest = &answer[..];
            while !rest.is_empty() {
                let count = pair.server.writer().write(rest).unwrap();
                rest = &rest[count..];
                pair.exchange().unwrap();
            }
            prop_assert_eq!(std::mem::take(&mut pair.read), answer);
        }
    }
}

#[test]
fn a_ticket_continues_one_session_and_leaves_another_ticket() {
    let served = Served::make();
    let tickets = Tickets::keeping(2);
    let config = served.client_with(&tickets);
    let handshake = || {
        let mut pair = Pair::new(&served, &config, 1 << 20);
        pair.exchange().unwrap();
        pair.client.is_resumed()
    };
    // Kept, and the newest only.
    for wanted in [1, 2, 2] {
        assert!(!handshake());
        assert_eq!(tickets.count(), wanted);
    }
    tickets.set_used(true);
    assert!(handshake() && handshake() && handshake());
    assert_eq!(tickets.count(), 2);
    tickets.set_used(false);
    assert!(!handshake());
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_refused() {
    let (real, other) = (Served::make(), Served::make());
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let liar = Served::of(real.certificate.clone(), &key);
    let config = real.client(0);
    assert!(Pair::new(&liar, &config, 1 << 20).exchange().is_err());
    assert!(Pair::new(&other, &config, 1 << 20).exchange().is_err());
    Pair::new(&real, &config, 1 << 20).exchange().unwrap();
}

#[test]
fn the_end_that_the_server_announces_is_seen() {
    let served = Served::make();
    let mut pair = Pair::new(&served, &served.client(0), 1 << 20);
    pair.exchange().unwrap();
    pair.server.writer().write_all(b"bye").unwrap();
    pair.server.send_close_notify();
    assert_eq!(pair.exchange(), Ok(Opened::PeerClosed));
    assert_eq!(pair.read, b"bye");
}
