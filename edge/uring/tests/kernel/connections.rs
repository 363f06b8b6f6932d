//! Installed connections on the real kernel: receive, send, close, and what goes wrong.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::support::{
    armed, collect, connection, edge, install, receive, send, small, turn, turns_until, Seen,
};
use interlink_uring::{Kernel, RingConfig, SendOutcome};

#[test]
fn bytes_arrive_and_answers_leave() {
    let mut edge = edge(small());
    let (socket, mut client) = armed(&mut edge);
    client.write_all(b"hello").expect("loopback");
    assert_eq!(receive(&mut edge, socket, 5), b"hello");
    assert_eq!(send(&mut edge, socket, b"world"), SendOutcome::Sent);
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("loopback");
    assert_eq!(&answer, b"world");
}

#[test]
fn received_bytes_may_be_changed_in_place() {
    let mut edge = edge(small());
    let (_, mut client) = armed(&mut edge);
    client.write_all(&[1; 100]).expect("loopback");
    loop {
        edge.enter().expect("the ring takes entries");
        if let Some(interlink_uring::Event::Received { bytes, .. }) = edge.next_event() {
            for byte in edge.bytes_mut(&bytes) {
                *byte ^= 3;
            }
            assert!(edge.bytes_mut(&bytes).iter().all(|byte| *byte == 2));
            return;
        }
    }
}

#[test]
#[should_panic(expected = "end with their turn")]
fn received_bytes_cannot_be_used_after_the_turn() {
    let mut edge = edge(small());
    let (_, mut client) = armed(&mut edge);
    client.write_all(b"x").expect("loopback");
    loop {
        edge.enter().expect("the ring takes entries");
        if let Some(interlink_uring::Event::Received { bytes, .. }) = edge.next_event() {
            edge.end_turn();
            edge.bytes_mut(&bytes);
        }
    }
}

/// Bytes whose value follows from their place, so that a swapped or lost buffer shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn long_streams_arrive_whole_across_the_end_of_the_buffers() {
    let mut edge = edge(RingConfig {
        first_ring_buffers: 8,
        ..small()
    });
    let (socket, client) = armed(&mut edge);
    let sent = pattern(1_000_003);
    let copy = sent.clone();
    let writer = std::thread::spawn(move || (&client).write_all(&copy).map(|()| client));
    let mut got = Vec::new();
    let mut longest = 0;
    turns_until(&mut edge, |seen| {
        for event in seen {
            let Seen::Received(from, part) = event else {
                panic!("unexpected: {event:?}")
            };
            assert_eq!(from, socket);
            longest = longest.max(part.len());
            got.extend(part);
        }
        got.len() >= sent.len()
    });
    assert!(got == sent, "the stream was torn");
    if edge.features().bundled_receive {
        assert!(longest > 2048, "no receive spanned two buffers");
    }
    writer.join().expect("no panic").expect("loopback");
}

#[test]
fn receives_that_ran_out_of_buffers_go_on_by_themselves() {
    let mut edge = edge(RingConfig {
        first_ring_buffers: 2,
        ..small()
    });
    let mut clients: Vec<_> = (0..12).map(|_| armed(&mut edge)).collect();
    turn(&mut edge);
    let mut left = clients.len() * 9_000;
    let mut got = vec![Vec::new(); clients.len()];
    for (_, client) in &mut clients {
        client
            .write_all(&pattern(9_000))
            .expect("fits into the socket buffers");
    }
    turns_until(&mut edge, |seen| {
        for event in seen {
            let Seen::Received(from, part) = event else {
                panic!("unexpected: {event:?}")
            };
            let client = clients.iter().position(|(socket, _)| *socket == from);
            left -= part.len();
            got[client.expect("a known socket")].extend(part);
        }
        left == 0
    });
    assert!(
        edge.counters().starved > 0,
        "two buffers were enough: the test shows nothing"
    );
    assert!(got.iter().all(|bytes| *bytes == pattern(9_000)));
}

#[test]
fn the_end_of_a_stream_is_reported_after_its_bytes() {
    let mut edge = edge(small());
    let (socket, mut client) = armed(&mut edge);
    client.write_all(b"last words").expect("loopback");
    client.shutdown(Shutdown::Write).expect("loopback");
    let seen = collect(&mut edge, 2);
    assert_eq!(seen[0], Seen::Received(socket, b"last words".to_vec()));
    let ended = format!("ReceiveEnded {{ socket: {socket:?}, reason: Closed }}");
    assert_eq!(seen[1], Seen::Other(ended));
}

