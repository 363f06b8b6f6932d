//! Counting under random changes of the members, against a look at all of them; connections that
//! do not read.

use std::collections::HashMap;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::{Claims, PackedClaims};
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_protocol::ids::SessionKey;
use interlink_protocol::websocket::Reader;
use interlink_relay::backplane::NodeId;
use interlink_relay::presence::{ClusterView, PresenceFrame, Round};
use interlink_uring::SocketId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::limits::{
    CHANGE_WAITING_BYTES_MAX, COUNTED_PER_TURN, FRAMES_UNDER_WAY, NODE_FRAMES_MAX, OWED_RETRY_MS,
};
use super::messages::PresenceMessage;
use super::Presence;
use crate::config::{Config, CriticalWithoutKafka, RedisMode};
use crate::shard::backbone::{Backbone, BackbonePort};
use crate::shard::channel::{Grant, Subscription, SubscriptionState};
use crate::shard::connection::{Connection, NONE};
use crate::shard::service::tests::Pair;
use crate::shard::session::{Session, User};
use crate::shard::Shard;

const SCOPE: &str = "class.m1";
/// A connection that nothing is sent on.
const SOME: u32 = 7;

impl Shard {
    pub(in crate::shard) fn scope(&mut self) -> u32 {
        let name = ChannelName::parse(SCOPE).expect("valid");
        self.channel_named(&name).expect("room")
    }

    pub(in crate::shard) fn add_user(&mut self, name: &str) -> u32 {
        let claims = Claims {
            user: name.into(),
            ..Claims::default()
        };
        let claims = PackedClaims::pack(&claims).expect("valid");
        let user = User::new(name.into(), claims, &self.shared.rates);
        self.users.insert(user).expect("room")
    }

    /// A session of the user with a subscription to [`SCOPE`].
    pub(in crate::shard) fn add_member(&mut self, user: u32, connection: u32) -> u32 {
        let key = SessionKey(self.random.next_u128());
        let session = Session::new(key, user, connection);
        let session = self.sessions.insert(session).expect("room");
        let channel = self.scope();
        let subscription = Subscription {
            cursor: 0,
            channel,
            session,
            connection,
            next: NONE,
            place: 0,
            priority: self.channels[channel].priority,
            state: SubscriptionState::Live,
            grant: Grant::None,
        };
        let subscription = self.subscriptions.insert(subscription).expect("room");
        self.link_subscription(subscription);
        subscription
    }

    fn set_connection(&mut self, subscription: u32, connection: u32) {
        if connection == NONE {
            self.note_detached(subscription);
            self.subscriptions[subscription].connection = NONE;
        } else if self.subscriptions[subscription].connection == NONE {
            self.subscriptions[subscription].connection = connection;
            self.note_attached(subscription);
        }
    }

    /// Devices by user, from a look at all members.
    fn seen(&self, members: &[u32]) -> HashMap<u32, u32> {
        let mut devices = HashMap::new();
        for member in members {
            let entry = &self.subscriptions[*member];
            if entry.connection != NONE {
                let user = self.sessions[entry.session].user;
                *devices.entry(user).or_insert(0) += 1;
            }
        }
        devices
    }

    fn change_at_random(&mut self, random: &mut StdRng, users: &[u32], members: &mut Vec<u32>) {
        let at = random.random_range(0..members.len());
        match random.random_range(0..4) {
            0 => {
                let connection = [SOME, NONE][random.random_range(0..2)];
                let user = users[random.random_range(0..users.len())];
                members.push(self.add_member(user, connection));
            }
            1 => self.remove_subscription(members.swap_remove(at)),
            2 => self.set_connection(members[at], NONE),
            _ => self.set_connection(members[at], SOME),
        }
    }
}

#[test]
fn each_member_is_counted_once_whatever_moves_during_the_walk() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    let users: Vec<u32> = (0..200)
        .map(|at| shard.add_user(&format!("u{at}")))
        .collect();
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut members: Vec<u32> = (0..3 * COUNTED_PER_TURN)
            .map(|at| shard.add_member(users[at as usize % users.len()], SOME))
            .collect();
        let channel = shard.scope();
        shard.on_tell(Round(seed), SCOPE);
        while shard.presence.told.has_work() {
            shard.count_members();
            for _ in 0..100 {
                shard.change_at_random(&mut random, &users, &mut members);
            }
            shard.tell_devices();
        }
        for _ in 0..1_000 {
            shard.change_at_random(&mut random, &users, &mut members);
        }
        let counted = shard.presence.told.devices(channel).expect("it is counted");
        assert_eq!(*counted, shard.seen(&members), "seed {seed}");
        for member in members {
            shard.remove_subscription(member);
        }
        assert!(shard.channels.contains(channel), "a counted channel stays");
        shard.on_rest(Round(seed + 1), SCOPE);
        assert!(shard.presence.told.devices(channel).is_some());
        shard.on_rest(Round(seed), SCOPE);
        assert_eq!(shard.presence.told.bytes(), 0);
        assert!(!shard.channels.contains(channel));
    }
}

#[test]
fn a_source_without_room_gives_the_round_up() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    let mut config = Config::default();
    config.presence.bytes_per_shard.0 = 4_000;
    shard.presence = Presence::new(&config, 2);
    for at in 0..100 {
        let user = shard.add_user(&format!("u{at}"));
        shard.add_member(user, SOME);
    }
    let channel = shard.scope();
    shard.on_tell(Round(1), SCOPE);
    shard.count_members();
    assert!(shard.presence.told.devices(channel).is_none());
    assert_eq!(shard.presence.told.bytes(), 0);
}

