//! Publishers that are no sessions: services and the system, through the gateway and real shards
//! in this process, to clients on real sockets.

#[path = "../support/mod.rs"]
mod support;

mod questions;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{mpsc, Arc};

use interlink_client::{Client, Subscription};
use interlink_edge::auth::{mint_user, Key, UserGrant};
use interlink_edge::config::Config;
use interlink_edge::data_dir::DataDirectory;
use interlink_edge::gateway::limits::PUBLISHES_PER_CALL_MAX;
use interlink_edge::gateway::{Gateway, GatewayTask, PublishAnswer, PublishRequest};
use interlink_edge::lanes;
use interlink_edge::server::{
    load_keys, unix_seconds, Keys, NodeEvent, NodeState, Phase, ShardPlan, ShardSet,
};
use interlink_edge::shard::drain::Course;
use interlink_edge::shard::{self, Message};
use interlink_protocol::claims::{Claims, PackedClaims};
use interlink_protocol::ErrorCode;
use interlink_wire::AckLevel;

use support::chat::{chat_message, next_event, next_text, CHAT_MESSAGE};
use support::{client_at, placed_name, wait_for, PATIENCE};

/// A loopback address of this process and one node in it.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, 60 + number, high, low))
}

/// What a test changes in the configuration.
type Change = fn(&mut Config);

/// A node without its main and control threads: shards, and a gateway on the test's runtime.
struct ShardsAlone {
    gateway: Gateway,
    node: Arc<NodeState>,
    shards: ShardSet,
    inbox: mpsc::Receiver<NodeEvent>,
    clients: SocketAddr,
    config: Arc<Config>,
    keys: Keys,
    data: Arc<DataDirectory>,
}

impl ShardsAlone {
    /// Starts on a directory; to be called within a runtime, which runs the gateway.
    fn start(directory: PathBuf, shards: u32, change: Change) -> Self {
        let mut config = Config::default();
        config.node.data_directory = directory;
        config.node.shards = shards;
        // Small segments make a start fast: each is written once before it is used.
        config.journal.segment_bytes.0 = 4 << 20;
        change(&mut config);
        let config = Arc::new(config);
        let opened = DataDirectory::open(&config.node.data_directory);
        let data = Arc::new(opened.expect("the directory is free"));
        let keys = load_keys(&config, data.path()).expect("a development key");
        let node = Arc::new(NodeState::default());
        let mut ports = lanes::mesh::<Message>(shards as usize + 1).expect("few threads");
        let port = ports.pop().expect("one for each thread");
        let namespaces = Arc::new(config.namespace_policies().expect("valid"));
        let (gateway, task) = GatewayTask::open(port, shards as u16, namespaces, Arc::clone(&node))
            .expect("descriptors");
        tokio::spawn(task.run());
        let (events, inbox) = mpsc::channel();
        let clients = SocketAddr::new(own_address(), 7_740);
        let shards = shard::launch(ShardPlan {
            config: Arc::clone(&config),
            verifier: keys.keeper.verifier(),
            revocations: keys.keeper.revocations(),
            tls: None,
            ports,
            counters: (0..shards).map(|_| Arc::default()).collect(),
            backbone: Arc::default(),
            node: Arc::clone(&node),
            data: Arc::clone(&data),
            client_address: clients,
            sockets: Vec::new(),
            events,
        });
        let shards = shards.expect("shards start");
        node.advance(Phase::Ready);
        Self {
            gateway,
            node,
            shards,
            inbox,
            clients,
            config,
            keys,
            data,
        }
    }

    /// Stops in order.
    fn stop(mut self) {
        self.node.advance(Phase::Draining);
        self.shards.set_course(Course::Settling);
        wait_for("settlement", || self.shards.are_settled().then_some(()));
        self.shards.set_course(Course::Leaving);
        while !self.shards.have_ended() {
            match self.inbox.recv_timeout(PATIENCE).expect("shards end") {
                NodeEvent::ShardEnded { shard, error: None } => self.shards.note_end(shard),
                other => panic!("no orderly end: {other}"),
            }
        }
        self.shards.join();
        drop((self.keys, self.data));
    }

    async fn client(&self, user: &str, roles: &[&str]) -> Client {
        let key = self.data.path().join("keys/development.key");
        let key = Key::read(&key).expect("the start made a key");
        let auth = &self.config.auth;
        let grant = UserGrant {
            user: user.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            issued_at_s: unix_seconds(),
            not_before_s: unix_seconds() - 1,
            expires_at_s: unix_seconds() + 600,
            ..UserGrant::default()
        };
        let token = mint_user(&key, &grant).expect("the key signs");
        let client = client_at(self.clients, token).connect();
        client.await.expect("the node takes the client")
    }
}

/// Runs a test on a node of one shard and on one of two.
fn on_one_and_two_shards<F: std::future::Future<Output = ()>>(
    change: Change,
    test: fn(ShardsAlone, u32) -> F,
) {
    for shards in [1, 2] {
        let data = tempfile::tempdir().expect("a directory");
        support::run(async {
            test(
                ShardsAlone::start(data.path().into(), shards, change),
                shards,
            )
            .await;
        });
    }
}

