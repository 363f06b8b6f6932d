//! A relay between clients and the node whose connections a test can cut.
//!
//! A cut closes both sockets at once, without a close frame, as a lost network does; bytes that
//! were on their way are lost with them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The relay; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
}

impl Proxy {
    /// A relay to `node`, on the node's address with a port of its own.
    pub fn start(node: SocketAddr) -> Self {
        Self::at(SocketAddr::new(node.ip(), node.port() + 10), node)
    }

    /// A relay to `node` on an address; port 0 takes a free one.
    pub fn at(address: SocketAddr, node: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let accepting = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, node, &shared)
        }));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Cuts every connection that there is now.
    pub fn cut(&self) {
        let streams = std::mem::take(&mut *self.shared.streams.lock().expect("no thread panics"));
        for stream in streams {
            // A stream that has ended already needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        self.cut();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, node: SocketAddr, shared: &Shared) {
    for client in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(node)) else {
            continue;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket takes options");
        }
        relay(&client, &server);
        relay(&server, &client);
        shared
            .streams
            .lock()
            .expect("no thread panics")
            .extend([client, server]);
        shared.connections.fetch_add(1, Ordering::SeqCst);
    }
}

/// Copies one direction until either end is gone.
fn relay(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("a socket can be cloned");
    let mut to = to.try_clone().expect("a socket can be cloned");
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        for stream in [from, to] {
            // The other direction may have ended both already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}
