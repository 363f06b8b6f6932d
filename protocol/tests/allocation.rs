//! The way of a message allocates nothing once the first ones have passed.
//!
//! `unsafe` stands here because a counting allocator cannot be written without it; every call
//! goes on to the system's allocator unchanged.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use interlink_protocol::claims::{Claims, PackedClaims};
use interlink_protocol::frame::event::{patch_position, EventFields};
use interlink_protocol::frame::{
    decode_client, decode_server, ClientFrame, FrameEncoder, FrameLimits, PublishAckFields,
    PublishFields, ServerFrame, SubscribeFields,
};
use interlink_protocol::ids::{next_chain, InstanceId, Position, RecordIdPrefix};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::registry::{Registry, OPAQUE};
use interlink_protocol::session::publish::check_publish;
use interlink_wire as wire;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to `System` with the same arguments, and counting neither
// allocates nor unwinds: the cell is constant-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// What a node does with one publish, from its bytes to the acknowledgement.
struct Node {
    namespaces: Namespaces,
    registry: Registry,
    claims: PackedClaims,
    prefix: RecordIdPrefix,
    events: FrameEncoder,
    answers: FrameEncoder,
    event: Vec<u8>,
    top: Position,
}

impl Node {
    fn new() -> Self {
        let claims = Claims {
            user: "ada".into(),
            institution: "north".into(),
            classes: vec!["algebra".into()],
            ..Claims::default()
        };
        Self {
            namespaces: Namespaces::defaults(),
            registry: Registry::core(),
            claims: PackedClaims::pack(&claims).expect("valid claims"),
            prefix: RecordIdPrefix::new("north", "ada", InstanceId(1)),
            events: FrameEncoder::new(),
            answers: FrameEncoder::new(),
            event: Vec::with_capacity(4096),
            top: Position::ZERO,
        }
    }

    fn serve(&mut self, bytes: &[u8]) {
        let frame = decode_client(bytes, &FrameLimits::CLIENT).expect("a valid frame");
        let ClientFrame::Publish(publish) = frame else {
            panic!("not a publish")
        };
        let (namespaces, registry) = (&self.namespaces, &self.registry);
        let decision = check_publish(&publish, namespaces, registry, &self.claims, || true)
            .expect("an allowed publish");
        let record = self.prefix.id(publish.client_message_id());
        let event = self.events.event(&EventFields {
            channel: publish.channel(),
            position: Position::ZERO,
            previous_chain: 0,
            record,
            publisher: "ada",
            priority: decision.priority,
            event_type: publish.event_type(),
            schema_version: publish.schema_version(),
            server_time_us: 1,
            payload: publish.payload().bytes(),
            conflation_key: publish.conflation_key(),
            trace: None,
        });
        self.event.clear();
        self.event.extend_from_slice(event);
        let previous = self.top.chain;
        self.top = self.top.after(record);
        patch_position(&mut self.event, self.top, previous).expect("an event");
        assert_eq!(self.top.chain, next_chain(previous, record));
        let ack = self.answers.publish_ack(&PublishAckFields {
            client_message_id: publish.client_message_id(),
            count: 1,
            status: wire::PublishStatus::Accepted,
            level: decision.level,
            degraded: false,
            position: Some(self.top),
            settled_through: Some([0, publish.client_message_id(), 0, 0]),
            code: 0,
            retry_after_ms: 0,
        });
        for bytes in [ack, self.event.as_slice()] {
            decode_server(bytes, &FrameLimits::SERVER).expect("a valid frame");
        }
    }
}

#[test]
fn a_publish_is_served_without_allocation() {
    let mut node = Node::new();
    let mut client = FrameEncoder::new();
    let mut publish = |id| {
        let payload = [id as u8; 512];
        client
            .publish(&PublishFields::new(id, "collab.document", OPAQUE, &payload))
            .to_vec()
    };
    let frames: Vec<Vec<u8>> = (1..100).map(&mut publish).collect();
    node.serve(&frames[0]);
    let allocations = allocations_of(|| frames[1..].iter().for_each(|frame| node.serve(frame)));
    assert_eq!(allocations, 0);
}

#[test]
fn a_client_encodes_and_reads_without_allocation() {
    let mut encoder = FrameEncoder::new();
    let channels = [SubscribeFields::new("class.algebra"); 32];
    let positions = [("class.algebra", Position::ZERO); 32];
    let mut exchange = |id| {
        encoder.publish(&PublishFields::new(id, "class.algebra", 3, &[7; 128]));
        encoder.subscribe(1, &channels);
        encoder.pong(id, &positions);
        let heartbeat = encoder.heartbeat(id, Some([id; 4]));
        let frame = decode_server(heartbeat, &FrameLimits::SERVER).expect("a valid frame");
        assert!(matches!(frame, ServerFrame::Heartbeat(_)));
    };
    exchange(1);
    let allocations = allocations_of(|| (2..100).for_each(exchange));
    assert_eq!(allocations, 0);
}

#[test]
fn the_counter_counts() {
    let mut kept = None;
    assert_eq!(allocations_of(|| kept = Some(Box::new(5))), 1);
    assert_eq!(kept.as_deref(), Some(&5));
}
