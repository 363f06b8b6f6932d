//! Sockets and loops that the tests of this crate share.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use interlink_uring::{
    EdgeRing, Event, Kernel, RingConfig, RingGroup, Send, SendOutcome, SendTarget, SocketId,
};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A listener on a free port of the range that tests use.
pub fn listener() -> TcpListener {
    (7100..7180)
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .expect("a port between 7100 and 7179 must be free")
}

/// Both ends of a loopback connection: the server's descriptor and the client.
pub fn connection() -> (OwnedFd, TcpStream) {
    let listener = listener();
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (server, _) = listener.accept().expect("a client is waiting");
    client.set_nodelay(true).expect("a socket option");
    client
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket option");
    (server.into(), client)
}

/// A ring with small queues and few slots.
pub fn small() -> RingConfig {
    RingConfig {
        slots_per_ring: 64,
        ..RingConfig::default()
    }
}

/// An `EdgeRing`, or a clear failure.
pub fn edge(config: RingConfig) -> EdgeRing {
    EdgeRing::new(config).expect("these tests need io_uring")
}

/// Installs one connection.
pub fn install(kernel: &mut impl Kernel, descriptor: OwnedFd) -> SocketId {
    let mut answers = Vec::new();
    kernel.install(RingGroup::Common, &mut vec![descriptor], &mut answers);
    answers[0].expect("a slot must be free")
}

/// A connection that is installed and reports what it receives, and its client.
pub fn armed(kernel: &mut impl Kernel) -> (SocketId, TcpStream) {
    let (descriptor, client) = connection();
    let socket = install(kernel, descriptor);
    kernel.arm_receive(socket);
    (socket, client)
}

/// Sends once.
pub fn send(kernel: &mut impl Kernel, socket: SocketId, bytes: &[u8]) -> SendOutcome {
    let target = SendTarget::Socket(socket);
    let mut outcomes = Vec::new();
    kernel.send(&[Send { target, bytes }], &mut outcomes);
    outcomes[0]
}

/// What an event said, with its bytes copied out.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Seen {
    Received(SocketId, Vec<u8>),
    HandshakeReceived(u32, Vec<u8>),
    Other(String),
}

/// Runs one turn and answers all its events.
pub fn turn(kernel: &mut impl Kernel) -> Vec<Seen> {
    kernel.enter().expect("the ring takes entries");
    let mut seen = Vec::new();
    while let Some(event) = kernel.next_event() {
        seen.push(match event {
            Event::Received { socket, bytes } => {
                Seen::Received(socket, kernel.bytes_mut(&bytes).to_vec())
            }
            Event::HandshakeReceived { handshake, bytes } => {
                Seen::HandshakeReceived(handshake.slot, kernel.bytes_mut(&bytes).to_vec())
            }
            other => Seen::Other(format!("{other:?}")),
        });
    }
    kernel.end_turn();
    seen
}

/// Runs turns until `done` says so; `done` sees each turn's events.
pub fn turns_until(kernel: &mut impl Kernel, mut done: impl FnMut(Vec<Seen>) -> bool) {
    let started = Instant::now();
    loop {
        let seen = turn(kernel);
        if done(seen) {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "the awaited events did not come"
        );
        std::thread::yield_now();
    }
}

/// Runs turns until all events are there that `wanted` counts.
pub fn collect(kernel: &mut impl Kernel, wanted: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    turns_until(kernel, |seen| {
        all.extend(seen);
        all.len() >= wanted
    });
    all
}

/// Runs turns until `bytes` bytes of the connection have come, and answers them.
pub fn receive(kernel: &mut impl Kernel, socket: SocketId, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    turns_until(kernel, |seen| {
        for event in seen {
            match event {
                Seen::Received(from, part) if from == socket => all.extend(part),
                other => panic!("unexpected: {other:?}"),
            }
        }
        all.len() >= bytes
    });
    all
}

/// Where a listener listens.
pub fn address(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .expect("a bound listener has an address")
}

/// Bytes whose value follows from their place, so that a swapped or lost buffer shows.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}
