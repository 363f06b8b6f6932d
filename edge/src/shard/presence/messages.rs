//! What shards tell each other about presence.
//!
//! Purpose: watchers, sources and the owner of a scope may be different shards. To the owner go
//! wishes and numbers of devices; from it come rounds, changes and pages. All of them have class
//! P2, in one lane and order for each pair of shards.
//!
//! Runs on: made by one shard, taken by another.

use std::sync::Arc;

use interlink_protocol::ErrorCode;
use interlink_relay::backplane::NodeId;
use interlink_relay::presence::{ClusterView, PresencePage, Round};
use interlink_uring::SocketId;

/// One message.
#[derive(Debug)]
pub enum PresenceMessage {
    /// A shard has its first watcher of a scope.
    Watch {
        /// The shard.
        shard: u16,
        /// The scope.
        scope: Box<str>,
    },
    /// A shard has no watcher of a scope any more.
    Unwatch {
        /// The shard.
        shard: u16,
        /// The scope.
        scope: Box<str>,
    },
    /// Somebody wants to read a page.
    Ask(Ask),
    /// What a source counts.
    Told {
        /// The source.
        shard: u16,
        /// For which round.
        round: Round,
        /// Devices of users, 0 for those who have none any more.
        users: Vec<(Arc<str>, u32)>,
        /// Whether the source has now told of everybody.
        is_complete: bool,
    },
    /// A source has no room to count.
    NoRoom {
        /// For which round.
        round: Round,
    },
    /// A source has to tell of a scope.
    Tell {
        /// What it has to name.
        round: Round,
        /// The scope.
        scope: Arc<str>,
    },
    /// A source needs not tell any more.
    Rest {
        /// The round that is over.
        round: Round,
        /// The scope.
        scope: Arc<str>,
    },
    /// Something for the watchers of a shard.
    Changed {
        /// The scope.
        scope: Arc<str>,
        /// Users afterwards.
        count: u32,
        /// The encoded `PresenceChange`.
        frame: Arc<[u8]>,
    },
    /// Nothing is known of a scope any more, since there is no room for it.
    Dropped {
        /// The scope.
        scope: Arc<str>,
    },
    /// A page, for who asked.
    Answer(Answer),
    /// For the relay thread: something for another node.
    Send(NodeFrame),
    /// Of the relay thread: one more frame has been sent, or is lost.
    FrameEnded,
    /// Of the relay thread: a frame of another node with messages for this shard.
    Frame(Box<[u8]>),
    /// Of the relay thread: what is known of other nodes.
    Cluster(ClusterView),
}

/// Messages for another node.
#[derive(Debug)]
pub struct NodeFrame {
    /// The shard that sends it.
    pub shard: u16,
    /// The node.
    pub to: NodeId,
    /// A [`PresenceFrame`](interlink_relay::presence::PresenceFrame).
    pub frame: Box<[u8]>,
}

/// A wish for a page.
#[derive(Debug)]
pub struct Ask {
    /// The thread that asks.
    pub from: u16,
    /// Who waits there.
    pub asker: Asker,
    /// The scope.
    pub scope: Box<str>,
    /// The name behind which the page begins.
    pub after: Option<Box<str>>,
}

/// Who waits for a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// A client.
    Client {
        /// Its connection.
        socket: SocketId,
        /// Its request.
        request_id: u32,
    },
    /// A service, by the number of its question.
    Service(u32),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub struct Answer {
    /// Who waits.
    pub asker: Asker,
    /// The scope.
    pub scope: Box<str>,
    /// The page, or why there is none.
    pub page: Result<PresencePage, ErrorCode>,
}
