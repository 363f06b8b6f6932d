//! Installed connections on the real kernel: receive, send, close, and what goes wrong.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::support::{
    armed, collect, connection, edge, install, pattern, receive, send, small, turn, turns_until,
    Seen,
};
use interlink_uring::{Event, Kernel, RingConfig, RingGroup, SendOutcome};

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

#[test]
fn long_streams_arrive_whole_across_the_end_of_the_buffers() {
    for bundled_receive in [true, false] {
        let mut edge = edge(RingConfig {
            first_ring_buffers: 8,
            bundled_receive,
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
        let most = if edge.features().bundled_receive {
            4096
        } else {
            2048
        };
        assert_eq!(longest, most, "a receive fills what it may");
        writer.join().expect("no panic").expect("loopback");
    }
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
fn sixty_four_descriptors_fill_two_small_rings_and_the_rest_is_refused() {
    let config = RingConfig {
        slots_per_ring: 30,
        rings_max: 2,
        ..small()
    };
    let mut edge = edge(config);
    let (mut descriptors, clients): (Vec<_>, Vec<_>) = (0..66).map(|_| connection()).unzip();
    let mut answers = Vec::new();
    edge.install(RingGroup::Common, &mut descriptors, &mut answers);
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
fn bytes_of_urgent_connections_come_before_those_of_all_others() {
    let mut edge = edge(small());
    let (mut descriptors, commons): (Vec<_>, Vec<_>) = (0..40).map(|_| connection()).unzip();
    let mut answers = Vec::new();
    edge.install(RingGroup::Common, &mut descriptors, &mut answers);
    let (descriptor, mut urgent_client) = connection();
    let mut urgent = Vec::new();
    edge.install(RingGroup::Urgent, &mut vec![descriptor], &mut urgent);
    let urgent = urgent[0].expect("a ring of its own");
    assert_eq!(urgent.ring(), 1);
    for socket in answers.iter().filter_map(|answer| answer.ok()) {
        edge.arm_receive(socket);
    }
    edge.arm_receive(urgent);
    edge.enter().expect("armed");
    // The visit that the last turn ended in would go on with the others.
    (&commons[0]).write_all(b"common").expect("loopback");
    edge.enter().expect("received");
    edge.next_event().expect("bytes have come");
    edge.end_turn();
    for mut client in &commons {
        client.write_all(b"common").expect("loopback");
    }
    urgent_client.write_all(b"urgent").expect("loopback");
    edge.enter().expect("received");
    let first = edge.next_event().expect("bytes have come");
    assert!(
        matches!(first, Event::Received { socket, .. } if socket == urgent),
        "{first:?}"
    );
    edge.end_turn();
}

#[test]
fn urgent_connections_that_send_much_leave_the_turn_to_others() {
    let mut edge = edge(small());
    let (common, mut common_client) = armed(&mut edge);
    let (mut descriptors, urgents): (Vec<_>, Vec<_>) = (0..10).map(|_| connection()).unzip();
    let mut answers = Vec::new();
    edge.install(RingGroup::Urgent, &mut descriptors, &mut answers);
    for socket in answers.iter().filter_map(|answer| answer.ok()) {
        edge.arm_receive(socket);
    }
    edge.enter().expect("armed");
    for mut client in &urgents {
        client.write_all(&[1; 4096]).expect("loopback");
    }
    common_client.write_all(b"common").expect("loopback");
    edge.enter().expect("received");
    let mut urgent_bytes = 0;
    loop {
        match edge.next_event().expect("the other's bytes have come") {
            Event::Received { socket, .. } if socket == common => break,
            Event::Received { bytes, .. } => urgent_bytes += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert!((4096..8192).contains(&urgent_bytes), "{urgent_bytes}");
    edge.end_turn();
}

#[test]
fn urgent_connections_share_the_other_rings_when_no_further_one_may_be_opened() {
    let mut edge = edge(RingConfig {
        rings_max: 1,
        ..small()
    });
    let (descriptor, _client) = connection();
    let mut answers = Vec::new();
    edge.install(RingGroup::Urgent, &mut vec![descriptor], &mut answers);
    assert_eq!(answers[0].expect("a slot").ring(), 0);
}

#[test]
fn when_the_other_rings_are_full_free_slots_of_urgent_ones_are_used() {
    let mut edge = edge(RingConfig {
        rings_max: 2,
        slots_per_ring: 2,
        ..small()
    });
    let mut rings = Vec::new();
    let mut clients = Vec::new();
    for group in [RingGroup::Urgent]
        .into_iter()
        .chain([RingGroup::Common; 4])
    {
        let (descriptor, client) = connection();
        let mut answers = Vec::new();
        edge.install(group, &mut vec![descriptor], &mut answers);
        rings.push(answers[0].map(|socket| socket.ring()));
        clients.push(client);
    }
    assert_eq!(rings, [Ok(1), Ok(0), Ok(0), Ok(1), Err(libc::ENFILE)]);
}

#[test]
fn more_slots_than_open_files_are_refused_with_the_cure() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call fills the struct that it is given.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(answer, 0);
    let Ok(files @ ..1_000_000) = u32::try_from(limit.rlim_cur) else {
        return;
    };
    let config = RingConfig {
        slots_per_ring: files + 1,
        ..small()
    };
    let refused = interlink_uring::EdgeRing::new(config)
        .err()
        .expect("too many slots");
    let text = refused.to_string();
    assert!(
        text.contains("LimitNOFILE") && text.contains("ring 0"),
        "{text}"
    );
}
