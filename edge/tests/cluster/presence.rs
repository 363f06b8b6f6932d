//! Presence over two nodes: who is there, who comes and who leaves, whichever node they are on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use interlink_client::{Client, Delivery, PresenceChange, Subscription};
use interlink_relay::limits::{LEASE_MS, LEASE_RENEW_MS};

use super::stand::OwnRedis;
use super::support::chat::next;
use super::support::{http_request, wait_for, Node, PATIENCE};
use super::{pair_on, stand, unique};

/// A grace that a test can wait for.
const SHORT: &str = "[presence]\ngrace = \"200ms\"\nchange_interval = \"10ms\"";

/// Users that take several messages between nodes.
const PUPILS: u32 = 200;

const LEASE: Duration = Duration::from_millis(LEASE_MS);
const RENEWAL: Duration = Duration::from_millis(LEASE_RENEW_MS);

/// Two nodes that are a cluster alone, since leaves wait for every node that lives; a class, and
/// who watches it on the first.
struct Class {
    first: Node,
    second: Node,
    redis: OwnRedis,
    channel: String,
    watcher: Client,
    changes: Subscription,
    name: String,
}

impl Class {
    async fn begin() -> Self {
        let redis = OwnRedis::start();
        let sections = stand::sections_on(&redis.address());
        let (first, second) = pair_on(&format!("{sections}{SHORT}"));
        for node in [&first, &second] {
            wait_for("the other node", || {
                (node.metric("interlink_edge_cluster_nodes")? == 1.0).then_some(())
            });
        }
        let (class, name) = (unique("m"), unique("ada"));
        let channel = format!("class.{class}");
        let watcher = member(&first, &first, &name, &class).await;
        let mut changes = watcher
            .subscribe(&channel)
            .presence()
            .await
            .expect("a pupil");
        assert_eq!(next_change(&mut changes).await.count, 1, "the watcher");
        Self {
            first,
            second,
            redis,
            channel,
            watcher,
            changes,
            name,
        }
    }

    /// A user who is present on a node.
    async fn on(&self, node: &Node, user: &str) -> (Client, Subscription) {
        let class = self.channel.trim_start_matches("class.");
        let client = member(node, &self.first, user, class).await;
        let subscription = client.subscribe(&self.channel).await.expect("a pupil may");
        (client, subscription)
    }

    async fn joins(&mut self, user: &str, count: u32) {
        let change = next_change(&mut self.changes).await;
        assert_eq!(told(&change), (vec![user], vec![], count));
    }

    /// Waits for the next change, for longer than anything may take that waits for leases.
    async fn leaves(&mut self, user: &str, count: u32) {
        let change = tokio::time::timeout(2 * PATIENCE, self.changes.next()).await;
        match change.unwrap_or_else(|_| panic!("{user} never leaves")) {
            Some(Delivery::Presence(change)) => {
                assert_eq!(told(&change), (vec![], vec![user], count));
            }
            other => panic!("a change was expected: {other:?}"),
        }
    }

    async fn devices(&self, client: &Client) -> BTreeMap<String, u32> {
        let members = client.presence(&self.channel).await.expect("a pupil");
        let members = members.into_iter();
        members
            .map(|member| (member.user.into(), member.devices))
            .collect()
    }

    /// Whether pages say that other nodes could not be asked.
    async fn is_stale(&self) -> bool {
        let page = self.watcher.presence(&self.channel).page().await;
        page.expect("a pupil").stale
    }

    /// Waits until pages on a client's node list these users with their devices.
    async fn lists(&self, client: &Client, wanted: &[(String, u32)]) {
        let wanted: BTreeMap<String, u32> = wanted.iter().cloned().collect();
        let looking = async { while self.devices(client).await != wanted {} };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            assert_eq!(self.devices(client).await, wanted);
        }
    }

    /// Waits until leaves are told: for a lease after the start nobody is.
    async fn settle(&mut self) {
        let marker = unique("marker");
        let there = self.on(&self.second, &marker).await;
        self.joins(&marker, 2).await;
        there.0.close().await;
        self.leaves(&marker, 1).await;
    }
}

async fn member(node: &Node, issuer: &Node, user: &str, class: &str) -> Client {
    let token = issuer.token_of(user, |grant| grant.classes = vec![class.into()]);
    let client = node.client_with(token).connect().await;
    client.expect("the node takes the client")
}

async fn next_change(subscription: &mut Subscription) -> PresenceChange {
    match next(subscription).await {
        Delivery::Presence(change) => change,
        other => panic!("a change was expected: {other:?}"),
    }
}

/// Who came, who left and how many are there.
fn told(change: &PresenceChange) -> (Vec<&str>, Vec<&str>, u32) {
    let joined = change.joined.iter().map(|member| &*member.user).collect();
    let left = change.left.iter().map(|member| &*member.user).collect();
    (joined, left, change.count)
}

#[tokio::test]
async fn users_of_both_nodes_are_on_one_page_and_in_one_count() {
    let mut class = Class::begin().await;
    let [bob, eve] = ["bob", "eve"].map(unique);
    let (there, _bobs) = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    let (_here, _eves) = class.on(&class.first, &eve).await;
    class.joins(&eve, 3).await;
    let name = class.name.clone();
    let all = [(name.clone(), 1), (bob.clone(), 1), (eve.clone(), 1)];
    class.lists(&class.watcher, &all).await;
    // On the other node nobody has asked so far.
    class.lists(&there, &all).await;
    let service = class.first.token_of("reports", |grant| {
        grant.roles.push("service".into());
    });
    let path = format!("/v1/presence?channel={}", class.channel);
    let bearer = format!("Authorization: Bearer {service}\r\n");
    for node in [&class.first, &class.second] {
        let (status, page) =
            http_request(node.api(), "GET", &path, &bearer).expect("the node answers");
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("\"count\":3"), "{page}");
    }
}