/// Counts of the changes that wait for a connection.
fn waiting_counts(shard: &Shard, connection: u32) -> Vec<u32> {
    let queue = shard.connections[connection].queue;
    let mut bytes = shard.queues.waiting(queue);
    let mut counts = Vec::new();
    while let [0x82, len, rest @ ..] = bytes {
        let (frame, behind) = rest.split_at(usize::from(*len));
        let frame = decode_server(frame, &FrameLimits::SERVER).expect("valid");
        let ServerFrame::PresenceChange(change) = frame else {
            panic!("a change was expected: {:?}", frame.kind());
        };
        assert!(change.joined().is_none() && change.left().is_none());
        counts.push(change.count());
        bytes = behind;
    }
    counts
}

#[test]
fn a_connection_that_does_not_read_is_told_the_count_later() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    let socket = SocketId::new(0, 1, 3);
    let entry = Connection::new(socket, Reader::server());
    let connection = shard.connections.insert(entry);
    let user = shard.add_user("ada");
    let member = shard.add_member(user, connection);
    shard.start_watching(member);
    let mut queue = NONE;
    let stuck = vec![0; CHANGE_WAITING_BYTES_MAX + 1];
    shard.queues.push(&mut queue, &[&stuck]).expect("room");
    shard.connections[connection].queue = queue;
    let frame = shard.encode_count(SCOPE, 5);
    shard.on_changed(&SCOPE.into(), 5, frame);
    shard.tell_watchers();
    assert_eq!(shard.counters.presence_delayed, 1);
    let waiting = shard.queues.waiting(shard.connections[connection].queue);
    assert_eq!(waiting.len(), stuck.len(), "nothing was added");
    let retry_ms = shard.clock.now_ms + OWED_RETRY_MS;
    assert_eq!(shard.presence.next_due_ms(), Some(retry_ms));
    // It reads again, and more has changed meanwhile.
    shard
        .queues
        .drop_queue(&mut shard.connections[connection].queue);
    let frame = shard.encode_count(SCOPE, 9);
    shard.on_changed(&SCOPE.into(), 9, frame);
    shard.clock.now_ms = retry_ms;
    shard.tell_watchers();
    assert_eq!(waiting_counts(shard, connection), [9, 9]);
    assert!(!shard.presence.watched.has_work());
    shard.stop_watching(member);
    assert_eq!(shard.presence.watched.bytes(), 0);
}

#[test]
fn changes_that_come_faster_than_they_can_be_told_become_the_count() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    let socket = SocketId::new(0, 1, 3);
    let entry = Connection::new(socket, Reader::server());
    let connection = shard.connections.insert(entry);
    let user = shard.add_user("ada");
    let member = shard.add_member(user, connection);
    shard.start_watching(member);
    for count in 1..=20 {
        let frame = shard.encode_count(SCOPE, count);
        shard.on_changed(&SCOPE.into(), count, frame);
    }
    shard.tell_watchers();
    assert_eq!(waiting_counts(shard, connection), [1, 2, 3, 20]);
}

/// A shard that takes the other one for the relay thread, and knows so many nodes.
fn in_cluster(shard: &mut Shard, nodes: u64) {
    let mut config = Config::default();
    config.redis.mode = RedisMode::Single;
    shard.backbone = Some(Backbone::new(BackbonePort {
        relay: 1,
        boot: 1,
        critical: CriticalWithoutKafka::Local,
        archive: false,
    }));
    shard.presence = Presence::new(&config, 2);
    let view = ClusterView {
        nodes: (1..=nodes).map(NodeId).collect(),
        is_connected: true,
        ..ClusterView::new(NodeId(0))
    };
    shard.on_cluster(&view);
}

#[test]
fn the_relay_thread_is_given_no_more_frames_than_it_has_done_with() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    in_cluster(shard, 40);
    let now_ms = shard.presence_now_ms();
    let table = &mut shard.presence.owned.table;
    table.watch(SCOPE, 0, now_ms).expect("room");
    while table.next_action().is_some() {}
    let asked = |shard: &Shard| shard.presence.between_nodes().sent as usize;
    (0..10).for_each(|_| shard.tell_nodes());
    assert_eq!(asked(shard), FRAMES_UNDER_WAY);
    assert!(!shard.presence.has_work(), "it waits for the relay thread");
    shard.on_presence(PresenceMessage::FrameEnded);
    assert!(shard.presence.has_work());
    shard.tell_nodes();
    assert_eq!(asked(shard), FRAMES_UNDER_WAY + 1);
    while shard.presence.owned.table.has_messages() {
        shard.on_presence(PresenceMessage::FrameEnded);
        shard.tell_nodes();
    }
    assert_eq!((asked(shard), shard.counters.presence_frames_lost), (40, 0));
}

#[test]
fn frames_of_other_nodes_are_read_in_portions_and_beyond_their_bound_are_counted() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    in_cluster(shard, 1);
    let mut frame = PresenceFrame::new(NodeId(1));
    // What has no form takes room too.
    let message = [&[0, SCOPE.len() as u8], SCOPE.as_bytes(), &[0; 600]].concat();
    (0..4).for_each(|_| assert!(frame.push(&message)));
    let frame = frame.into_bytes();
    for _ in 0..=NODE_FRAMES_MAX {
        shard.on_presence(PresenceMessage::Frame(frame.clone()));
    }
    assert_eq!(shard.counters.presence_frames_lost, 1);
    shard.hear_nodes();
    assert_eq!(shard.presence.between_nodes().invalid, 2);
    let mut turns = 1;
    while shard.presence.has_work() {
        shard.hear_nodes();
        turns += 1;
    }
    let read = shard.presence.between_nodes().invalid;
    assert_eq!(read as usize, 4 * NODE_FRAMES_MAX);
    assert!(turns >= 2 * NODE_FRAMES_MAX);
}
