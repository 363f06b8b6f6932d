//! What surrounds the connections on the real kernel: accepts, handshakes, files, timer, sleep.

use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crate::support::{
    address, armed, collect, connection, edge, install, listener, receive, send, small, turn, Seen,
    PATIENCE,
};
use interlink_uring::{Event, HandshakeId, Kernel, RingConfig, SendOutcome};

/// Runs turns until something was accepted.
fn accepted(kernel: &mut impl Kernel) -> (OwnedFd, SocketAddr) {
    let started = Instant::now();
    loop {
        kernel.enter().expect("the ring takes entries");
        if let Some(event) = kernel.next_event() {
            let Event::Accepted {
                listener: 0,
                descriptor,
                peer,
            } = event
            else {
                panic!("unexpected: {event:?}")
            };
            kernel.end_turn();
            return (descriptor, peer);
        }
        kernel.end_turn();
        assert!(started.elapsed() < PATIENCE, "nobody was accepted");
    }
}

#[test]
fn clients_are_accepted_with_their_address_until_accepting_ends() {
    let mut edge = edge(small());
    let listening = listener();
    let to = address(&listening);
    let number = edge.add_listener(listening.into());
    let early = TcpStream::connect(to).expect("the backlog takes it");
    assert!(turn(&mut edge).is_empty(), "nothing is accepted unasked");
    edge.accept(number, 4);
    let (descriptor, peer) = accepted(&mut edge);
    assert_eq!(peer, early.local_addr().expect("connected"));
    // More clients than accepts: the rest waits until it is asked for.
    let clients: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(to).expect("the backlog takes it"))
        .collect();
    let mut peers: Vec<_> = (0..3).map(|_| accepted(&mut edge).1).collect();
    assert!(turn(&mut edge).is_empty(), "four were to be accepted");
    edge.accept(number, 32);
    peers.extend((3..10).map(|_| accepted(&mut edge).1));
    let mut wanted: Vec<_> = clients
        .iter()
        .map(|client| client.local_addr().expect("connected"))
        .collect();
    peers.sort();
    wanted.sort();
    assert_eq!(peers, wanted);
    // The descriptor is close-on-exec.
    // SAFETY: the call reads the flags of a descriptor that is open.
    let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);

    edge.accept(number, 0);
    for _ in 0..3 {
        assert!(turn(&mut edge).is_empty());
    }
    let _late = TcpStream::connect(to).expect("the backlog takes it");
    assert!(turn(&mut edge).is_empty(), "accepting had ended");
    edge.accept(number, 1);
    accepted(&mut edge);
    assert_eq!(edge.counters().accepted, 12);
}

#[test]
fn a_listener_of_version_six_names_its_clients() {
    let listening = (7100..7180)
        .find_map(|port| std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, port)).ok())
        .expect("a port between 7100 and 7179 must be free");
    let to = address(&listening);
    let mut edge = edge(small());
    let number = edge.add_listener(listening.into());
    edge.accept(number, 1);
    let client = TcpStream::connect(to).expect("the backlog takes it");
    assert_eq!(
        accepted(&mut edge).1,
        client.local_addr().expect("connected")
    );
}

#[test]
fn a_socket_that_does_not_listen_fails_and_rests() {
    let mut edge = edge(small());
    let (descriptor, _client) = connection();
    let number = edge.add_listener(descriptor);
    edge.accept(number, 2);
    let failed = format!("AcceptFailed {{ listener: 0, errno: {} }}", libc::EINVAL);
    let wanted = vec![Seen::Other(failed); 2];
    assert_eq!(collect(&mut edge, 2), wanted);
    for _ in 0..3 {
        assert!(turn(&mut edge).is_empty(), "it would fail again and again");
    }
}

