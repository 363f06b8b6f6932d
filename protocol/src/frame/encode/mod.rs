//! Values into frames.
//!
//! Invariant: after frames of the usual size have passed, encoding allocates nothing: one
//! builder and one list of offsets are used again and again.
//! Limits: the encoder trusts its caller to keep the bounds of [`crate::limits`]; the reader
//! on the other side checks them.
//! Runs on: one thread an encoder.

mod client;
mod server;

use std::fmt;

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, WIPOffset};
use interlink_wire as wire;

use super::fields::{Settled, TraceFields};
use crate::ids::Position;

/// Capacity at the start; most frames are smaller, and larger ones grow it once.
const START_BYTES: usize = 4 * 1024;
/// Lists are at most this long in frames of clients, and rarely longer in others.
const START_ITEMS: usize = crate::limits::ITEMS_PER_FRAME;

/// Encodes frames into a buffer of its own; each call overwrites the frame of the one before.
pub struct FrameEncoder {
    builder: Builder,
    /// Offsets of the tables of a list while it is being written.
    offsets: Vec<u32>,
}

type Builder = FlatBufferBuilder<'static>;

impl FrameEncoder {
    /// An encoder with room for usual frames.
    pub fn new() -> Self {
        Self {
            builder: Builder::with_capacity(START_BYTES),
            offsets: Vec::with_capacity(START_ITEMS),
        }
    }

    /// Finishes the frame that carries `body`.
    fn finish(&mut self, kind: wire::Body, body: WIPOffset<UnionWIPOffset>) -> &[u8] {
        let args = wire::FrameArgs {
            body_type: kind,
            body: Some(body),
        };
        let frame = wire::Frame::create(&mut self.builder, &args);
        wire::finish_frame_buffer(&mut self.builder, frame);
        self.builder.finished_data()
    }

    /// Starts the next frame.
    fn start(&mut self) -> &mut Builder {
        self.builder.reset();
        self.offsets.clear();
        &mut self.builder
    }

    /// Writes the list of the tables whose offsets were collected.
    fn list<T>(&mut self) -> WIPOffset<Vector<'static, ForwardsUOffset<T>>> {
        self.builder
            .start_vector::<WIPOffset<T>>(self.offsets.len());
        // A FlatBuffer grows towards its start, so the last element comes first.
        for &offset in self.offsets.iter().rev() {
            self.builder.push(WIPOffset::<T>::new(offset));
        }
        let list = self.builder.end_vector::<WIPOffset<T>>(self.offsets.len());
        self.offsets.clear();
        WIPOffset::new(list.value())
    }

    /// Writes a list of channels with their positions.
    fn positions(
        &mut self,
        positions: &[(&str, Position)],
    ) -> WIPOffset<Vector<'static, ForwardsUOffset<wire::ChannelPosition<'static>>>> {
        for (channel, position) in positions {
            let channel = Some(self.builder.create_string(channel));
            let position = wire::StreamPosition::from(*position);
            let args = wire::ChannelPositionArgs {
                channel,
                position: Some(&position),
            };
            let entry = wire::ChannelPosition::create(&mut self.builder, &args);
            self.offsets.push(entry.value());
        }
        self.list()
    }
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameEncoder").finish_non_exhaustive()
    }
}

/// Writes a text that may be absent.
fn text(builder: &mut Builder, text: Option<&str>) -> Option<WIPOffset<&'static str>> {
    text.map(|text| builder.create_string(text))
}

/// Writes a trace context that may be absent.
fn trace(
    builder: &mut Builder,
    trace: Option<TraceFields<'_>>,
) -> Option<WIPOffset<wire::TraceContext<'static>>> {
    trace.map(|trace| {
        let args = wire::TraceContextArgs {
            traceparent: Some(builder.create_string(trace.traceparent)),
            tracestate: text(builder, trace.tracestate),
        };
        wire::TraceContext::create(builder, &args)
    })
}

/// Writes what is settled, where it is told.
fn settled(
    builder: &mut Builder,
    settled: Option<Settled>,
) -> Option<WIPOffset<wire::SettledThrough<'static>>> {
    settled.map(|[p0, p1, p2, p3]| {
        wire::SettledThrough::create(builder, &wire::SettledThroughArgs { p0, p1, p2, p3 })
    })
}
