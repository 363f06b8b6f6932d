//! The owner's part in a cluster: talking to the owners of the same channels on other nodes.
//!
//! Purpose: puts what the table has for other nodes into frames for the relay thread, and gives the
//! table what they tell, some of it in each turn.
//!
//! Limits: [`FRAMES_UNDER_WAY`] frames are at the relay thread, then the table keeps what it would
//! say, which is a list of whom to tell; [`NODE_FRAMES_MAX`] frames of others wait. What finds no
//! room is counted, and asked again by whoever misses it.
//!
//! Thread: the shard.

use std::collections::{BTreeMap, VecDeque};

use interlink_relay::backplane::NodeId;
use interlink_relay::presence::{ClusterView, PresenceFrame};

use super::limits::{
    FRAMES_UNDER_WAY, NODE_BYTES_PER_TURN, NODE_BYTES_READ_PER_TURN, NODE_FRAMES_MAX,
};
use super::messages::{NodeFrame, PresenceMessage};
use super::CLASS;
use crate::shard::mesh::Message;
use crate::shard::Shard;

/// Frames from and to other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// This node, once the relay thread has told it.
    own: Option<NodeId>,
    /// Frames that the relay thread has.
    under_way: usize,
    frames: VecDeque<Box<[u8]>>,
    /// Messages of the first frame that were read.
    read: usize,
}

impl Elsewhere {
    /// Whether frames of other nodes wait.
    pub(super) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Whether something can be sent.
    pub(super) fn may_send(&self) -> bool {
        self.own.is_some() && self.under_way < FRAMES_UNDER_WAY
    }
}

impl Shard {
    /// The relay thread tells what is known of other nodes.
    pub(super) fn on_cluster(&mut self, view: &ClusterView) {
        let now_ms = self.presence_now_ms();
        self.presence.elsewhere.own = Some(view.own);
        self.presence.owned.table.set_cluster(view, now_ms);
    }

    /// The relay thread has done with a frame.
    pub(super) fn on_frame_ended(&mut self) {
        let elsewhere = &mut self.presence.elsewhere;
        elsewhere.under_way = elsewhere.under_way.saturating_sub(1);
    }

    /// Another node has told something.
    pub(super) fn on_node_frame(&mut self, frame: Box<[u8]>) {
        let elsewhere = &mut self.presence.elsewhere;
        if elsewhere.frames.len() < NODE_FRAMES_MAX {
            elsewhere.frames.push_back(frame);
        } else {
            self.counters.presence_frames_lost += 1;
        }
    }

    /// Reads what other nodes have told, as much as a turn may.
    pub(super) fn hear_nodes(&mut self) {
        let now_ms = self.presence_now_ms();
        let mut bytes = 0;
        while bytes < NODE_BYTES_READ_PER_TURN {
            let elsewhere = &mut self.presence.elsewhere;
            let Some(frame) = elsewhere.frames.front() else {
                return;
            };
            let next = PresenceFrame::messages(frame).nth(elsewhere.read);
            let (Some(from), Some((_, message))) = (PresenceFrame::sender(frame), next) else {
                elsewhere.frames.pop_front();
                elsewhere.read = 0;
                continue;
            };
            bytes += message.len();
            elsewhere.read += 1;
            let table = &mut self.presence.owned.table;
            table.on_message(from, message, now_ms);
        }
    }

    /// Tells other nodes what the table has for them, as much as a turn may.
    pub(super) fn tell_nodes(&mut self) {
        let now_ms = self.presence_now_ms();
        let Some(own) = self.presence.elsewhere.own else {
            return;
        };
        let mut frames: BTreeMap<NodeId, PresenceFrame> = BTreeMap::new();
        let mut bytes = 0;
        while bytes < NODE_BYTES_PER_TURN
            && self.presence.elsewhere.under_way + frames.len() < FRAMES_UNDER_WAY
        {
            let table = &mut self.presence.owned.table;
            let Some((to, message)) = table.next_message(now_ms) else {
                break;
            };
            bytes += message.len();
            // A turn makes less than a frame takes.
            let frame = frames.entry(to).or_insert_with(|| PresenceFrame::new(own));
            frame.push(&message);
        }
        for (to, frame) in frames {
            self.send_frame(to, frame.into_bytes());
        }
    }

    fn send_frame(&mut self, to: NodeId, frame: Box<[u8]>) {
        let Some(relay) = self.relay() else {
            return;
        };
        let shard = self.id;
        let frame = NodeFrame { shard, to, frame };
        let message = Message::Presence(Box::new(PresenceMessage::Send(frame)));
        match self.mesh.try_send(relay, CLASS, message) {
            Ok(()) => self.presence.elsewhere.under_way += 1,
            Err(_) => self.counters.presence_frames_lost += 1,
        }
    }
}

const _: () = {
    use interlink_relay::limits::PRESENCE_FRAME_BYTES;
    assert!(
        2 * NODE_BYTES_PER_TURN + 1_024 <= PRESENCE_FRAME_BYTES,
        "what a turn makes fits a frame, its last message and the lengths included"
    );
};