#[test]
fn a_handshake_is_received_then_moves_into_a_slot_with_the_rest() {
    let mut edge = edge(small());
    let (descriptor, mut client) = connection();
    let id = HandshakeId {
        slot: 7,
        generation: 3,
    };
    edge.receive_once(id, descriptor.as_raw_fd());
    client.write_all(b"GET /").expect("loopback");
    assert_eq!(
        collect(&mut edge, 1),
        [Seen::HandshakeReceived(7, b"GET /".to_vec())]
    );
    client.write_all(b"rest").expect("loopback");
    assert!(turn(&mut edge).is_empty(), "a single receive is single");
    let socket = install(&mut edge, descriptor);
    edge.arm_receive(socket);
    assert_eq!(receive(&mut edge, socket, 4), b"rest");
}

#[test]
fn handshakes_end_by_cancel_by_the_peer_and_by_failure() {
    let mut edge = edge(small());
    let (first, _client) = connection();
    let (second, gone) = connection();
    let id = |slot| HandshakeId {
        slot,
        generation: 1,
    };
    edge.receive_once(id(0), first.as_raw_fd());
    edge.receive_once(id(1), second.as_raw_fd());
    assert!(turn(&mut edge).is_empty());
    edge.cancel_once(HandshakeId {
        slot: 0,
        generation: 2,
    });
    edge.cancel_once(id(9));
    assert!(turn(&mut edge).is_empty(), "other names are not cancelled");
    edge.cancel_once(id(0));
    edge.cancel_once(id(0));
    let ended = |slot, reason: &str| {
        Seen::Other(format!(
            "HandshakeEnded {{ handshake: {:?}, reason: {reason} }}",
            id(slot)
        ))
    };
    assert_eq!(collect(&mut edge, 1), [ended(0, "Stopped")]);
    drop(gone);
    assert_eq!(collect(&mut edge, 1), [ended(1, "Closed")]);
    edge.receive_once(id(1), -1);
    let failed = format!("Failed({})", libc::EBADF);
    assert_eq!(collect(&mut edge, 1), [ended(1, &failed)]);
}

#[test]
fn handshakes_that_ran_out_of_buffers_go_on_by_themselves() {
    let mut edge = edge(RingConfig {
        first_ring_buffers: 2,
        ..small()
    });
    let mut connections: Vec<_> = (0..40).map(|_| connection()).collect();
    for (slot, (descriptor, client)) in connections.iter_mut().enumerate() {
        let slot = slot as u32;
        edge.receive_once(
            HandshakeId {
                slot,
                generation: 1,
            },
            descriptor.as_raw_fd(),
        );
        client.write_all(&slot.to_le_bytes()).expect("loopback");
    }
    let mut seen = collect(&mut edge, 40);
    seen.sort_by_key(|event| match event {
        Seen::HandshakeReceived(slot, _) => *slot,
        other => panic!("unexpected: {other:?}"),
    });
    for (slot, event) in (0_u32..).zip(seen) {
        assert_eq!(
            event,
            Seen::HandshakeReceived(slot, slot.to_le_bytes().to_vec())
        );
    }
    assert!(
        edge.counters().starved > 0,
        "two buffers were enough: the test shows nothing"
    );
}

#[test]
fn a_write_and_its_sync_give_the_buffer_back() {
    let mut edge = edge(small());
    let mut file = tempfile();
    for (round, offset) in [(0_u8, 0), (1, 4096), (2, 100)] {
        edge.write(file.as_raw_fd(), offset, vec![round; 200], u64::from(round));
        let started = Instant::now();
        loop {
            edge.enter().expect("the ring takes entries");
            if let Some(event) = edge.next_event() {
                let Event::Written {
                    token,
                    result,
                    buffer,
                } = event
                else {
                    panic!("unexpected: {event:?}")
                };
                assert_eq!(
                    (token, result, buffer),
                    (u64::from(round), 200, vec![round; 200])
                );
                break;
            }
            assert!(started.elapsed() < PATIENCE);
        }
        edge.sync_data(file.as_raw_fd(), 100);
        let synced = Seen::Other("Synced { token: 100, result: 0 }".into());
        assert_eq!(collect(&mut edge, 1), [synced]);
    }
    let mut all = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut all).expect("a file");
    assert_eq!(all.len(), 4296);
    assert_eq!((all[99], all[100], all[299], all[4096]), (0, 2, 2, 1));
}

