//! What a message costs in allocations on the threads of shards: nothing, once warm.
//!
//! The node runs inside the test process, whose allocator counts. `unsafe` stands here because an
//! allocator is an unsafe trait, and for calls that take plain numbers.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use interlink_edge::auth::{mint_user, Key, UserGrant};
use interlink_edge::config::Config;
use interlink_edge::data_dir::development_key_of;
use interlink_edge::server::{self, unix_seconds};
use interlink_edge::{conformance, shard};
use interlink_protocol::frame::{PublishFields, ServerFrame, SubscribeFields};
use interlink_wire as wire;

use support::chat::{chat_message, CHAT_MESSAGE};
use support::raw::{binary, decode, Incoming, Raw};
use support::{http_get, wait_for};

/// Messages before the count: pools, queues and windows get their size.
const WARM_UP: u64 = 5_000;
/// Messages that are counted.
const COUNTED: u64 = 10_000;
/// Publishes under way at a time.
const WINDOW: u64 = 16;
/// Allocations allowed for that many messages: one in a hundred.
const ALLOWED: usize = COUNTED as usize / 100;
/// Places of allocations that are kept for the report.
const PLACES: usize = 5;

/// Counts the allocations of shard threads while [`COUNTING`] is set.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static FOUND: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// Whether a thread is one that is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Unknown,
    Yes,
    No,
    /// It notes the place of an allocation, which allocates.
    Noting,
}

thread_local! {
    static THREAD: Cell<Counted> = const { Cell::new(Counted::Unknown) };
}

/// Names of the counted threads, as far as they are the same for all.
const NAMES: [&[u8]; 2] = [b"shard-", b"conformance"];

fn note_allocation() {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    // A thread that ends has no locals any more, and is not counted.
    let _ = THREAD.try_with(|thread| {
        if thread.get() == Counted::Unknown {
            let mut name = [0_u8; 16];
            // SAFETY: prctl writes at most 16 bytes to the name.
            unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
            let counted = NAMES.iter().any(|start| name.starts_with(start));
            thread.set(if counted { Counted::Yes } else { Counted::No });
        }
        if thread.get() != Counted::Yes {
            return;
        }
        if ALLOCATIONS.fetch_add(1, Ordering::Relaxed) < PLACES {
            thread.set(Counted::Noting);
            let place = Backtrace::force_capture();
            let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
            found.push(place);
            drop(found);
            thread.set(Counted::Yes);
        }
    });
}

// SAFETY: every call goes to the system's allocator as it came; noting an allocation neither
// uses its memory nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Runs `messages` for the first numbers without counting and for the next ones counting, and
/// holds the count to [`ALLOWED`].
fn count(mut messages: impl FnMut(std::ops::RangeInclusive<u64>)) {
    messages(1..=WARM_UP);
    ALLOCATIONS.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    messages(WARM_UP + 1..=WARM_UP + COUNTED);
    COUNTING.store(false, Ordering::SeqCst);
    let allocations = ALLOCATIONS.load(Ordering::SeqCst);
    println!("{allocations} allocations for {COUNTED} messages");
    let places = std::mem::take(&mut *FOUND.lock().unwrap_or_else(PoisonError::into_inner));
    if allocations > ALLOWED {
        for place in places {
            eprintln!("{place}");
        }
        panic!("{allocations} allocations for {COUNTED} messages, at most {ALLOWED}");
    }
}

/// Opens a connection, which costs allocations: the count has to see them, or it sees nothing.
fn seen_opening(open: impl FnOnce() -> Raw) -> Raw {
    ALLOCATIONS.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    let raw = open();
    COUNTING.store(false, Ordering::SeqCst);
    assert_ne!(
        ALLOCATIONS.load(Ordering::SeqCst),
        0,
        "the count sees no thread of a shard"
    );
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).clear();
    raw
}

/// One test at a time, since the count and the signal are the process's.
static TURN: Mutex<()> = Mutex::new(());

/// A loopback address that nobody else uses: of this process, and of one node in it.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, 90 + number, high, low))
}