#[test]
fn a_reset_by_the_peer_fails_the_receive_and_the_next_send() {
    let mut edge = edge(small());
    let (socket, client) = armed(&mut edge);
    turn(&mut edge);
    // Closing with unread bytes resets the connection.
    assert_eq!(send(&mut edge, socket, b"unread"), SendOutcome::Sent);
    client.peek(&mut [0; 1]).expect("the byte arrives");
    drop(client);
    let reset = libc::ECONNRESET;
    let ended = format!("ReceiveEnded {{ socket: {socket:?}, reason: Failed({reset}) }}");
    assert_eq!(collect(&mut edge, 1), [Seen::Other(ended)]);
    assert_eq!(
        send(&mut edge, socket, b"late"),
        SendOutcome::Failed(libc::EPIPE)
    );
    assert_eq!(edge.counters().sends_failed, 1);
}

#[test]
fn a_full_socket_takes_part_then_nothing_then_tells_when_it_takes_more() {
    let mut edge = edge(small());
    let (socket, mut client) = armed(&mut edge);
    let bytes = pattern(16 << 20);
    let SendOutcome::Short(first) = send(&mut edge, socket, &bytes) else {
        panic!("16 MiB cannot fit into a socket")
    };
    let mut sent = first as usize;
    loop {
        match send(&mut edge, socket, &bytes[sent..]) {
            SendOutcome::Short(more) => sent += more as usize,
            SendOutcome::Blocked => break,
            other => panic!("unexpected: {other:?}"),
        }
    }
    edge.poll_writable(socket);
    edge.poll_writable(socket);
    assert!(
        turn(&mut edge).is_empty(),
        "nothing was read, so nothing more fits"
    );
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 16 << 20];
        client.read_exact(&mut all).map(|()| all)
    });
    while sent < bytes.len() {
        match send(&mut edge, socket, &bytes[sent..]) {
            SendOutcome::Short(more) => sent += more as usize,
            SendOutcome::Sent => sent = bytes.len(),
            SendOutcome::Blocked => {
                edge.poll_writable(socket);
                let writable = Seen::Other(format!("Writable {{ socket: {socket:?} }}"));
                assert_eq!(collect(&mut edge, 1), [writable]);
            }
            SendOutcome::Failed(errno) => panic!("send failed with {errno}"),
        }
    }
    assert!(reader.join().expect("no panic").expect("loopback") == bytes);
    assert_eq!(edge.counters().sent_bytes, 16 << 20);
}

#[test]
fn a_closed_connection_ends_for_the_peer_and_its_slot_is_used_again() {
    let config = RingConfig {
        slots_per_ring: 1,
        rings_max: 1,
        ..small()
    };
    let mut edge = edge(config);
    let (old, mut client) = armed(&mut edge);
    turn(&mut edge);
    client.write_all(b"never read").expect("loopback");
    edge.poll_writable(old);
    edge.close(old);
    edge.close(old);
    let closed = Seen::Other(format!("Closed {{ socket: {old:?} }}"));
    assert_eq!(collect(&mut edge, 1), [closed]);
    // The peer sees the end (a reset, since bytes were unread).
    assert!(matches!(client.read(&mut [0; 8]), Ok(0) | Err(_)));

    let (new, mut client) = armed(&mut edge);
    assert_eq!(new.slot(), old.slot());
    assert_ne!(new, old);
    edge.arm_receive(old);
    edge.stop_receive(old);
    edge.poll_writable(old);
    edge.close(old);
    assert_eq!(
        send(&mut edge, old, b"to nobody"),
        SendOutcome::Failed(libc::EBADF)
    );
    client.write_all(b"fresh").expect("loopback");
    assert_eq!(receive(&mut edge, new, 5), b"fresh");
}