fn opaque_inboxes(config: &mut Config) {
    let user = config.namespaces.entry("user".to_owned()).or_default();
    user.opaque_allowed = Some(true);
}

fn service() -> Option<Arc<PackedClaims>> {
    let claims = Claims {
        user: "grades".into(),
        institution: "north".into(),
        roles: vec!["service".into()],
        ..Claims::default()
    };
    Some(Arc::new(PackedClaims::pack(&claims).expect("valid names")))
}

fn keyed(channel: &str, payload: &[u8], key: &str) -> PublishRequest {
    PublishRequest {
        idempotency_key: Some(key.to_owned()),
        ..PublishRequest::new(channel, 0, payload)
    }
}

fn is_new(answer: &PublishAnswer, wanted: AckLevel) -> bool {
    matches!(answer, PublishAnswer::Accepted { level, repeat: false, .. } if *level == wanted)
}

fn refusal(answer: &PublishAnswer) -> Option<ErrorCode> {
    match answer {
        PublishAnswer::Refused(refusal) => Some(refusal.code),
        PublishAnswer::Accepted { .. } => None,
    }
}

async fn open(client: &Client, channel: &str) -> Subscription {
    client.subscribe(channel).await.expect("it is permitted")
}

/// The next event's payload; what is said about recovery is passed over.
async fn next_payload(subscription: &mut Subscription) -> Vec<u8> {
    loop {
        match support::chat::next(subscription).await {
            interlink_client::Delivery::Event(event) => return event.payload,
            interlink_client::Delivery::Recovered(_) => {}
            other => panic!("an event was expected: {other:?}"),
        }
    }
}

#[test]
fn what_a_service_publishes_arrives_in_order_and_is_answered_in_order() {
    on_one_and_two_shards(opaque_inboxes, |node, shards| async move {
        let shards = u64::from(shards);
        let users: Vec<String> = (0..4)
            .map(|which| placed_name("pupil", which % shards, shards, which as usize))
            .collect();
        let mut inboxes = Vec::new();
        let mut clients = Vec::new();
        for user in &users {
            let client = node.client(user, &[]).await;
            inboxes.push(open(&client, &format!("user.{user}")).await);
            clients.push(client);
        }
        let mut records = std::collections::HashSet::new();
        for call in 0..4_u32 {
            let requests = (0..200_u32).map(|place| {
                let user = &users[place as usize % users.len()];
                let number = (call * 200 + place).to_string();
                keyed(&format!("user.{user}"), number.as_bytes(), &number)
            });
            let answers = node.gateway.publish_all(service(), requests.collect());
            let answers = answers.await;
            assert_eq!(answers.len(), 200);
            for answer in answers {
                assert!(is_new(&answer, AckLevel::Local), "{answer:?}");
                if let PublishAnswer::Accepted { record, .. } = answer {
                    records.insert(record);
                }
            }
        }
        assert_eq!(records.len(), 800, "every record has its own identity");
        for (which, inbox) in inboxes.iter_mut().enumerate() {
            for number in (which..800).step_by(users.len()) {
                let payload = next_payload(inbox).await;
                assert_eq!(payload, number.to_string().into_bytes());
            }
        }
        node.stop();
    });
}

#[test]
fn a_key_is_accepted_once_and_answered_again_alike_also_after_a_restart() {
    for shards in [1, 2] {
        let data = tempfile::tempdir().expect("a directory");
        support::run(async {
            let node = ShardsAlone::start(data.path().into(), shards, opaque_inboxes);
            let twice = vec![
                keyed("user.ada", b"one", "a"),
                keyed("user.ada", b"one", "a"),
                keyed("user.ada", b"other", "a"),
                keyed("user.bob", b"other", "a"),
            ];
            let answers = node.gateway.publish_all(service(), twice).await;
            let PublishAnswer::Accepted { record, .. } = answers[0] else {
                panic!("{:?}", answers[0]);
            };
            let again = PublishAnswer::Accepted {
                record,
                level: AckLevel::Local,
                repeat: true,
            };
            assert!(is_new(&answers[0], AckLevel::Local));
            assert_eq!(answers[1], again);
            assert_eq!(refusal(&answers[2]), Some(ErrorCode::IdempotencyConflict));
            assert!(is_new(&answers[3], AckLevel::Local), "{:?}", answers[3]);
            node.stop();

            let node = ShardsAlone::start(data.path().into(), shards, opaque_inboxes);
            let publish = |payload| keyed("user.ada", payload, "a");
            assert_eq!(
                node.gateway.publish(service(), publish(b"one")).await,
                again
            );
            let other = node.gateway.publish(service(), publish(b"other")).await;
            assert_eq!(refusal(&other), Some(ErrorCode::IdempotencyConflict));
            let client = node.client("ada", &[]).await;
            let mut inbox = open(&client, "user.ada").await;
            let last = keyed("user.ada", b"last", "b");
            assert!(is_new(
                &node.gateway.publish(service(), last).await,
                AckLevel::Local
            ));
            assert_eq!(next_payload(&mut inbox).await, b"one");
            assert_eq!(next_payload(&mut inbox).await, b"last");
            node.stop();
        });
    }
}