#[test]
fn file_errors_are_reported_as_results() {
    let mut edge = edge(small());
    edge.write(-1, 0, vec![1], 5);
    edge.sync_data(-1, 6);
    let seen = collect(&mut edge, 2);
    let bad = -libc::EBADF;
    let written = format!("Written {{ token: 5, result: {bad}, buffer: [1] }}");
    let synced = format!("Synced {{ token: 6, result: {bad} }}");
    assert!(seen.contains(&Seen::Other(written)), "{seen:?}");
    assert!(seen.contains(&Seen::Other(synced)), "{seen:?}");
}

/// A file without a name.
fn tempfile() -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a static string that ends with zero.
    let descriptor = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0);
    // SAFETY: the descriptor is new and nobody else owns it.
    unsafe { std::fs::File::from_raw_fd(descriptor) }
}

/// CLOCK_MONOTONIC in nanoseconds.
fn now_ns() -> u64 {
    interlink_uring::driver::monotonic_ns()
}

#[test]
fn the_timer_fires_once_at_the_deadline_that_stands() {
    let mut edge = edge(small());
    let millisecond = 1_000_000;
    let start = now_ns();
    let until_timer = |edge: &mut _| assert_eq!(collect(edge, 1), [Seen::Other("Timer".into())]);
    // A later deadline, then an earlier one.
    edge.wake_at(Some(start + 5_000 * millisecond));
    assert!(turn(&mut edge).is_empty());
    edge.wake_at(Some(start + 20 * millisecond));
    until_timer(&mut edge);
    let passed = now_ns() - start;
    assert!(
        (20 * millisecond..4_000 * millisecond).contains(&passed),
        "{passed} ns"
    );
    // An earlier deadline, then a later one: the timer does not fire at the earlier.
    let start = now_ns();
    edge.wake_at(Some(start + 10 * millisecond));
    assert!(turn(&mut edge).is_empty());
    edge.wake_at(Some(start + 40 * millisecond));
    until_timer(&mut edge);
    assert!(now_ns() - start >= 40 * millisecond);
    // One that has passed fires at once; one that was taken back does not.
    edge.wake_at(Some(start));
    until_timer(&mut edge);
    let start = now_ns();
    edge.wake_at(Some(start + 5 * millisecond));
    edge.wake_at(None);
    while now_ns() < start + 20 * millisecond {
        assert!(turn(&mut edge).is_empty());
    }
}

/// Waits for the wake descriptor, at most `milliseconds`; `true` when it was signalled.
fn sleep(edge: &impl Kernel, milliseconds: i32) -> bool {
    let descriptor = edge.wake_descriptor();
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry is passed and lives through the call.
    let ready = unsafe { libc::poll(&mut poll, 1, milliseconds) };
    if ready == 1 {
        let mut count = 0_u64;
        // SAFETY: eight bytes are read into a number of eight bytes.
        let read = unsafe { libc::read(descriptor, (&raw mut count).cast(), 8) };
        assert_eq!(read, 8);
    }
    ready == 1
}

#[test]
fn arriving_bytes_on_any_ring_wake_a_sleeper() {
    let mut edge = edge(RingConfig {
        slots_per_ring: 1,
        ..small()
    });
    let mut living: Vec<_> = (0..3).map(|_| armed(&mut edge)).collect();
    turn(&mut edge);
    for (socket, client) in &mut living {
        // Whatever signals came before this sleep are used up.
        while !edge.start_sleep() {
            turn(&mut edge);
        }
        while sleep(&edge, 0) {}
        client.write_all(b"wake").expect("loopback");
        assert!(sleep(&edge, 10_000), "the sleeper was not woken");
        edge.end_sleep();
        assert_eq!(receive(&mut edge, *socket, 4), b"wake");
    }
    assert!(edge.counters().sleeps >= 3);
}