/// Runs a node of `shards` shards in this process, with `test` beside it.
fn on_a_node(shards: u32, test: impl FnOnce(SocketAddr, &dyn Fn(&str) -> String)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let mut config = Config::default();
    config.node.data_directory = data.path().to_path_buf();
    config.node.shards = shards;
    // Bounds that are checked for each message and not met.
    config.limits.connection_rate = 1_000_000;
    config.limits.user_rate = 1_000_000;
    let address = own_address();
    config.listen.client_address = SocketAddr::new(address, 7720);
    config.listen.control_address = SocketAddr::new(address, 7721);
    config.listen.api_address = SocketAddr::new(address, 7722);
    let (clients, control) = (config.listen.client_address, config.listen.control_address);
    let auth = config.auth.clone();
    let node = std::thread::spawn(move || server::run(config, server::Entry::Alone, shard::launch));
    wait_for("readiness", || {
        assert!(!node.is_finished(), "the node has ended");
        (http_get(control, "/readyz").ok()?.0 == 200).then_some(())
    });
    let key = Key::read(&development_key_of(data.path())).expect("the start made a key");
    let token = |user: &str| {
        let grant = UserGrant {
            user: user.into(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            issued_at_s: unix_seconds(),
            not_before_s: unix_seconds() - 1,
            expires_at_s: unix_seconds() + 600,
            ..UserGrant::default()
        };
        mint_user(&key, &grant).expect("the key signs")
    };
    test(clients, &token);
    // SAFETY: kill takes plain numbers; the node listens for this signal.
    unsafe { libc::kill(std::process::id() as i32, libc::SIGTERM) };
    let ended = node.join().expect("the main thread of the node lives");
    ended.expect("the node stops in order");
}

/// Publishes events `numbers` to `channel`, which the client subscribes to, and takes each event
/// and acknowledgement.
fn publish(
    raw: &mut Raw,
    channel: &str,
    event_type: u16,
    payload: &[u8],
    numbers: std::ops::RangeInclusive<u64>,
) {
    let (mut next, last) = (*numbers.start(), *numbers.end());
    let (mut events, mut acks) = (next - 1, next - 1);
    while events < last || acks < last {
        while next <= last && next <= events.min(acks) + WINDOW {
            let fields = PublishFields::new(next, channel, event_type, payload);
            raw.send_encoded(|encoder| encoder.publish(&fields));
            next += 1;
        }
        let frame = raw.next_frame();
        match decode(&frame) {
            ServerFrame::Event(event) => {
                events += 1;
                assert_eq!(event.position().offset(), events);
            }
            ServerFrame::PublishAck(ack) => {
                assert_eq!(ack.status(), wire::PublishStatus::Accepted);
                acks += u64::from(ack.count());
            }
            other => panic!("neither event nor ack: {:?}", other.kind()),
        }
    }
}

fn subscribed(clients: SocketAddr, token: &str, channel: &str) -> Raw {
    let mut raw = seen_opening(|| Raw::welcomed(clients, token, 1));
    raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(channel)]));
    let answer = raw.next_frame();
    assert!(matches!(decode(&answer), ServerFrame::Subscribed(_)));
    raw
}

#[test]
fn an_ephemeral_publish_and_its_event_allocate_nothing() {
    on_a_node(1, |clients, token| {
        let mut raw = subscribed(clients, &token("ada"), "activity.ada");
        let payload = [7; 128];
        count(|numbers| publish(&mut raw, "activity.ada", 0, &payload, numbers));
    });
}

#[test]
fn a_durable_publish_its_event_and_its_ack_allocate_nothing() {
    on_a_node(1, |clients, token| {
        let channel = "chat.ada~bob";
        let mut raw = subscribed(clients, &token("ada"), channel);
        let payload = chat_message(&"x".repeat(100));
        count(|numbers| publish(&mut raw, channel, CHAT_MESSAGE, &payload, numbers));
    });
}

#[test]
fn an_echo_of_the_conformance_server_allocates_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let address = SocketAddr::new(own_address(), 7720);
    let stop = Arc::new(AtomicBool::new(false));
    let server = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || conformance::serve(address, None, stop)
    });
    wait_for("the echo server", || {
        assert!(!server.is_finished(), "the server has ended");
        std::net::TcpStream::connect(address).ok()
    });
    let mut raw = seen_opening(|| Raw::upgraded(address));
    let message = binary(&[7; 128]);
    count(|numbers| {
        for _ in numbers {
            raw.send(&message);
            assert_eq!(raw.next(), Incoming::Frame(vec![7; 128]));
        }
    });
    stop.store(true, Ordering::SeqCst);
    let ended = server.join().expect("no panic");
    ended.expect("the server stops in order");
}
