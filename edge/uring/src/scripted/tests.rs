//! What a test can script, beyond what the model test compares with the real kernel.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::*;
use crate::event::EndReason;

/// Events of one turn, with bytes copied out.
fn turn(kernel: &mut ScriptedKernel) -> Vec<(String, Vec<u8>)> {
    kernel.enter().expect("this kernel never refuses");
    let mut seen = Vec::new();
    while let Some(event) = kernel.next_event() {
        seen.push(match event {
            Event::Received { bytes, .. } => ("bytes".into(), kernel.bytes_mut(&bytes).to_vec()),
            other => (format!("{other:?}"), Vec::new()),
        });
    }
    kernel.end_turn();
    seen
}

fn install(kernel: &mut ScriptedKernel, descriptor: OwnedFd) -> SocketId {
    let mut out = Vec::new();
    kernel.install(RingGroup::Common, &mut vec![descriptor], &mut out);
    out[0].expect("a slot is free")
}

fn send(kernel: &mut ScriptedKernel, socket: SocketId, bytes: &[u8]) -> SendOutcome {
    let mut outcomes = Vec::new();
    kernel.send(
        &[Send {
            target: SendTarget::Socket(socket),
            bytes,
        }],
        &mut outcomes,
    );
    outcomes[0]
}

#[test]
fn a_full_connection_takes_part_then_nothing_and_tells_when_the_peer_reads() {
    let mut kernel = ScriptedKernel::default();
    let (descriptor, peer) = kernel.socket();
    let socket = install(&mut kernel, descriptor);
    kernel.set_capacity(peer, 10);
    assert_eq!(send(&mut kernel, socket, b"123456"), SendOutcome::Sent);
    assert_eq!(send(&mut kernel, socket, b"789012"), SendOutcome::Short(4));
    assert_eq!(send(&mut kernel, socket, b"12"), SendOutcome::Blocked);
    kernel.poll_writable(socket);
    assert!(turn(&mut kernel).is_empty());
    assert!(kernel.start_sleep());
    assert_eq!(kernel.take_sent(peer), b"1234567890");
    assert_eq!(turn(&mut kernel).len(), 1);
    assert!(turn(&mut kernel).is_empty(), "a poll fires once");
    kernel.script_send(peer, SendOutcome::Blocked);
    kernel.script_send(peer, SendOutcome::Failed(libc::ETIMEDOUT));
    assert_eq!(send(&mut kernel, socket, b"x"), SendOutcome::Blocked);
    assert_eq!(
        send(&mut kernel, socket, b"x"),
        SendOutcome::Failed(libc::ETIMEDOUT)
    );
    assert_eq!(
        send(&mut kernel, socket, b"x"),
        SendOutcome::Failed(libc::EPIPE)
    );
}

#[test]
fn clients_are_accepted_while_accepts_are_armed() {
    let mut kernel = ScriptedKernel::default();
    let listener = kernel.add_listener();
    let from = |port| SocketAddr::from(([10, 0, 0, 1], port));
    let peers: Vec<_> = (1..=3)
        .map(|port| kernel.connect(listener, from(port)))
        .collect();
    assert!(turn(&mut kernel).is_empty());
    kernel.accept(listener, 2);
    kernel.enter().expect("never refuses");
    let mut accepted = Vec::new();
    while let Some(event) = kernel.next_event() {
        let Event::Accepted {
            descriptor, peer, ..
        } = event
        else {
            panic!("{event:?}")
        };
        accepted.push((descriptor, peer));
    }
    assert_eq!(
        accepted.iter().map(|a| a.1).collect::<Vec<_>>(),
        [from(1), from(2)]
    );
    assert!(turn(&mut kernel).is_empty(), "two were to be accepted");
    kernel.accept(listener, 1);
    kernel.fail_accept(listener, libc::EMFILE);
    assert_eq!(turn(&mut kernel).len(), 1);
    assert!(
        turn(&mut kernel).is_empty(),
        "the listener rests after EMFILE"
    );
    kernel.accept(listener, 1);
    assert!(!kernel.start_sleep());
    assert_eq!(turn(&mut kernel).len(), 1);
    // The events of `turn` drop the descriptor, which closes the connection.
    assert!(kernel.is_closed(peers[2]));
    assert!(!kernel.is_closed(peers[0]));
    let (descriptor, _) = accepted.remove(0);
    let socket = install(&mut kernel, descriptor);
    assert_eq!(kernel.installed(peers[0]), Some(socket));
    assert!(!kernel.is_closed(peers[0]));
    kernel.close(socket);
    turn(&mut kernel);
    assert!(kernel.is_closed(peers[0]));
}

