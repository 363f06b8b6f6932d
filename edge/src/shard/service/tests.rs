//! Two shards with real rings and a real journal, driven in turns by the test.

use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::registry::Registry;
use interlink_uring::driver::{monotonic_ns, Turn};
use interlink_uring::listener::{self, ListenerOptions};
use interlink_uring::{EdgeRing, Kernel, RingConfig};
use interlink_wire as wire;

use super::*;
use crate::anomaly::Anomalies;
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::files_thread::FilesThread;
use crate::lanes::{self, Port};
use crate::rates::Rates;
use crate::server::{load_keys, NodeState, ShardPlan};
use crate::shard::{ShardParts, Shared};

/// How long anything may take that normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two shards without clients; the test holds the third port of their mesh.
pub(in crate::shard) struct Pair {
    pub(in crate::shard) shards: Vec<(Shard, EdgeRing)>,
    control: Port<Message>,
    _heard: mpsc::Receiver<Result<(), String>>,
    _data: tempfile::TempDir,
}

impl Pair {
    pub(in crate::shard) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.node.data_directory = directory.path().join("data");
        config.node.shards = 2;
        config.journal.segment_bytes.0 = 4 << 20;
        let data = Arc::new(DataDirectory::open(&config.node.data_directory).expect("free"));
        let keys = load_keys(&config, data.path()).expect("a development key");
        let mut ports = lanes::mesh(3).expect("few threads");
        let control = ports.pop().expect("three ports");
        let (events, _) = mpsc::channel();
        let plan = ShardPlan {
            client_address: config.listen.client_address,
            config: Arc::new(config),
            verifier: keys.keeper.verifier(),
            revocations: keys.keeper.revocations(),
            tls: None,
            ports,
            counters: vec![Arc::default(), Arc::default()],
            backbone: Arc::default(),
            node: Arc::new(NodeState::default()),
            data,
            sockets: Vec::new(),
            events,
        };
        let (mut files, recovered) =
            FilesThread::open(&plan.config, &plan.data, 2).expect("a fresh journal");
        let shared = Arc::new(Shared {
            verifier: Arc::clone(&plan.verifier),
            tls: None,
            revocations: Arc::clone(&plan.revocations),
            namespaces: Namespaces::defaults(),
            registry: Registry::core(),
            rates: Rates::new(&plan.config, 7),
            anomalies: Anomalies::new(&plan.config, 7),
            epoch: recovered.epoch,
            unfinished_handshakes: Default::default(),
            direction: Default::default(),
        });
        let (listening, heard) = mpsc::channel();
        let mut shards = Vec::new();
        for ((id, port), recovered) in (0..2).zip(plan.ports).zip(recovered.shards) {
            let parts = ShardParts {
                id,
                shards: 2,
                config: Arc::clone(&plan.config),
                shared: Arc::clone(&shared),
                counters: Arc::clone(&plan.counters[usize::from(id)]),
                files: files.link(port.receiver.bell()).expect("not started"),
                port,
                backbone: None,
                journal: files.journal(id).expect("sizes fit"),
                recovered,
                listening: Some(listening.clone()),
            };
            let shard = Shard::new(parts, monotonic_ns()).expect("address space");
            let mut ring = EdgeRing::new(RingConfig::default()).expect("a ring");
            let address = "127.0.0.1:0".parse().expect("an address");
            let socket = listener::bind_reuse_port(address, &ListenerOptions::default());
            ring.add_listener(socket.expect("a free port"));
            shards.push((shard, ring));
        }
        drop(files.start().expect("a thread"));
        Self {
            shards,
            control,
            _heard: heard,
            _data: directory,
        }
    }

    /// Turns both shards until `done` says so.
    pub(in crate::shard) fn turn_until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} did not happen");
            for (shard, ring) in &mut self.shards {
                ring.enter().expect("the ring works");
                shard.turn(ring, monotonic_ns());
                ring.end_turn();
            }
        }
    }

    fn offset(&self, shard: usize, channel: &str) -> u64 {
        let shard = &self.shards[shard].0;
        let found = shard.find_channel(channel);
        found.map_or(0, |found| shard.channels[found].sequencer.top().offset)
    }

    /// Submits opaque publishes as the system and waits for what becomes of them.
    fn submit(&mut self, to: usize, channels: &[&str]) -> Vec<Outcome> {
        let publish = |channel: &&str| ServicePublish {
            channel: (*channel).into(),
            event_type: 0,
            schema_version: 1,
            payload: (*b"{}").into(),
            age_ms: 0,
            time_to_live_ms: 0,
            conflation_key: None,
            level: wire::AckLevel::Default,
            trace: None,
            instance: InstanceId(rand::random()),
            record: RecordId(rand::random()),
        };
        let submission = Submission {
            from: 2,
            number: 7,
            class: Priority::P1,
            claims: None,
            publisher: SYSTEM_PUBLISHER.into(),
            publishes: channels.iter().map(publish).collect(),
        };
        let message = Message::Submit(Box::new(submission));
        let sender = &mut self.control.sender;
        assert!(sender.push(to, Priority::P1, message).is_ok());
        let mut taken = Vec::new();
        self.turn_until("an answer", |pair| {
            pair.control.receiver.take(64, &mut taken) > 0
        });
        match taken.pop().map(|taken| taken.entry) {
            Some(Message::Outcomes(answer)) if answer.number == 7 => answer.outcomes,
            other => panic!("no answer: {other:?}"),
        }
    }
}