#[test]
fn the_system_publishes_where_nobody_else_may() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            let watcher = node.client("root", &["operator"]).await;
            for (channel, level) in [
                ("sys.security", AckLevel::Local),
                ("sys.status", AckLevel::Accepted),
                ("sys.metrics", AckLevel::Accepted),
            ] {
                let mut events = match channel {
                    "sys.status" => {
                        let staff = node.client("ada", &["staff"]).await;
                        let events = open(&staff, channel).await;
                        let said = PublishRequest::new(channel, 0, b"{}");
                        let answer = node.gateway.publish(None, said).await;
                        assert!(is_new(&answer, level), "{channel}: {answer:?}");
                        let mut events = events;
                        assert_eq!(next_event(&mut events).await.payload, b"{}");
                        continue;
                    }
                    _ => open(&watcher, channel).await,
                };
                let said = PublishRequest::new(channel, 0, b"{}");
                let refused = node.gateway.publish(service(), said.clone()).await;
                assert_eq!(refusal(&refused), Some(ErrorCode::NotPermitted));
                let answer = node.gateway.publish(None, said).await;
                assert!(is_new(&answer, level), "{channel}: {answer:?}");
                let event = next_event(&mut events).await;
                assert_eq!(
                    (event.payload.as_slice(), &*event.publisher),
                    (&b"{}"[..], "~system")
                );
            }
            node.stop();
        },
    );
}

#[test]
fn services_and_clients_share_the_numbering_of_a_channel() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            let ada = node.client("ada", &["teacher"]).await;
            let mut chat = open(&ada, "chat.ada~bob").await;
            let say =
                |text: &str| PublishRequest::new("chat.ada~bob", CHAT_MESSAGE, &chat_message(text));
            let refused = node.gateway.publish(service(), say("not mine")).await;
            assert_eq!(
                refusal(&refused),
                Some(ErrorCode::SubscriptionTokenRequired)
            );
            for number in 0..4 {
                let text = number.to_string();
                if number % 2 == 0 {
                    let answer = node.gateway.publish(None, say(&text)).await;
                    assert!(is_new(&answer, AckLevel::Local), "{answer:?}");
                } else {
                    support::chat::say(&ada, "chat.ada~bob", &text)
                        .await
                        .expect("acknowledged");
                }
            }
            for number in 0..4 {
                assert_eq!(next_text(&mut chat).await, number.to_string());
            }
            node.stop();
        },
    );
}

#[test]
fn what_cannot_be_taken_is_answered_with_its_code() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            let publish =
                |channel: &str, event_type| PublishRequest::new(channel, event_type, b"{}");
            let old = PublishRequest {
                age_ms: 10 * 60 * 1_000,
                ..keyed("report.north.day", b"{}", "a")
            };
            let wrong = vec![
                publish("nowhere", 0),
                publish("nothing.ada", 0),
                publish("user.ada", 0),
                publish("user.ada", 9_999),
                old,
                publish("report.north.day", 0),
            ];
            let answers = node.gateway.publish_all(service(), wrong).await;
            let codes: Vec<_> = answers.iter().map(refusal).collect();
            assert_eq!(
                codes,
                [
                    Some(ErrorCode::ChannelInvalid),
                    Some(ErrorCode::NamespaceUnknown),
                    Some(ErrorCode::OpaqueRefused),
                    Some(ErrorCode::EventTypeUnknown),
                    Some(ErrorCode::OutcomeUnknown),
                    None,
                ]
            );
            let many = vec![publish("report.north.day", 0); PUBLISHES_PER_CALL_MAX + 1];
            let answers = node.gateway.publish_all(service(), many).await;
            assert!(answers
                .iter()
                .all(|answer| refusal(answer) == Some(ErrorCode::TooManyItems)));
            assert!(node
                .gateway
                .publish_all(service(), Vec::new())
                .await
                .is_empty());
            let gateway = node.gateway.clone();
            node.stop();
            let answer = gateway
                .publish(service(), publish("report.north.day", 0))
                .await;
            assert_eq!(refusal(&answer), Some(ErrorCode::Draining));
        },
    );
}

#[test]
fn more_than_may_be_under_way_is_refused_as_overloaded() {
    on_one_and_two_shards(
        |_| (),
        |node, _| async move {
            // A call counts 17,000 of 65,536 units, and all are made before the first is taken.
            let publish = PublishRequest::new("sys.metrics", 0, &[7; 16 * 1024]);
            let requests = vec![publish; PUBLISHES_PER_CALL_MAX];
            let call = |_| node.gateway.publish_all(None, requests.clone());
            let calls = futures_util::future::join_all((0..8).map(call)).await;
            for (number, answers) in calls.iter().enumerate() {
                let expected = (number >= 3).then_some(ErrorCode::Overloaded);
                assert!(answers.iter().all(|answer| refusal(answer) == expected));
            }
            let later = node.gateway.publish_all(None, requests).await;
            assert!(later.iter().all(|answer| refusal(answer).is_none()));
            node.stop();
        },
    );
}