#[test]
fn a_turn_receives_twenty_times_and_the_rest_keeps_its_place() {
    let mut kernel = ScriptedKernel::default();
    for number in 0..30_u8 {
        let (descriptor, peer) = kernel.socket();
        let socket = install(&mut kernel, descriptor);
        kernel.arm_receive(socket);
        kernel.inject(peer, &[number; 5000]);
    }
    let bytes = |seen: Vec<(String, Vec<u8>)>| -> Vec<(u8, usize)> {
        seen.iter()
            .map(|(_, bytes)| (bytes[0], bytes.len()))
            .collect()
    };
    let first: Vec<_> = (0..20).map(|number| (number, 4096)).collect();
    assert_eq!(bytes(turn(&mut kernel)), first);
    let second = (20..30).map(|number| (number, 4096));
    let second: Vec<_> = second.chain((0..10).map(|number| (number, 904))).collect();
    let mut got = bytes(turn(&mut kernel));
    got.sort_by_key(|(_, len)| std::cmp::Reverse(*len));
    assert_eq!(got, second);
    assert_eq!(bytes(turn(&mut kernel)).len(), 20);
    assert!(turn(&mut kernel).is_empty());
    assert!(kernel.start_sleep());
}

#[test]
fn delays_end_when_the_clock_reaches_them() {
    let mut kernel = ScriptedKernel::default();
    let file = kernel.add_file(b"");
    kernel.delay_file(file, 500);
    kernel.write(file.descriptor(), 2, b"abc".to_vec(), 1);
    kernel.wake_at(Some(300));
    assert!(turn(&mut kernel).is_empty());
    assert_eq!(kernel.next_due_ns(), Some(300));
    kernel.set_now_ns(300);
    assert_eq!(turn(&mut kernel)[0].0, "Timer");
    assert_eq!(kernel.next_due_ns(), Some(500));
    assert!(kernel.start_sleep());
    kernel.set_now_ns(500);
    assert!(!kernel.start_sleep());
    assert_eq!(
        turn(&mut kernel)[0].0,
        "Written { token: 1, result: 3, buffer: [97, 98, 99] }"
    );
    assert_eq!(kernel.file_bytes(file), b"\0\0abc");
    assert_eq!(kernel.durable_bytes(file), b"");
    kernel.hold_file(file, true);
    kernel.sync_data(file.descriptor(), 2);
    kernel.set_now_ns(5_000);
    assert!(turn(&mut kernel).is_empty());
    kernel.hold_file(file, false);
    assert_eq!(turn(&mut kernel)[0].0, "Synced { token: 2, result: 0 }");
    assert_eq!(kernel.durable_bytes(file), b"\0\0abc");
}

#[test]
fn faults_of_writes_and_syncs_decide_what_survives_a_crash() {
    let mut kernel = ScriptedKernel::default();
    let file = kernel.add_file(b"........");
    let descriptor = file.descriptor();
    kernel.fail_write(file, WriteFault::Fail(libc::ENOSPC));
    kernel.fail_write(file, WriteFault::Short(1));
    kernel.write(descriptor, 0, b"AA".to_vec(), 1);
    kernel.write(descriptor, 0, b"BB".to_vec(), 2);
    let seen = turn(&mut kernel);
    assert_eq!(
        seen[0].0,
        "Written { token: 1, result: -28, buffer: [65, 65] }"
    );
    assert_eq!(
        seen[1].0,
        "Written { token: 2, result: 1, buffer: [66, 66] }"
    );
    assert_eq!(kernel.file_bytes(file), b"B.......");
    // A sync that fails loses what it covered, and a later sync does not bring it back.
    kernel.fail_sync(file, libc::EIO);
    kernel.sync_data(descriptor, 3);
    kernel.sync_data(descriptor, 4);
    let seen = turn(&mut kernel);
    assert_eq!(seen[0].0, "Synced { token: 3, result: -5 }");
    assert_eq!(seen[1].0, "Synced { token: 4, result: 0 }");
    assert_eq!(kernel.durable_bytes(file), b"........");
    // Two writes: the crash loses one and tears the other; one under way is forgotten.
    kernel.write(descriptor, 2, b"CC".to_vec(), 5);
    kernel.write(descriptor, 4, b"DDDD".to_vec(), 6);
    turn(&mut kernel);
    kernel.write(descriptor, 0, b"EE".to_vec(), 7);
    kernel.crash_file(file, |offset, _| if offset == 2 { 0 } else { 3 });
    assert_eq!(kernel.file_bytes(file), b"....DDD.");
    assert!(turn(&mut kernel).is_empty());
    kernel.write(1, 0, vec![], 8);
    assert_eq!(
        turn(&mut kernel)[0].0,
        "Written { token: 8, result: -9, buffer: [] }"
    );
}

#[test]
fn a_handshake_on_a_descriptor_that_is_not_a_connection_fails() {
    let mut kernel = ScriptedKernel::default();
    let handshake = HandshakeId {
        slot: 1,
        generation: 1,
    };
    kernel.receive_once(handshake, kernel.wake_descriptor());
    kernel.enter().expect("never refuses");
    let event = kernel.next_event();
    let failed = EndReason::Failed(libc::EBADF);
    assert!(
        matches!(&event, Some(Event::HandshakeEnded { reason, .. }) if *reason == failed),
        "{event:?}"
    );
    let (descriptor, peer) = kernel.socket();
    kernel.receive_once(handshake, descriptor.as_raw_fd());
    kernel.inject(peer, b"hello");
    kernel.enter().expect("never refuses");
    let Some(Event::HandshakeReceived { bytes, .. }) = kernel.next_event() else {
        panic!("bytes were injected")
    };
    assert_eq!(kernel.bytes_mut(&bytes), b"hello");
}
