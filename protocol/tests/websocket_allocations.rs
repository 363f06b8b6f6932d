//! The reader allocates nothing, whatever the peer declares.
//!
//! This file has `unsafe` because counting allocations takes a global allocator; it forwards
//! every call to the system's and counts on the calling thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use interlink_protocol::websocket::frame::append_client_frame;
use interlink_protocol::websocket::{ControlKind, DataKind, Limits, Opcode, Reader, Step};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every method forwards its arguments to the system allocator unchanged, so that
// allocator's guarantees hold; the counter is a plain cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Reads all of `stream` and gives the number of payload bytes.
fn read(stream: &mut [u8], limits: &Limits) -> usize {
    let mut reader = Reader::server();
    let (mut at, mut payload_bytes) = (0, 0);
    loop {
        match reader.next(&mut stream[at..], limits) {
            Step::Message {
                payload, consumed, ..
            }
            | Step::Fragment {
                payload, consumed, ..
            }
            | Step::Control {
                payload, consumed, ..
            } => {
                at += consumed;
                payload_bytes += payload.len();
            }
            Step::NeedMore { .. } | Step::Failed(_) => return payload_bytes,
        }
    }
}

#[test]
fn the_count_sees_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn reading_messages_fragments_and_control_frames_allocates_nothing() {
    let mut stream = Vec::new();
    let frames = [
        (Opcode::Data(DataKind::Binary), true),
        (Opcode::Data(DataKind::Text), false),
        (Opcode::Control(ControlKind::Ping), true),
        (Opcode::Continuation, true),
    ];
    for (opcode, is_final) in frames {
        append_client_frame(opcode, is_final, &[7; 100], [1, 2, 3, 4], &mut stream);
    }
    for limits in [Limits::SESSION, Limits::CONFORMANCE] {
        let mut payload_bytes = 0;
        assert_eq!(
            allocations(|| payload_bytes = read(&mut stream.clone(), &limits)),
            1
        );
        assert_eq!(
            payload_bytes, 400,
            "one allocation was the copy of the stream"
        );
    }
}

#[test]
fn a_declared_length_allocates_nothing() {
    for declared in [1 << 16, 1 << 24, 1 << 32, u64::MAX >> 1, u64::MAX] {
        let mut start = [0u8; 15];
        start[..2].copy_from_slice(&[0x82, 0xff]);
        start[2..10].copy_from_slice(&declared.to_be_bytes());
        for limits in [Limits::SESSION, Limits::CONFORMANCE] {
            assert_eq!(allocations(|| assert!(read(&mut start, &limits) <= 1)), 0);
        }
    }
}
