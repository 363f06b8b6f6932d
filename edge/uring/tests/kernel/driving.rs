//! The plain driver: turns, sleeps and the end.

use std::io::{Read, Write};
use std::time::Duration;

use interlink_uring::driver::{monotonic_ns, run, Next, Turn};
use interlink_uring::{Event, Kernel, Send, SendTarget};

use crate::support::{armed, edge, small};

/// Echoes until the peer ends its stream; counts turns and timers.
struct Echo {
    turns: u64,
    timers: u64,
    period_ns: Option<u64>,
    next_ns: Option<u64>,
    stop_after_timers: u64,
}

impl Turn for Echo {
    fn turn(&mut self, kernel: &mut impl Kernel, now_ns: u64) -> Next {
        self.turns += 1;
        let mut outcomes = Vec::new();
        while let Some(event) = kernel.next_event() {
            match event {
                Event::Received { socket, bytes } => {
                    let bytes = kernel.bytes_mut(&bytes).to_vec();
                    let target = SendTarget::Socket(socket);
                    kernel.send(
                        &[Send {
                            target,
                            bytes: &bytes,
                        }],
                        &mut outcomes,
                    );
                }
                Event::ReceiveEnded { socket, .. } => kernel.close(socket),
                Event::Closed { .. } => return Next::Stop,
                Event::Timer => {
                    self.timers += 1;
                    self.next_ns = None;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        if self.stop_after_timers != 0 && self.timers >= self.stop_after_timers {
            return Next::Stop;
        }
        if let (None, Some(period)) = (self.next_ns, self.period_ns) {
            self.next_ns = Some(now_ns + period);
        }
        Next::SleepUntil(self.next_ns)
    }
}

#[test]
fn a_driven_echo_sleeps_between_messages_and_ends() {
    let mut edge = edge(small());
    let (_, mut client) = armed(&mut edge);
    let peer = std::thread::spawn(move || {
        for round in 0..200_u32 {
            client.write_all(&round.to_le_bytes()).expect("loopback");
            let mut answer = [0; 4];
            client
                .read_exact(&mut answer)
                .expect("an echo within the time limit");
            assert_eq!(u32::from_le_bytes(answer), round);
        }
    });
    let mut echo = Echo {
        turns: 0,
        timers: 0,
        period_ns: None,
        next_ns: None,
        stop_after_timers: 0,
    };
    run(&mut edge, &mut echo).expect("the kernel stays usable");
    peer.join().expect("all rounds were echoed");
    assert_eq!(edge.counters().sends, 200);
    assert!(edge.counters().sleeps > 0);
}

#[test]
fn the_driver_wakes_at_each_deadline() {
    let mut edge = edge(small());
    let period_ns = Some(5_000_000);
    let mut echo = Echo {
        turns: 0,
        timers: 0,
        period_ns,
        next_ns: None,
        stop_after_timers: 4,
    };
    let start = monotonic_ns();
    run(&mut edge, &mut echo).expect("the kernel stays usable");
    let passed = Duration::from_nanos(monotonic_ns() - start);
    assert!(passed >= Duration::from_millis(20), "{passed:?}");
    assert!(
        echo.turns < 100,
        "{} turns: the driver spins instead of sleeping",
        echo.turns
    );
}