#[test]
fn a_slot_is_used_again_in_the_very_submit_that_frees_it() {
    let mut edge = edge(RingConfig {
        slots_per_ring: 4,
        ..small()
    });
    let mut living: Vec<_> = (0..4).map(|_| armed(&mut edge)).collect();
    for round in 0_u8..50 {
        let (socket, mut client) = living.remove(0);
        client.write_all(&[0xee; 64]).expect("loopback");
        edge.close(socket);
        living.push(armed(&mut edge));
        for (index, (_, client)) in living.iter_mut().enumerate() {
            client.write_all(&[round, index as u8]).expect("loopback");
        }
        let mut got = vec![Vec::new(); 4];
        let mut closed = false;
        turns_until(&mut edge, |seen| {
            for event in seen {
                match event {
                    Seen::Received(from, part) => {
                        let index = living.iter().position(|(socket, _)| *socket == from);
                        got[index.expect("only the living receive")].extend(part);
                    }
                    Seen::Other(text) => {
                        assert_eq!(text, format!("Closed {{ socket: {socket:?} }}"));
                        closed = true;
                    }
                    other => panic!("unexpected: {other:?}"),
                }
            }
            closed && got.iter().all(|bytes| bytes.len() == 2)
        });
        for (index, bytes) in got.iter().enumerate() {
            assert_eq!(bytes, &[round, index as u8]);
        }
    }
    assert_eq!(edge.counters().closed, 50);
}

#[test]
fn a_stopped_receive_keeps_the_bytes_in_the_socket_until_it_is_armed_again() {
    let mut edge = edge(small());
    let (socket, mut client) = armed(&mut edge);
    turn(&mut edge);
    edge.stop_receive(socket);
    let ended = Seen::Other(format!(
        "ReceiveEnded {{ socket: {socket:?}, reason: Stopped }}"
    ));
    assert_eq!(collect(&mut edge, 1), std::slice::from_ref(&ended));
    client.write_all(b"later").expect("loopback");
    assert!(turn(&mut edge).is_empty());
    edge.stop_receive(socket);
    assert!(
        turn(&mut edge).is_empty(),
        "nothing is armed, so nothing ends"
    );
    edge.arm_receive(socket);
    assert_eq!(receive(&mut edge, socket, 5), b"later");
    // Stopped and armed again within a turn: the end is reported, the receive goes on.
    edge.stop_receive(socket);
    edge.arm_receive(socket);
    assert_eq!(collect(&mut edge, 1), [ended]);
    client.write_all(b"again").expect("loopback");
    assert_eq!(receive(&mut edge, socket, 5), b"again");
}

#[test]
fn many_closes_are_spread_over_turns_and_all_end() {
    let mut edge = edge(RingConfig {
        slots_per_ring: 128,
        ..small()
    });
    let living: Vec<_> = (0..100).map(|_| armed(&mut edge)).collect();
    turn(&mut edge);
    for (socket, _) in &living {
        edge.close(*socket);
    }
    let first = turn(&mut edge).len();
    assert!(first <= 32, "{first} closes in one turn");
    assert!(!edge.start_sleep(), "closes are waiting");
    let mut closed = first;
    turns_until(&mut edge, |seen| {
        closed += seen.len();
        closed == 100
    });
    assert_eq!(edge.counters().closed, 100);
}

#[test]
fn sends_to_descriptors_and_sockets_of_several_rings_share_a_batch() {
    use interlink_uring::{Send, SendTarget};
    use std::os::fd::AsRawFd;
    let mut edge = edge(RingConfig {
        slots_per_ring: 2,
        ..small()
    });
    let (plain, mut plain_client) = connection();
    let mut living: Vec<_> = (0..6).map(|_| armed(&mut edge)).collect();
    assert_eq!(edge.counters().rings_open, 3);
    let (gone, _) = living.pop().expect("six were made");
    edge.close(gone);
    let mut batch: Vec<_> = living
        .iter()
        .map(|(socket, _)| Send {
            target: SendTarget::Socket(*socket),
            bytes: b"to a slot",
        })
        .collect();
    batch.push(Send {
        target: SendTarget::Socket(gone),
        bytes: b"to nobody",
    });
    batch.push(Send {
        target: SendTarget::Descriptor(plain.as_raw_fd()),
        bytes: b"plainly",
    });
    let (last, _) = &living[0];
    let mut outcomes = Vec::new();
    edge.send(&batch, &mut outcomes);
    let mut wanted = vec![SendOutcome::Sent; 7];
    wanted[5] = SendOutcome::Failed(libc::EBADF);
    assert_eq!(outcomes, wanted);
    assert_eq!(send(&mut edge, *last, b""), SendOutcome::Sent);
    for (_, client) in &mut living {
        let mut got = [0; 9];
        client.read_exact(&mut got).expect("loopback");
        assert_eq!(&got, b"to a slot");
    }
    let mut got = [0; 7];
    plain_client.read_exact(&mut got).expect("loopback");
    assert_eq!(&got, b"plainly");
}

