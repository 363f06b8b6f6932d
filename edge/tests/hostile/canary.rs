//! A well-behaved session: it publishes to its own channel, one event after the other, and
//! expects each back, in order, acknowledged and in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use interlink_protocol::frame::{PublishFields, ServerFrame, SubscribeFields};
use interlink_wire as wire;

use super::support::chat::{chat_message, text_of, CHAT_MESSAGE};
use super::support::process::anonymous_bytes;
use super::support::raw::{decode, Raw};
use super::support::Node;

/// The canary's user.
const USER: &str = "canary";
/// Its channel: durable, class P1.
const CHANNEL: &str = "chat.canary~echo";
/// Round trips whose 99th percentile is one value.
const WINDOW: usize = 100;

/// What the canary has seen since the last look.
#[derive(Debug, Default)]
pub struct Seen {
    latencies: Vec<Duration>,
    /// Most anonymous memory of the node.
    pub anonymous_bytes: u64,
}

impl Seen {
    /// Round trips.
    pub fn rounds(&self) -> usize {
        self.latencies.len()
    }

    /// The median over windows of their 99th percentiles: a stall that lasts moves it, a single
    /// pause of the machine does not.
    pub fn p99(&self) -> Duration {
        let windows = self.latencies.chunks(WINDOW).map(|window| {
            let mut window = window.to_vec();
            window.sort();
            window[(window.len() * 99).div_ceil(100) - 1]
        });
        let mut windows: Vec<Duration> = windows.collect();
        windows.sort();
        windows[windows.len() / 2]
    }

    /// The longest round trip.
    pub fn longest(&self) -> Duration {
        self.latencies.iter().max().copied().unwrap_or_default()
    }
}

/// The running canary.
#[derive(Debug)]
pub struct Canary {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Canary {
    /// Connects, subscribes and begins.
    pub fn start(node: &Node) -> Self {
        let mut raw = super::welcomed(node, USER);
        raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(CHANNEL)]));
        let answer = raw.next_frame();
        assert!(matches!(decode(&answer), ServerFrame::Subscribed(_)));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let process = node.process();
        let thread = std::thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || {
                for number in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let latency = round_trip(&mut raw, number);
                    let mut seen = seen.lock().expect("nobody panics with it");
                    seen.latencies.push(latency);
                    if number % WINDOW as u64 == 0 {
                        let bytes = anonymous_bytes(process);
                        seen.anonymous_bytes = seen.anonymous_bytes.max(bytes);
                    }
                }
            }
        });
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// Takes what was seen, so that the next look begins anew.
    pub fn look(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().expect("the canary lives"))
    }

    /// Whether the canary still sings.
    pub fn lives(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until the canary has made this many round trips since the last look.
    pub fn wait_for_rounds(&self, rounds: usize) {
        super::support::wait_for("the canary's round trips", || {
            assert!(self.lives(), "the canary has died");
            (self.seen.lock().expect("the canary lives").rounds() >= rounds).then_some(())
        });
    }

    /// Ends the canary.
    ///
    /// # Panics
    /// With what the canary missed.
    pub fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("the canary got everything");
    }
}

/// Publishes event `number` and waits for it and its acknowledgement; the time to the event.
fn round_trip(raw: &mut Raw, number: u64) -> Duration {
    let payload = chat_message(&number.to_string());
    let started = Instant::now();
    raw.send_encoded(|encoder| {
        encoder.publish(&PublishFields::new(number, CHANNEL, CHAT_MESSAGE, &payload))
    });
    let (mut latency, mut acked) = (None, false);
    loop {
        if let (Some(latency), true) = (latency, acked) {
            return latency;
        }
        let frame = raw.next_frame();
        match decode(&frame) {
            ServerFrame::Event(event) => {
                assert_eq!(text_of(event.payload().bytes()), number.to_string());
                assert_eq!(event.position().offset(), number, "an event is missing");
                latency = Some(started.elapsed());
            }
            ServerFrame::PublishAck(ack) => {
                assert_eq!(ack.client_message_id(), number);
                assert_eq!(ack.status(), wire::PublishStatus::Accepted);
                acked = true;
            }
            other => panic!("the canary expects no {:?}", other.kind()),
        }
    }
}
