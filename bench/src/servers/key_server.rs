//! An HTTP server with one document: the key set of an issuer.
//!
//! Purpose: an edge that takes keys by URL fetches them from a server, and this is one. It answers
//! every request with the document and closes the connection.
//! Limits: one request at a time, of 4 KiB, within two seconds.
//!
//! Runs on: a thread of its own, which waits; a fetch a minute costs the generator nothing.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const REQUEST_BYTES_MAX: usize = 4_096;
const PATIENCE: Duration = Duration::from_secs(2);

struct State {
    document: String,
    requests: AtomicU64,
    is_over: AtomicBool,
}

/// A running server; it ends when it is dropped.
pub struct KeyServer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl KeyServer {
    /// Serves `document` on an address.
    pub fn start(address: SocketAddr, document: String) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("serving keys on {address}: choose other ports by --port"))?;
        let address = listener.local_addr().context("the server of keys")?;
        let state = Arc::new(State {
            document,
            requests: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || serve(&listener, &shared))
            .context("starting the server of keys")?;
        Ok(Self {
            address,
            state,
            thread: Some(thread),
        })
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // The connection ends the wait for the next one.
        let is_woken = TcpStream::connect_timeout(&self.address, PATIENCE).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_woken) {
            // Whether it panicked does not matter any more.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, state: &State) {
    for stream in listener.incoming() {
        if state.is_over.load(Ordering::Relaxed) {
            return;
        }
        // A client that fails is its own concern: it asks again.
        let _ = stream.and_then(|stream| answer(stream, state));
    }
}

fn answer(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; REQUEST_BYTES_MAX];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut request[length..])?;
        if count == 0 {
            return Ok(());
        }
        length += count;
    }
    state.requests.fetch_add(1, Ordering::Relaxed);
    let document = &state.document;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        document.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(document.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::http;

    #[test]
    fn the_document_is_served_until_the_end() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = KeyServer::start(loopback, "{\"keys\":[]}".to_owned()).unwrap();
        let address = server.address;
        let get = || http::get(address, "/jwks.json").unwrap();
        assert_eq!(get(), (200, "{\"keys\":[]}".to_owned()));
        assert_eq!(get().0, 200);
        assert_eq!(server.requests(), 2);
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }
}
