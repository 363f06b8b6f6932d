//! A forwarder between a node and a server, which can lead elsewhere, cut and hold back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::runtime;
use super::servers::free_port;

/// What a proxy does now.
#[derive(Default)]
struct State {
    target: String,
    /// Connections under way.
    connections: Vec<AbortHandle>,
    /// Bytes that make what comes back over a connection be held back once it has sent them.
    wedges: Option<&'static [u8]>,
}

/// A forwarder.
pub struct Proxy {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl Proxy {
    /// Leads to a server.
    pub fn to(target: String) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(Mutex::new(State {
            target,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        runtime().spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a runtime");
            while let Ok((client, _)) = listener.accept().await {
                let work = forward(client, Arc::clone(&shared));
                let handle = tokio::spawn(work).abort_handle();
                shared.lock().expect("no panic").connections.push(handle);
            }
        });
        Self { state, address }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads elsewhere; connections are cut.
    pub fn lead_to(&self, target: String) {
        self.state.lock().expect("no panic").target = target;
        self.cut();
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        let connections = std::mem::take(&mut self.state.lock().expect("no panic").connections);
        for connection in connections {
            connection.abort();
        }
    }

    /// Holds back what connections get that have sent or send some bytes; later ones are free.
    pub fn wedge(&self, word: &'static [u8]) {
        self.state.lock().expect("no panic").wedges = Some(word);
    }
}

async fn forward(client: TcpStream, state: Arc<Mutex<State>>) {
    let target = state.lock().expect("no panic").target.clone();
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let sent = Arc::new(Mutex::new(Vec::<u8>::new()));
    let noted = Arc::clone(&sent);
    let there = async move {
        let mut bytes = [0; 4096];
        loop {
            match from_client.read(&mut bytes).await {
                Ok(count) if count > 0 => {
                    noted.lock().expect("no panic").extend(&bytes[..count]);
                    if to_server.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let back = async move {
        let mut bytes = [0; 4096];
        loop {
            let Ok(count @ 1..) = from_server.read(&mut bytes).await else {
                return;
            };
            let word = state.lock().expect("no panic").wedges;
            let is_wedged = word.is_some_and(|word| {
                let sent = sent.lock().expect("no panic");
                sent.windows(word.len()).any(|window| window == word)
            });
            if is_wedged {
                // Only this connection: its successor works.
                state.lock().expect("no panic").wedges = None;
                return std::future::pending().await;
            }
            if to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