fn owner(channel: &str) -> usize {
    let name = ChannelName::parse(channel).expect("valid");
    (name.placement_hash() % 2) as usize
}

#[test]
fn every_shard_publishes_as_the_system_whichever_owns_the_channel() {
    let mut pair = Pair::start();
    for channel in ["sys.security", "sys.status", "sys.metrics"] {
        for publisher in [0, 1] {
            let before = pair.offset(owner(channel), channel);
            let shard = &mut pair.shards[publisher].0;
            shard.publish_as_system(channel, 0, b"{}").expect("room");
            shard.publish_as_system(channel, 0, b"{}").expect("room");
            assert_eq!(shard.service.system.waiting(), 2);
            pair.turn_until(channel, |pair| {
                pair.offset(owner(channel), channel) == before + 2
                    && pair.shards[publisher].0.service.system.waiting() == 0
            });
        }
    }
    let refused: u64 = pair.shards.iter().map(refusals).sum();
    assert_eq!(refused, 0);
}

fn refusals((shard, _): &(Shard, EdgeRing)) -> u64 {
    let all = ErrorCode::ALL.iter();
    all.map(|code| shard.counters.refusals.get(*code)).sum()
}

#[test]
fn own_events_beyond_their_bound_are_refused() {
    let mut pair = Pair::start();
    let shard = &mut pair.shards[0].0;
    for _ in 0..SYSTEM_WAITING_MAX {
        shard
            .publish_as_system("sys.security", 0, b"{}")
            .expect("room");
    }
    let refused = shard.publish_as_system("sys.security", 0, b"{}");
    assert_eq!(refused, Err(ErrorCode::Overloaded));
    let unknown = shard.publish_as_system("nothing.here", 0, b"{}");
    assert_eq!(unknown, Err(ErrorCode::NamespaceUnknown));
    pair.turn_until("all outcomes", |pair| {
        pair.shards[0].0.service.system.waiting() == 0
    });
    let sent = pair.offset(owner("sys.security"), "sys.security");
    assert_eq!(sent, u64::from(SYSTEM_WAITING_MAX), "none was lost");
}

#[test]
fn what_follows_a_publish_that_was_refused_for_now_is_refused_on_its_channel_only() {
    let mut held = Held::default();
    let refusal = Refusal::of(ErrorCode::QuotaExceeded);
    held.note("report.a", Refusal::of(ErrorCode::PayloadInvalid));
    assert_eq!(
        held.of("report.a"),
        None,
        "nothing waits for a final refusal"
    );
    held.note("report.a", refusal);
    held.note("report.a", Refusal::of(ErrorCode::Overloaded));
    assert_eq!(held.of("report.a"), Some(refusal));
    assert_eq!(held.of("report.b"), None);
}

#[test]
fn a_full_disk_refuses_each_publish_of_a_submission_and_leaves_nobody_waiting() {
    let mut pair = Pair::start();
    let channel = "sys.notifications";
    let home = owner(channel);
    pair.turn_until("segments", |pair| {
        pair.shards[home].0.journal.journal.is_ready()
    });
    pair.shards[home].0.journal.journal.set_used_bytes(u64::MAX);
    let refused = Outcome::Refused(Refusal::of(ErrorCode::QuotaExceeded));
    assert_eq!(pair.submit(home, &[channel, channel]), [refused, refused]);
    let shard = &mut pair.shards[home].0;
    shard.journal.journal.set_used_bytes(0);
    assert!(shard.service.tickets.is_empty() && shard.service.asked.is_empty());
    let accepted = Outcome::Accepted {
        level: wire::AckLevel::Local,
        repeat: false,
    };
    assert_eq!(pair.submit(home, &[channel, channel]), [accepted, accepted]);
    assert_eq!(pair.offset(home, channel), 2);
}
