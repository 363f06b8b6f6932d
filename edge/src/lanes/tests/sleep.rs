//! Doorbells: who is woken, and that nobody sleeps through a push.

use crate::lanes::{mesh, Doorbell, Port};
use interlink_protocol::priority::Priority;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// An eventfd as a shard has it: blocking, each read takes the whole count.
fn eventfd() -> File {
    // SAFETY: the call takes plain values and makes a new descriptor.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(descriptor >= 0);
    // SAFETY: the descriptor was just made and has no other owner.
    unsafe { File::from_raw_fd(descriptor) }
}

/// Waits for a wake-up for at most so long, reads and returns its count; 0 when none came.
fn wait(wake: &File, timeout_ms: i32) -> u64 {
    let mut poll = libc::pollfd {
        fd: wake.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer names one valid structure for the time of the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
    if ready != 1 {
        return 0;
    }
    let mut count = [0; 8];
    let mut file = wake;
    file.read_exact(&mut count).expect("read the eventfd");
    u64::from_ne_bytes(count)
}

fn pair() -> (Port<u64>, Port<u64>, File) {
    let mut ports = mesh(2).expect("mesh");
    let (taker, pusher) = (ports.pop(), ports.pop());
    let (taker, pusher) = (taker.expect("two ports"), pusher.expect("two ports"));
    let wake = eventfd();
    taker.receiver.attach(wake.as_raw_fd()).expect("attach");
    (pusher, taker, wake)
}

#[test]
fn only_a_parked_taker_is_woken_and_only_once() {
    let (mut pusher, taker, wake) = pair();
    pusher.sender.push(1, Priority::P1, 1).expect("room");
    pusher.sender.flush();
    assert_eq!(wait(&wake, 0), 0, "the taker is awake");
    let mut out = Vec::new();
    let mut taker = taker;
    taker.receiver.take(64, &mut out);
    assert!(taker.receiver.park());
    for number in 0..3 {
        pusher.sender.push(1, Priority::P1, number).expect("room");
        pusher.sender.flush();
    }
    assert_eq!(wait(&wake, 0), 1, "one wake-up for one sleep");
    taker.receiver.unpark();
}

#[test]
fn nobody_parks_while_something_waits() {
    let (mut pusher, mut taker, wake) = pair();
    pusher.sender.push(1, Priority::P3, 1).expect("room");
    assert!(!taker.receiver.park());
    pusher.sender.flush();
    assert_eq!(wait(&wake, 0), 0, "a failed park leaves the taker awake");
    taker.receiver.take(64, &mut Vec::new());
    assert!(taker.receiver.park());
}

#[test]
fn a_flush_without_news_wakes_nobody() {
    let (mut pusher, taker, wake) = pair();
    assert!(taker.receiver.park());
    pusher.sender.flush();
    assert_eq!(wait(&wake, 0), 0);
}

#[test]
fn a_bell_never_writes_to_a_descriptor_that_was_closed_and_reused() {
    let (mut pusher, taker, wake) = pair();
    let number = wake.as_raw_fd();
    drop(wake);
    let reused = eventfd();
    let is_reused = reused.as_raw_fd() == number;
    assert!(taker.receiver.park());
    pusher.sender.push(1, Priority::P0, 1).expect("room");
    pusher.sender.flush();
    assert_eq!(wait(&reused, 0), 0, "reused: {is_reused}");
}

/// Three pushers against a taker that sleeps whenever nothing waits. A lost wake-up shows as
/// the time-out of its sleep; lost or reordered entries show in the numbers.
#[test]
fn no_push_is_slept_through() {
    const ENTRIES: u64 = 40_000;
    let mut ports = mesh::<u64>(4).expect("mesh");
    let mut taker = ports.remove(0);
    let wake = eventfd();
    taker.receiver.attach(wake.as_raw_fd()).expect("attach");
    // Not scoped: a failed check must not wait for pushers that wait for room.
    let pushers = ports
        .into_iter()
        .map(|port| std::thread::spawn(|| push_all(port, ENTRIES)));
    let pushers: Vec<_> = pushers.collect();
    let mut next = [[0; Priority::COUNT]; 4];
    let (mut taken, mut sleeps, mut out) = (0, 0, Vec::new());
    while taken < 3 * ENTRIES {
        out.clear();
        if taker.receiver.take(64, &mut out) == 0 && taker.receiver.park() {
            assert!(wait(&wake, 20_000) > 0, "asleep with {taken} taken");
            taker.receiver.unpark();
            sleeps += 1;
        }
        for entry in &out {
            let expected = &mut next[entry.from][entry.priority.index()];
            assert_eq!(entry.entry, *expected);
            *expected += 1;
        }
        taken += out.len() as u64;
    }
    assert!(sleeps > 0, "the test never slept and proves nothing");
    for pusher in pushers {
        pusher.join().expect("pushed all");
    }
    assert!(taker.receiver.is_empty());
}

/// Pushes in turns of up to seven entries, as a shard does, with a flush after each.
fn push_all(mut port: Port<u64>, entries: u64) {
    let mut next = [0; Priority::COUNT];
    let mut pushed = 0;
    while pushed < entries {
        for step in 0..(pushed % 7 + 1).min(entries - pushed) {
            let priority = Priority::ALL[((pushed + step) % 4) as usize];
            while port
                .sender
                .push(0, priority, next[priority.index()])
                .is_err()
            {
                port.sender.flush();
                std::thread::yield_now();
            }
            next[priority.index()] += 1;
        }
        pushed += (pushed % 7 + 1).min(entries - pushed);
        port.sender.flush();
        if pushed % 64 < 7 {
            std::thread::yield_now();
        }
    }
}

/// One piece of work against one park at the same moment, again and again with a shifting
/// distance. Either the taker sees the work before it sleeps or the bell finds it parked; the
/// window in which a missing fence loses both is a few nanoseconds wide, hence the bare bell.
/// Without the taker's fence the test fails after 100,000 to 320,000 rounds on two cores.
#[test]
fn work_at_the_moment_of_parking_is_seen_or_wakes() {
    const ROUNDS: u64 = 400_000;
    let (bell, wake) = (Doorbell::new(), eventfd());
    bell.attach(wake.as_raw_fd()).expect("attach");
    let (round, work) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=ROUNDS {
                let mut spins = 0;
                while round.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                    spins += 1;
                    if spins % 1_000 == 0 {
                        std::thread::yield_now();
                    }
                }
                (0..number % 61).for_each(|_| std::hint::spin_loop());
                work.store(number, Ordering::Relaxed);
                bell.ring();
            }
        });
        for number in 1..=ROUNDS {
            round.store(number, Ordering::Release);
            (0..number % 53).for_each(|_| std::hint::spin_loop());
            bell.park();
            if work.load(Ordering::Relaxed) < number && wait(&wake, 10_000) == 0 {
                round.store(u64::MAX, Ordering::Release);
                panic!("asleep in round {number}");
            }
            bell.unpark();
        }
    });
}
