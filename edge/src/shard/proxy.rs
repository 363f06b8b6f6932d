//! Who connects: the address itself, or a proxy that names it.
//!
//! Purpose: from addresses of `listen.proxy_from` a header of the PROXY protocol comes before
//! everything else, TLS included, and the address in it takes the peer's place; from any other
//! address such a header is an invalid request. The address, once it is known, counts against the
//! rate of addresses until the connection is authenticated.
//!
//! Limits: the header has the time of the request and `HEADER_BYTES`. Whoever breaks a rule here
//! is dropped without an answer, as the PROXY protocol asks, and since an answer to an address
//! that connects too often would cost more than the connection.
//!
//! Thread: the shard that accepted.

use std::net::SocketAddr;

use interlink_protocol::proxy::{self, Client};
use interlink_protocol::websocket::handshake::HeadScan;

use super::handshake::{Next, Stage};
use super::Shard;

impl Shard {
    /// What a new connection has to bring first; `None` when its address may not connect now.
    pub(super) fn first_stage(&mut self, peer: SocketAddr) -> Option<Stage> {
        let proxies = &self.limits.proxies;
        if proxies.iter().any(|network| network.contains(peer.ip())) {
            return Some(Stage::Proxy);
        }
        self.count_address(peer)
            .then_some(Stage::Request(HeadScan::new()))
    }

    /// Counts a connection of an address; whether it may connect now.
    fn count_address(&mut self, peer: SocketAddr) -> bool {
        let counted = self.shared.rates.connect(peer.ip(), self.clock.now_ns);
        self.counters.connections_over_rate += u64::from(counted.is_err());
        counted.is_ok()
    }

    /// Bytes of a proxy.
    pub(super) fn on_proxy_bytes(&mut self, slot: u32, bytes: &mut [u8]) -> Next {
        let handshake = self.handshake_mut(slot);
        handshake.kept.extend_from_slice(bytes);
        let header = match proxy::parse(&handshake.kept) {
            Ok(Some(header)) => header,
            Ok(None) => return Next::Receive(slot),
            Err(_) => {
                self.counters.proxy_headers_refused += 1;
                return Next::Drop(slot);
            }
        };
        // The time of the request goes on.
        handshake.stage = Stage::Request(HeadScan::new());
        let mut rest = std::mem::take(&mut handshake.kept);
        rest.drain(..header.bytes);
        if let Client::Named(peer) = header.client {
            handshake.peer = peer;
            if !self.count_address(peer) {
                return Next::Drop(slot);
            }
        }
        match rest.is_empty() {
            true => Next::Receive(slot),
            false => self.on_client_bytes(slot, &mut rest),
        }
    }
}
