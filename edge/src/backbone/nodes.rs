//! The other nodes of the cluster: the lease of this one, and what they tell each other.
//!
//! Purpose: the relay thread keeps the node's lease, tells the shards who lives, and carries frames
//! between the shards of all nodes that own the same channel. Each node hears a channel of its own,
//! which no client can name. What the frames say is `interlink_relay::presence`'s matter.
//!
//! Order: no lease is asked for before the node hears its channel, so that nobody who sees the
//! lease speaks to nobody. The lease comes before all other calls of a round, since a node that is
//! only busy must not count as dead; frames come after all others.
//!
//! Limits: a shard has at most [`FRAMES_UNDER_WAY`] frames here and at the backplane together, of
//! which it is told what has become; [`NODE_CALLS_MAX`] are at the backplane. A frame that was not
//! sent, or finds the lane of a shard full, is counted; its sender is asked again by whoever misses
//! something.
//!
//! Thread: relay.
//!
//! [`FRAMES_UNDER_WAY`]: crate::shard::presence::limits::FRAMES_UNDER_WAY

use std::collections::{HashMap, VecDeque};

use interlink_protocol::ids::placement_hash;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneError, BackplaneRequest, NodeId, Standing,
};
use interlink_relay::limits::LEASE_MS;
use interlink_relay::ports::{Busy, Ticket};
use interlink_relay::presence::{ClusterView, LeaseTable, PresenceFrame};

use super::counts::{add, set};
use super::limits::{NODE_CALLS_MAX, TRY_AGAIN_US};
use super::task::Relay;
use crate::shard::presence::messages::{NodeFrame, PresenceMessage};
use crate::shard::Message;

/// Class of everything between nodes.
const CLASS: Priority = Priority::P2;

/// Whether the node hears its own channel.
#[derive(Debug, PartialEq, Eq)]
enum Hearing {
    /// Not before this time, in microseconds.
    NotBefore(u64),
    Asked(Ticket),
    Live,
}

/// What was asked of the backplane for other nodes.
#[derive(Debug)]
enum Call {
    Hear,
    Lease,
    /// A frame of a shard; none of the node itself.
    Frame(Option<u16>),
}

/// The relay thread's side of the cluster.
#[derive(Debug)]
pub struct Nodes {
    leases: LeaseTable,
    channel: String,
    hearing: Hearing,
    calls: HashMap<Ticket, Call>,
    frames: VecDeque<NodeFrame>,
    /// Frames of the node itself: signs of life for nodes that may not know it.
    greetings: VecDeque<NodeId>,
    /// What shards were told last.
    told: ClusterView,
    has_ended: bool,
    now_ms: u64,
}

/// The channel that a node hears.
fn channel_of(node: NodeId) -> String {
    format!("~node.{:016x}", node.0)
}

impl Nodes {
    /// A node that nobody knows yet. A part of its number is random, so that a later life of its
    /// process is another node; the other is of the name that its records carry.
    pub fn new(name: &str) -> Self {
        let own = NodeId::of(name, rand::random());
        tracing::info!(node = format!("{:016x}", own.0), "this node in the cluster");
        Self {
            leases: LeaseTable::new(own),
            channel: channel_of(own),
            hearing: Hearing::NotBefore(0),
            calls: HashMap::new(),
            frames: VecDeque::new(),
            greetings: VecDeque::new(),
            told: ClusterView::new(own),
            has_ended: false,
            now_ms: 0,
        }
    }

