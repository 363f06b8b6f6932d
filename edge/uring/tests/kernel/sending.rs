//! Sends on the real kernel: outcomes, full sockets, several rings, full queues.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use interlink_uring::{
    EdgeRing, HandshakeId, Kernel, RingConfig, Send, SendOutcome, SendTarget, SocketId,
};

use crate::support::{
    armed, collect, connection, edge, pattern, receive, send, small, turns_until, Seen,
};

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
fn sends_to_descriptors_and_sockets_of_several_rings_share_a_batch() {
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

/// Connections of which each third is broken: its sends fail for ever.
fn partly_broken(edge: &mut EdgeRing, count: usize) -> Vec<(SocketId, TcpStream)> {
    let mut living: Vec<_> = (0..count).map(|_| armed(edge)).collect();
    for (socket, client) in living.iter_mut().step_by(3) {
        assert_eq!(send(edge, *socket, b"unread"), SendOutcome::Sent);
        client.peek(&mut [0; 1]).expect("the bytes arrive");
        // Closing with unread bytes resets the connection.
        *client = connection().1;
        let ended = collect(edge, 1);
        assert!(
            matches!(&ended[0], Seen::Other(text) if text.contains("Failed")),
            "{ended:?}"
        );
    }
    living
}

/// The outcomes that such connections show.
fn partly_failed(count: usize) -> Vec<SendOutcome> {
    let outcome = |index| match index % 3 {
        0 => SendOutcome::Failed(libc::EPIPE),
        _ => SendOutcome::Sent,
    };
    (0..count).map(outcome).collect()
}

#[test]
fn outcomes_of_sends_are_found_behind_an_overflown_completion_queue() {
    let config = RingConfig {
        submission_entries: 128,
        completion_entries: 256,
        ..small()
    };
    let mut edge = edge(config);
    let mut living = partly_broken(&mut edge, 2);
    let (open, mut open_client) = living.pop().expect("two were made");
    let (broken, _) = living[0];
    // Each of these fails when it is submitted: more completions than the queue holds.
    for slot in 0..600 {
        edge.receive_once(
            HandshakeId {
                slot,
                generation: 1,
            },
            -1,
        );
    }
    let failed = SendOutcome::Failed(libc::EPIPE);
    assert_eq!(send(&mut edge, broken, b"x"), failed);
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
    let config = RingConfig {
        submission_entries: 128,
        completion_entries: 256,
        ..small()
    };
    let mut edge = edge(config);
    let living = partly_broken(&mut edge, 32);
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
                HandshakeId {
                    slot,
                    generation: queued,
                },
                -1,
            );
        }
        edge.send(&batch, &mut outcomes);
        assert_eq!(outcomes, partly_failed(32), "with {queued} entries queued");
        let mut ended = 0;
        turns_until(&mut edge, |seen| {
            ended += seen.len() as u32;
            ended == queued
        });
    }
}
