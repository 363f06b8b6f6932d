//! The two worlds of the model test: loopback sockets and a file, and their script in memory.

use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use interlink_uring::scripted::{File, Peer, ScriptedConfig};
use interlink_uring::{EdgeRing, Kernel, RingConfig, ScriptedKernel, SocketId};

use crate::support::{connection, edge, install, small};

/// A kernel and the other side of what it talks to.
pub trait World {
    /// The kernel under test.
    type Kernel: Kernel;
    fn kernel(&mut self) -> &mut Self::Kernel;
    /// Makes the next connection.
    fn connect(&mut self);
    fn descriptor(&self, connection: usize) -> RawFd;
    fn install(&mut self, connection: usize) -> SocketId;
    /// The kernel took bytes of this connection.
    fn sent(&mut self, connection: usize, bytes: usize);
    fn peer_write(&mut self, connection: usize, bytes: &[u8]);
    /// Reads what was sent and not read yet, and keeps it.
    fn peer_read(&mut self, connection: usize);
    fn peer_finish(&mut self, connection: usize);
    fn peer_reset(&mut self, connection: usize);
    fn write(&mut self, offset: u64, bytes: Vec<u8>, token: u64);
    fn sync(&mut self, token: u64);
    fn file_content(&mut self) -> Vec<u8>;
}

/// Slots a ring, so that the connections of a script span rings.
const SLOTS: u32 = 2;

/// What a peer may still do.
#[derive(Default)]
struct PeerState {
    finished: bool,
    reset: bool,
    unread: usize,
}

pub struct RealWorld {
    kernel: EdgeRing,
    servers: Vec<Option<OwnedFd>>,
    clients: Vec<Option<TcpStream>>,
    peers: Vec<PeerState>,
    file: std::fs::File,
}

impl RealWorld {
    pub fn new() -> Self {
        // SAFETY: the name is a static string that ends with zero.
        let file = unsafe { libc::memfd_create(c"model".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(file >= 0);
        Self {
            kernel: edge(RingConfig {
                slots_per_ring: SLOTS,
                first_ring_buffers: 4,
                ..small()
            }),
            servers: Vec::new(),
            clients: Vec::new(),
            peers: Vec::new(),
            // SAFETY: the descriptor is new and nobody else owns it.
            file: unsafe { std::fs::File::from_raw_fd(file) },
        }
    }
}

impl World for RealWorld {
    type Kernel = EdgeRing;

    fn kernel(&mut self) -> &mut EdgeRing {
        &mut self.kernel
    }

    fn connect(&mut self) {
        let (server, client) = connection();
        self.servers.push(Some(server));
        self.clients.push(Some(client));
        self.peers.push(PeerState::default());
    }

    fn descriptor(&self, connection: usize) -> RawFd {
        self.servers[connection]
            .as_ref()
            .map_or(-1, AsRawFd::as_raw_fd)
    }

    fn install(&mut self, connection: usize) -> SocketId {
        let server = self.servers[connection].take().expect("installed once");
        install(&mut self.kernel, server)
    }

    fn sent(&mut self, connection: usize, bytes: usize) {
        self.peers[connection].unread += bytes;
    }

    fn peer_write(&mut self, connection: usize, bytes: &[u8]) {
        let peer = &self.peers[connection];
        if let (false, Some(client)) = (peer.finished, &mut self.clients[connection]) {
            client
                .write_all(bytes)
                .expect("a script is smaller than the socket buffers");
        }
    }

    fn peer_read(&mut self, connection: usize) {
        let Some(client) = &mut self.clients[connection] else {
            return;
        };
        let mut bytes = vec![0; std::mem::take(&mut self.peers[connection].unread)];
        match client.read_exact(&mut bytes) {
            Ok(()) => {}
            // A close with unread bytes resets, and may overtake what the peer has not read.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("bytes that were sent did not arrive: {error}"),
        }
    }

    fn peer_finish(&mut self, connection: usize) {
        if let Some(client) = &self.clients[connection] {
            // Fails when the server has reset the connection.
            let _ = client.shutdown(Shutdown::Write);
            self.peers[connection].finished = true;
        }
    }

    fn peer_reset(&mut self, connection: usize) {
        let Some(client) = self.clients[connection].take() else {
            return;
        };
        self.peers[connection].reset = true;
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the option's value lives through the call and has the length that is passed.
        let answer = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                std::mem::size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(answer, 0, "lingering zero seconds resets at close");
    }

    fn write(&mut self, offset: u64, bytes: Vec<u8>, token: u64) {
        self.kernel
            .write(self.file.as_raw_fd(), offset, bytes, token);
    }

    fn sync(&mut self, token: u64) {
        self.kernel.sync_data(self.file.as_raw_fd(), token);
    }

    fn file_content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        self.file.rewind().expect("a file");
        self.file.read_to_end(&mut content).expect("a file");
        content
    }
}

pub struct ScriptedWorld {
    kernel: ScriptedKernel,
    servers: Vec<Option<OwnedFd>>,
    peers: Vec<(Peer, PeerState)>,
    file: File,
}

impl ScriptedWorld {
    pub fn new() -> Self {
        let config = ScriptedConfig {
            slots_per_ring: SLOTS,
            ..ScriptedConfig::default()
        };
        let mut kernel = ScriptedKernel::new(config);
        let file = kernel.add_file(b"");
        Self {
            kernel,
            servers: Vec::new(),
            peers: Vec::new(),
            file,
        }
    }
}

impl World for ScriptedWorld {
    type Kernel = ScriptedKernel;

    fn kernel(&mut self) -> &mut ScriptedKernel {
        &mut self.kernel
    }

    fn connect(&mut self) {
        let (server, peer) = self.kernel.socket();
        self.servers.push(Some(server));
        self.peers.push((peer, PeerState::default()));
    }

    fn descriptor(&self, connection: usize) -> RawFd {
        self.servers[connection]
            .as_ref()
            .map_or(-1, AsRawFd::as_raw_fd)
    }

    fn install(&mut self, connection: usize) -> SocketId {
        let server = self.servers[connection].take().expect("installed once");
        install(&mut self.kernel, server)
    }

    fn sent(&mut self, connection: usize, bytes: usize) {
        let (peer, state) = &mut self.peers[connection];
        state.unread += bytes;
        assert_eq!(self.kernel.sent(*peer).len(), state.unread);
    }

    fn peer_write(&mut self, connection: usize, bytes: &[u8]) {
        let (peer, state) = &self.peers[connection];
        if !state.finished && !state.reset {
            self.kernel.inject(*peer, bytes);
        }
    }

    fn peer_read(&mut self, connection: usize) {
        let (peer, state) = &mut self.peers[connection];
        if !state.reset {
            let got = self.kernel.take_sent(*peer).len();
            assert_eq!(got, std::mem::take(&mut state.unread));
        }
    }

    fn peer_finish(&mut self, connection: usize) {
        let (peer, state) = &mut self.peers[connection];
        if !state.reset {
            self.kernel.finish(*peer);
            state.finished = true;
        }
    }

    fn peer_reset(&mut self, connection: usize) {
        let (peer, state) = &mut self.peers[connection];
        if !state.reset {
            self.kernel.reset(*peer);
            state.reset = true;
        }
    }

    fn write(&mut self, offset: u64, bytes: Vec<u8>, token: u64) {
        self.kernel
            .write(self.file.descriptor(), offset, bytes, token);
    }

    fn sync(&mut self, token: u64) {
        self.kernel.sync_data(self.file.descriptor(), token);
    }

    fn file_content(&mut self) -> Vec<u8> {
        self.kernel.file_bytes(self.file).to_vec()
    }
}