    /// Milliseconds that never go back.
    fn at(&mut self, now_us: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_us / 1_000);
        self.now_ms
    }

    /// A shard has a frame for another node.
    pub fn send(&mut self, frame: NodeFrame) {
        self.frames.push_back(frame);
    }

    /// The backplane can be reached, or not.
    pub fn on_standing(&mut self, standing: Standing, now_us: u64) {
        let now_ms = self.at(now_us);
        let is_reachable = standing == Standing::Connected;
        self.leases.on_reachable(is_reachable, now_ms);
    }

    /// The backplane may have forgotten leases.
    pub fn on_forgotten(&mut self, now_us: u64) {
        let now_ms = self.at(now_us);
        self.leases.on_forgotten(now_ms);
    }

    /// Whether a ticket is of the node's.
    pub fn is_asked(&self, ticket: Ticket) -> bool {
        self.calls.contains_key(&ticket)
    }

    /// Whether the backplane owes no answer.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    fn frames_under_way(&self) -> usize {
        let calls = self.calls.values();
        calls.filter(|call| matches!(call, Call::Frame(_))).count()
    }
}

impl Relay {
    /// Asks for the lease when its time has come.
    pub(super) fn keep_lease(&mut self, now_us: u64) -> Result<(), Busy> {
        if self.peers.is_empty() || self.standing != Standing::Connected {
            return Ok(());
        }
        let now_ms = self.nodes.at(now_us);
        match self.nodes.hearing {
            Hearing::NotBefore(at_us) if now_us >= at_us => self.hear_own_channel(now_us),
            Hearing::Live => self.renew_lease(now_ms, now_us),
            _ => Ok(()),
        }
    }