#[test]
fn bytes_that_came_while_running_forbid_sleep() {
    let mut edge = edge(small());
    let (_socket, mut client) = armed(&mut edge);
    turn(&mut edge);
    client.write_all(b"x").expect("loopback");
    // Loopback mostly delivers inside the write; at the latest a little later.
    let started = Instant::now();
    while edge.start_sleep() {
        edge.end_sleep();
        assert!(started.elapsed() < PATIENCE, "the bytes were overlooked");
    }
    assert_eq!(turn(&mut edge).len(), 1);
    // What end_turn and the turn itself left behind is submitted by a further turn.
    turn(&mut edge);
    assert!(edge.start_sleep());
    edge.end_sleep();
}

#[test]
fn no_wake_up_is_lost_between_two_threads() {
    let mut edge = edge(small());
    let (socket, client) = armed(&mut edge);
    turn(&mut edge);
    let rounds = 20_000_u32;
    // The peer answers at once, so its bytes arrive at every point of going to sleep.
    let peer = std::thread::spawn(move || {
        let mut client = client;
        let mut got = [0; 4];
        for round in 0..rounds {
            client.write_all(&round.to_le_bytes()).expect("loopback");
            client
                .read_exact(&mut got)
                .expect("an answer within the time limit");
            assert_eq!(u32::from_le_bytes(got), round);
        }
    });
    for round in 0..rounds {
        let mut got = Vec::new();
        while got.len() < 4 {
            for event in turn(&mut edge) {
                let Seen::Received(_, part) = event else {
                    panic!("unexpected: {event:?}")
                };
                got.extend(part);
            }
            if got.len() < 4 && edge.start_sleep() {
                assert!(sleep(&edge, 10_000), "lost the wake-up of round {round}");
                edge.end_sleep();
            }
        }
        assert_eq!(send(&mut edge, socket, &got), SendOutcome::Sent);
    }
    peer.join().expect("the peer was answered");
}

#[test]
fn another_thread_wakes_the_sleeper_by_the_eventfd() {
    let mut edge = edge(small());
    turn(&mut edge);
    let woken = Arc::new(AtomicBool::new(false));
    let descriptor = edge.wake_descriptor();
    assert!(edge.start_sleep());
    let seen = Arc::clone(&woken);
    let waker = std::thread::spawn(move || {
        seen.store(true, Ordering::SeqCst);
        let one = 1_u64;
        // SAFETY: eight bytes are written from a number of eight bytes; the kernel lives until
        // the thread was joined.
        let written = unsafe { libc::write(descriptor, (&raw const one).cast(), 8) };
        assert_eq!(written, 8);
    });
    assert!(sleep(&edge, 10_000));
    assert!(woken.load(Ordering::SeqCst));
    edge.end_sleep();
    waker.join().expect("no panic");
}

#[test]
fn a_kernel_with_everything_armed_can_be_dropped() {
    for _ in 0..3 {
        let mut edge = edge(small());
        let number = edge.add_listener(listener().into());
        edge.accept(number, 8);
        let (socket, _client) = armed(&mut edge);
        edge.poll_writable(socket);
        let (descriptor, _other) = connection();
        edge.receive_once(
            HandshakeId {
                slot: 0,
                generation: 1,
            },
            descriptor.as_raw_fd(),
        );
        edge.wake_at(Some(u64::MAX / 2));
        let file = tempfile();
        turn(&mut edge);
        edge.write(file.as_raw_fd(), 0, vec![7; 1 << 20], 1);
        edge.sync_data(file.as_raw_fd(), 2);
        drop(edge);
        drop(descriptor);
    }
}