#[tokio::test]
async fn the_first_page_has_everybody_of_the_other_node() {
    let mut class = Class::begin().await;
    let mut pupils = Vec::new();
    for _ in 0..PUPILS {
        pupils.push(class.on(&class.first, &unique("pupil")).await);
    }
    while next_change(&mut class.changes).await.count < PUPILS + 1 {}
    // Nobody has asked the other node so far; it asks this one and is answered in many parts.
    let name = class.channel.trim_start_matches("class.");
    let there = member(&class.second, &class.first, &unique("eve"), name).await;
    let page = there
        .presence(&class.channel)
        .page()
        .await
        .expect("a pupil");
    assert_eq!((page.count, page.stale), (PUPILS + 1, false));
    assert_eq!(page.members.len(), PUPILS as usize + 1);
}

#[tokio::test]
async fn who_comes_and_leaves_on_the_other_node_is_told_once() {
    let mut class = Class::begin().await;
    let [bob, eve, kim] = ["bob", "eve", "kim"].map(unique);
    let bobs = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    bobs.0.close().await;
    class.leaves(&bob, 1).await;
    let eves = class.on(&class.second, &eve).await;
    class.joins(&eve, 2).await;
    // The connection stays, the subscription ends.
    drop(eves.1);
    class.leaves(&eve, 1).await;
    let _kims = class.on(&class.first, &kim).await;
    class.joins(&kim, 2).await;
}

#[tokio::test]
async fn a_user_with_devices_on_both_nodes_leaves_with_the_last_one() {
    let mut class = Class::begin().await;
    class.settle().await;
    let [bob, kim] = ["bob", "kim"].map(unique);
    let name = class.name.clone();
    let there = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    let here = class.on(&class.first, &bob).await;
    let with_bob = |devices| [(name.clone(), 1), (bob.clone(), devices)];
    class.lists(&class.watcher, &with_bob(2)).await;
    here.0.close().await;
    class.lists(&class.watcher, &with_bob(1)).await;
    let here = class.on(&class.first, &bob).await;
    class.lists(&class.watcher, &with_bob(2)).await;
    there.0.close().await;
    class.lists(&class.watcher, &with_bob(1)).await;
    let kims = class.on(&class.second, &kim).await;
    class.joins(&kim, 3).await;
    here.0.close().await;
    class.leaves(&bob, 2).await;
    drop(kims);
}

#[tokio::test]
async fn users_of_a_killed_node_leave_after_its_lease_and_not_before() {
    let mut class = Class::begin().await;
    class.settle().await;
    let bob = unique("bob");
    let _bobs = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    let killed = Instant::now();
    class.second.kill();
    class.leaves(&bob, 1).await;
    let told_after = killed.elapsed();
    assert!(told_after >= LEASE - RENEWAL, "{told_after:?}");
    assert!(
        told_after <= LEASE + RENEWAL + PATIENCE / 2,
        "{told_after:?}"
    );
}

#[tokio::test]
async fn users_of_a_node_that_stops_in_order_leave_without_waiting_for_its_lease() {
    let mut class = Class::begin().await;
    class.settle().await;
    let bob = unique("bob");
    let _bobs = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    class.second.ask_to_stop();
    let stopped = class.second.wait_for_end();
    assert!(stopped.success(), "{stopped}");
    let ended = Instant::now();
    class.leaves(&bob, 1).await;
    let told_after = ended.elapsed();
    assert!(told_after < LEASE - RENEWAL, "{told_after:?}");
}

#[tokio::test]
async fn nobody_is_told_to_have_left_while_redis_is_stopped_and_started_again() {
    let mut class = Class::begin().await;
    class.settle().await;
    let [bob, eve, kim] = ["bob", "eve", "kim"].map(unique);
    let name = class.name.clone();
    let there = class.on(&class.second, &bob).await;
    class.joins(&bob, 2).await;
    let kims = class.on(&class.first, &kim).await;
    class.joins(&kim, 3).await;
    class.redis.stop();
    for node in [&class.first, &class.second] {
        wait_for("the loss of Redis", || {
            (node.metric("interlink_edge_backplane_away")? > 0.0).then_some(())
        });
    }
    // One joins on the node that nobody hears, one changes nodes, and one goes.
    let _eves = class.on(&class.second, &eve).await;
    let _here = class.on(&class.first, &bob).await;
    there.0.close().await;
    kims.0.close().await;
    let known = [(name.clone(), 1), (bob.clone(), 2), (kim.clone(), 0)];
    class.lists(&class.watcher, &known).await;
    assert!(class.is_stale().await, "what is known may be old");
    let back = Instant::now();
    class.redis.start_again();
    class.joins(&eve, 4).await;
    class.leaves(&kim, 3).await;
    assert!(back.elapsed() >= LEASE, "{:?}", back.elapsed());
    let all = [(name.clone(), 1), (bob.clone(), 1), (eve.clone(), 1)];
    class.lists(&class.watcher, &all).await;
    assert!(!class.is_stale().await);
}