    /// Sends frames to other nodes.
    pub(super) fn send_frames(&mut self, now_us: u64) -> Result<(), Busy> {
        if self.standing != Standing::Connected {
            self.drop_frames();
            return Ok(());
        }
        while self.nodes.frames_under_way() < NODE_CALLS_MAX {
            if let Some(to) = self.nodes.greetings.pop_front() {
                let own = self.nodes.leases.view().own;
                let frame = PresenceFrame::new(own).into_bytes();
                self.send_frame(to, &frame, None, now_us)?;
            } else if let Some(next) = self.nodes.frames.pop_front() {
                if let Err(busy) = self.send_frame(next.to, &next.frame, Some(next.shard), now_us) {
                    self.nodes.frames.push_front(next);
                    return Err(busy);
                }
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    fn hear_own_channel(&mut self, now_us: u64) -> Result<(), Busy> {
        let channel = &self.nodes.channel;
        let request = BackplaneRequest::Subscribe { channel };
        let ticket = self.backplane.submit(request, now_us)?;
        self.nodes.hearing = Hearing::Asked(ticket);
        self.nodes.calls.insert(ticket, Call::Hear);
        Ok(())
    }

    fn renew_lease(&mut self, now_ms: u64, now_us: u64) -> Result<(), Busy> {
        let due_ms = self.nodes.leases.next_due_ms();
        let life_ms = match self.shards_ended {
            true if self.nodes.has_ended => return Ok(()),
            // Users of a node that ends have left it.
            true => 0,
            false if due_ms.is_none_or(|at_ms| at_ms > now_ms) => return Ok(()),
            false => LEASE_MS,
        };
        let node = self.nodes.leases.view().own;
        let request = BackplaneRequest::Lease { node, life_ms };
        let ticket = self.backplane.submit(request, now_us)?;
        self.nodes.has_ended = self.shards_ended;
        self.nodes.leases.asked(now_ms);
        self.nodes.calls.insert(ticket, Call::Lease);
        Ok(())
    }

    fn send_frame(
        &mut self,
        to: NodeId,
        frame: &[u8],
        shard: Option<u16>,
        now_us: u64,
    ) -> Result<(), Busy> {
        let channel = &channel_of(to);
        let request = BackplaneRequest::Tell { channel, frame };
        let ticket = self.backplane.submit(request, now_us)?;
        self.nodes.calls.insert(ticket, Call::Frame(shard));
        Ok(())
    }

    /// Nobody can be told anything: what the frames say is asked again later.
    fn drop_frames(&mut self) {
        while let Some(frame) = self.nodes.frames.pop_front() {
            self.frame_ended(Some(frame.shard), false);
        }
    }

    fn frame_ended(&mut self, shard: Option<u16>, was_sent: bool) {
        if !was_sent {
            add(&self.counts.frames_unsent, 1);
        }
        if let Some(shard) = shard {
            let message = Message::Presence(Box::new(PresenceMessage::FrameEnded));
            self.send_as(shard, CLASS, message);
        }
    }

    /// The answer to a call of the node's.
    pub(super) fn on_node_answer(
        &mut self,
        ticket: Ticket,
        answer: &Result<BackplaneAnswer, BackplaneError>,
        now_us: u64,
    ) {
        let now_ms = self.nodes.at(now_us);
        match (self.nodes.calls.remove(&ticket), answer) {
            (Some(Call::Hear), Ok(_)) => self.nodes.hearing = Hearing::Live,
            (Some(Call::Hear), Err(_)) => {
                self.nodes.hearing = Hearing::NotBefore(now_us + TRY_AGAIN_US);
            }
            (Some(Call::Lease), Ok(BackplaneAnswer::Leased(leases))) => {
                self.nodes.leases.on_leased(leases, now_ms);
                let own = self.nodes.leases.view().own;
                if !self.nodes.has_ended && leases.nodes.binary_search(&own).is_err() {
                    tracing::warn!("the cluster has too many nodes: others do not know this one");
                    add(&self.counts.leases_failed, 1);
                }
            }
            (Some(Call::Lease), _) => {
                add(&self.counts.leases_failed, 1);
                self.nodes.leases.on_failed(now_ms);
            }
            (Some(Call::Frame(shard)), answer) => self.frame_ended(shard, answer.is_ok()),
            (None, _) => {}
        }
    }

    /// Another node told this one something; says whether it did.
    pub(super) fn on_node_frame(&mut self, channel: &str, frame: &[u8]) -> bool {
        if channel != self.nodes.channel {
            return false;
        }
        let Some(from) = PresenceFrame::sender(frame) else {
            return true;
        };
        if self.nodes.leases.view().nodes.binary_search(&from).is_err() {
            self.nodes.leases.hurry();
        }
        let shards = self.peers.len();
        let mut frames: Vec<Option<PresenceFrame>> = (0..shards).map(|_| None).collect();
        for (scope, message) in PresenceFrame::messages(frame) {
            let owner = (placement_hash(scope.as_bytes()) % shards as u64) as usize;
            let frame = frames[owner].get_or_insert_with(|| PresenceFrame::new(from));
            // It fits, since it came in a frame.
            frame.push(message);
        }
        for (shard, frame) in frames.into_iter().enumerate() {
            let Some(frame) = frame else { continue };
            let message = PresenceMessage::Frame(frame.into_bytes());
            let message = Message::Presence(Box::new(message));
            if self.port.sender.push(shard, CLASS, message).is_err() {
                add(&self.counts.frames_untaken, 1);
            }
        }
        true
    }

    /// Tells shards who lives, when that has changed.
    pub(super) fn tell_nodes(&mut self) {
        let view = self.nodes.leases.view();
        if *view == self.nodes.told || self.peers.is_empty() {
            return;
        }
        let view = view.clone();
        let known = &self.nodes.told.nodes;
        let is_new = |node: &&NodeId| known.binary_search(node).is_err();
        let new: Vec<NodeId> = view.nodes.iter().filter(is_new).copied().collect();
        tracing::info!(
            others = view.nodes.len(),
            new = new.len(),
            is_connected = view.is_connected,
            "nodes of the cluster"
        );
        set(&self.counts.nodes, view.nodes.len() as u64);
        self.nodes.greetings.extend(new);
        for shard in 0..self.peers.len() as u16 {
            let message = PresenceMessage::Cluster(view.clone());
            self.send_as(shard, CLASS, Message::Presence(Box::new(message)));
        }
        self.nodes.told = view;
    }
}
