//! No operation of the real kernel allocates after warm-up.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use interlink_uring::{
    EdgeRing, Event, Kernel, RingConfig, RingGroup, Send, SendOutcome, SendTarget,
};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all work is passed on to the system's allocator; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 40;

/// One message of each client there and back, with a poll, a deadline and a file write.
struct World {
    edge: EdgeRing,
    clients: Vec<TcpStream>,
    outcomes: Vec<SendOutcome>,
    file: std::fs::File,
    buffer: Option<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let mut edge = EdgeRing::new(RingConfig {
            slots_per_ring: 16,
            ..RingConfig::default()
        })
        .expect("these tests need io_uring");
        let listener = (7100..7200)
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .expect("a port between 7100 and 7199 must be free");
        let to = listener.local_addr().expect("bound");
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            clients.push(TcpStream::connect(to).expect("loopback"));
            servers.push(listener.accept().expect("a client is waiting").0.into());
        }
        let mut installed = Vec::new();
        edge.install(RingGroup::Common, &mut servers, &mut installed);
        for socket in installed {
            edge.arm_receive(socket.expect("a slot is free"));
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .expect("/dev/null");
        Self {
            edge,
            clients,
            outcomes: Vec::new(),
            file,
            buffer: Some(vec![0; 4096]),
        }
    }

    fn round(&mut self, deadline_ns: u64) {
        use std::os::fd::AsRawFd;
        for client in &mut self.clients {
            client.write_all(&[7; 100]).expect("loopback");
        }
        let mut waiting = CLIENTS + 2;
        self.edge.wake_at(Some(deadline_ns));
        let mut buffer = self.buffer.take();
        while waiting > 0 {
            self.edge.enter().expect("the ring takes entries");
            if let Some(buffer) = buffer.take() {
                self.edge.write(self.file.as_raw_fd(), 0, buffer, 1);
                self.edge.sync_data(self.file.as_raw_fd(), 2);
            }
            while let Some(event) = self.edge.next_event() {
                match event {
                    Event::Received { socket, bytes } => {
                        self.edge.poll_writable(socket);
                        let mut copy = [0; 100];
                        copy.copy_from_slice(self.edge.bytes_mut(&bytes));
                        let target = SendTarget::Socket(socket);
                        let batch = [Send {
                            target,
                            bytes: &copy,
                        }];
                        self.edge.send(&batch, &mut self.outcomes);
                        assert_eq!(self.outcomes, [SendOutcome::Sent]);
                        waiting -= 1;
                    }
                    Event::Written { buffer, .. } => {
                        self.buffer = Some(buffer);
                        waiting -= 1;
                    }
                    Event::Synced { .. } => waiting -= 1,
                    Event::Writable { .. } | Event::Timer => {}
                    other => panic!("unexpected: {other:?}"),
                }
            }
            self.edge.end_turn();
            if self.edge.start_sleep() {
                self.edge.end_sleep();
            }
        }
        let mut echo = [0; 100];
        for client in &mut self.clients {
            client.read_exact(&mut echo).expect("loopback");
        }
    }
}

#[test]
fn no_operation_allocates_after_warm_up() {
    let mut world = World::new();
    for round in 0..50 {
        world.round(round);
    }
    let before = ALLOCATIONS.with(Cell::get);
    for round in 0..200 {
        world.round(round);
    }
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(allocations, 0, "200 rounds of {CLIENTS} messages allocated");
}