#[test]
fn sixty_four_descriptors_fill_two_small_rings_and_the_rest_is_refused() {
    let config = RingConfig {
        slots_per_ring: 30,
        rings_max: 2,
        ..small()
    };
    let mut edge = edge(config);
    let (mut descriptors, clients): (Vec<_>, Vec<_>) = (0..66).map(|_| connection()).unzip();
    let mut answers = Vec::new();
    edge.install(&mut descriptors, &mut answers);
    assert_eq!(descriptors.len(), 2, "only a batch is taken");
    assert_eq!(answers.len(), 64);
    let installed: Vec<_> = answers.iter().filter_map(|answer| answer.ok()).collect();
    assert_eq!(installed.len(), 60);
    assert!(answers[60..]
        .iter()
        .all(|answer| *answer == Err(libc::ENFILE)));
    for (socket, mut client) in installed.iter().zip(&clients) {
        assert_eq!(
            send(&mut edge, *socket, &socket.as_u64().to_le_bytes()),
            SendOutcome::Sent
        );
        let mut got = [0; 8];
        client.read_exact(&mut got).expect("loopback");
        assert_eq!(u64::from_le_bytes(got), socket.as_u64());
    }
    // A refused connection is closed.
    assert_eq!((&clients[63]).read(&mut [0; 1]).expect("a clean end"), 0);
    // A slot that comes free is found again, in whichever ring.
    edge.close(installed[45]);
    collect(&mut edge, 1);
    let (descriptor, _client) = connection();
    let socket = install(&mut edge, descriptor);
    assert_eq!((socket.ring(), socket.slot()), (1, installed[45].slot()));
}

#[test]
fn outcomes_of_sends_are_found_behind_an_overflown_completion_queue() {
    let config = RingConfig {
        submission_entries: 128,
        completion_entries: 256,
        ..small()
    };
    let mut edge = edge(config);
    let (full, _full_client) = armed(&mut edge);
    let (open, mut open_client) = armed(&mut edge);
    let flood = pattern(16 << 20);
    while send(&mut edge, full, &flood) != SendOutcome::Blocked {}
    // Each of these fails when it is submitted: more completions than the queue holds.
    for slot in 0..600 {
        edge.receive_once(
            interlink_uring::HandshakeId {
                slot,
                generation: 1,
            },
            -1,
        );
    }
    assert_eq!(send(&mut edge, full, b"x"), SendOutcome::Blocked);
    assert!(
        edge.counters().overflow_flushes > 0,
        "nothing overflowed: the test shows nothing"
    );
    assert_eq!(send(&mut edge, open, b"y"), SendOutcome::Sent);
    let mut got = [0; 1];
    open_client.read_exact(&mut got).expect("loopback");
    let mut ended = 0;
    turns_until(&mut edge, |seen| {
        ended += seen.len();
        ended == 600
    });
    open_client.write_all(b"still served").expect("loopback");
    assert_eq!(receive(&mut edge, open, 12), b"still served");
}

#[test]
fn a_batch_that_finds_the_submission_queue_almost_full_keeps_its_outcomes_apart() {
    use interlink_uring::{Send, SendTarget};
    let config = RingConfig {
        submission_entries: 128,
        completion_entries: 256,
        ..small()
    };
    let mut edge = edge(config);
    let living: Vec<_> = (0..32).map(|_| armed(&mut edge)).collect();
    let flood = pattern(16 << 20);
    for (socket, _) in living.iter().step_by(3) {
        while send(&mut edge, *socket, &flood) != SendOutcome::Blocked {}
    }
    let batch: Vec<_> = living
        .iter()
        .map(|(socket, _)| Send {
            target: SendTarget::Socket(*socket),
            bytes: b"batch",
        })
        .collect();
    let mut outcomes = Vec::new();
    for queued in 96..=128 {
        for slot in 0..queued {
            edge.receive_once(
                interlink_uring::HandshakeId {
                    slot,
                    generation: queued,
                },
                -1,
            );
        }
        edge.send(&batch, &mut outcomes);
        for (index, outcome) in outcomes.iter().enumerate() {
            let wanted = if index % 3 == 0 {
                SendOutcome::Blocked
            } else {
                SendOutcome::Sent
            };
            assert_eq!(
                *outcome, wanted,
                "send {index} with {queued} entries queued"
            );
        }
        let mut ended = 0;
        turns_until(&mut edge, |seen| {
            ended += seen.len() as u32;
            ended == queued
        });
    }
}
