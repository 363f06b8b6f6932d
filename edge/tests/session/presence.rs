//! Presence: who is told what of users that come and leave, and pages of who is there.

use std::collections::BTreeMap;

use interlink_client::{Client, Delivery, PresenceChange, Subscription};
use interlink_protocol::frame::{ServerFrame, SubscribeFields};
use interlink_protocol::limits::{PAGE_TOKEN_BYTES, PRESENCE_PAGE_MEMBERS};
use interlink_protocol::ErrorCode;
use interlink_wire::SubscriptionState;

use super::on_one_and_two_shards;
use super::support::chat::next;
use super::support::proxy::Proxy;
use super::support::raw::{decode, Raw};
use super::support::{client_at, placed_name, run, wait_for, Node, Setup, PATIENCE};

on_one_and_two_shards!(
    who_comes_and_leaves_is_told_once_and_a_leave_after_the_grace,
    a_second_device_tells_nothing,
    who_comes_back_within_the_grace_has_not_left,
    a_connection_that_is_lost_without_a_word_leaves_too,
    a_watcher_who_was_away_is_told_the_count,
    all_users_of_a_channel_are_read_page_by_page,
    only_who_may_subscribe_may_ask,
    a_node_without_room_for_presence_says_so_and_stays_within_it,
);

/// A time that no test waits for.
const LONG: &str = "[presence]\ngrace = \"5m\"\nchange_interval = \"10ms\"";
/// A time that a test can wait for.
const SHORT: &str = "[presence]\ngrace = \"200ms\"\nchange_interval = \"10ms\"";
const CLASS: &str = "class.m1";

fn pupil(node: &Node, user: &str) -> String {
    node.token_of(user, |grant| grant.classes = vec!["m1".into()])
}

async fn connected(node: &Node, user: &str) -> Client {
    let client = node.client_with(pupil(node, user)).connect();
    client.await.expect("the node takes the client")
}

/// A connected client that is present in [`CLASS`].
async fn present(node: &Node, user: &str) -> (Client, Subscription) {
    let client = connected(node, user).await;
    let subscription = client.subscribe(CLASS).await.expect("a pupil may");
    (client, subscription)
}

/// Users of which one is at home on each shard, more often than there are shards.
fn users<const COUNT: usize>(shards: u16) -> [String; COUNT] {
    let shards = u64::from(shards);
    std::array::from_fn(|which| {
        let which = which as u64;
        placed_name("pupil", which % shards, shards, (which / shards) as usize)
    })
}

async fn next_change(subscription: &mut Subscription) -> PresenceChange {
    loop {
        match next(subscription).await {
            Delivery::Presence(change) => return change,
            Delivery::Recovered(_) => {}
            other => panic!("a change was expected: {other:?}"),
        }
    }
}

/// Who came, who left and how many are there.
fn told(change: &PresenceChange) -> (Vec<&str>, Vec<&str>, u32) {
    let joined = change.joined.iter().map(|member| &*member.user).collect();
    let left = change.left.iter().map(|member| &*member.user).collect();
    (joined, left, change.count)
}

async fn devices(client: &Client) -> BTreeMap<String, u32> {
    let members = client.presence(CLASS).await.expect("a pupil may ask");
    let members = members.into_iter();
    members
        .map(|member| (member.user.into(), member.devices))
        .collect()
}

fn who_comes_and_leaves_is_told_once_and_a_leave_after_the_grace(shards: u16) {
    let node = Setup::shards(shards).config(SHORT).start();
    run(async {
        let [ada, bob, eve] = users(shards);
        let watcher = connected(&node, &ada).await;
        let mut class = watcher.subscribe(CLASS).presence().await.unwrap();
        let change = next_change(&mut class).await;
        assert!(!change.has_names());
        assert_eq!(change.count, 1, "the watcher itself");
        let (first, _class) = present(&node, &bob).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*bob], vec![], 2)
        );
        let second = connected(&node, &eve).await;
        let theirs = second.subscribe(CLASS).presence().await.unwrap();
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*eve], vec![], 3)
        );
        first.close().await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![], vec![&*bob], 2)
        );
        // The connection stays, the subscription ends.
        drop(theirs);
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![], vec![&*eve], 1)
        );
        drop(second);
    });
}

fn a_second_device_tells_nothing(shards: u16) {
    let node = Setup::shards(shards).config(SHORT).start();
    run(async {
        let [ada, bob, eve, kim] = users(shards);
        let watcher = connected(&node, &ada).await;
        let mut class = watcher.subscribe(CLASS).presence().await.unwrap();
        assert_eq!(next_change(&mut class).await.count, 1);
        let (_first, _class) = present(&node, &bob).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*bob], vec![], 2)
        );
        let (second, _again) = present(&node, &bob).await;
        let (_eve, _hers) = present(&node, &eve).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*eve], vec![], 3)
        );
        assert_eq!(devices(&watcher).await[&bob], 2);
        second.close().await;
        wait_for_devices(&watcher, &bob, 1).await;
        let (_kim, _theirs) = present(&node, &kim).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*kim], vec![], 4)
        );
    });
}

async fn wait_for_devices(client: &Client, user: &str, wanted: u32) {
    let looking = async { while devices(client).await.get(user) != Some(&wanted) {} };
    let looked = tokio::time::timeout(PATIENCE, looking).await;
    looked.unwrap_or_else(|_| panic!("{user} never had {wanted} devices"));
}

fn wait_for_metric(node: &Node, name: &str, wanted: usize) {
    wait_for(name, || {
        (node.metric(name) == Some(wanted as f64)).then_some(())
    });
}

fn who_comes_back_within_the_grace_has_not_left(shards: u16) {
    let node = Setup::shards(shards).config(LONG).start();
    let proxy = Proxy::start(node.clients());
    run(async {
        let [ada, bob, eve] = users(shards);
        let watcher = connected(&node, &ada).await;
        let mut class = watcher.subscribe(CLASS).presence().await.unwrap();
        assert_eq!(next_change(&mut class).await.count, 1);
        let behind = client_at(proxy.address(), pupil(&node, &bob)).connect();
        let behind = behind.await.unwrap();
        let _class = behind.subscribe(CLASS).await.unwrap();
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*bob], vec![], 2)
        );
        for comings in 2..5 {
            proxy.cut();
            let coming = async {
                while proxy.connections() < comings {
                    devices(&watcher).await;
                }
            };
            let came = tokio::time::timeout(PATIENCE, coming).await;
            came.expect("the client returns");
            wait_for_devices(&watcher, &bob, 1).await;
        }
        let (_eve, _hers) = present(&node, &eve).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*eve], vec![], 3)
        );
    });
}

fn a_connection_that_is_lost_without_a_word_leaves_too(shards: u16) {
    let node = Setup::shards(shards).config(SHORT).start();
    run(async {
        let [ada, bob] = users(shards);
        let watcher = connected(&node, &ada).await;
        let mut class = watcher.subscribe(CLASS).presence().await.unwrap();
        assert_eq!(next_change(&mut class).await.count, 1);
        let mut raw = Raw::welcomed(node.clients(), &pupil(&node, &bob), 1);
        raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(CLASS)]));
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*bob], vec![], 2)
        );
        // Its session stays for the resume window, which is longer.
        drop(raw);
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![], vec![&*bob], 1)
        );
        assert_eq!(devices(&watcher).await.len(), 1);
    });
}

fn a_watcher_who_was_away_is_told_the_count(shards: u16) {
    let node = Setup::shards(shards).config(LONG).start();
    let proxy = Proxy::start(node.clients());
    run(async {
        let [ada, bob] = users(shards);
        let watcher = client_at(proxy.address(), pupil(&node, &ada)).connect();
        let watcher = watcher.await.unwrap();
        let mut class = watcher.subscribe(CLASS).presence().await.unwrap();
        assert_eq!(next_change(&mut class).await.count, 1);
        let (_bob, _class) = present(&node, &bob).await;
        assert_eq!(
            told(&next_change(&mut class).await),
            (vec![&*bob], vec![], 2)
        );
        proxy.cut();
        let change = next_change(&mut class).await;
        assert_eq!((change.has_names(), change.count), (false, 2));
        wait_for_metric(&node, "interlink_edge_sessions_resumed_total", 1);
    });
}

fn all_users_of_a_channel_are_read_page_by_page(shards: u16) {
    const USERS: usize = PRESENCE_PAGE_MEMBERS + 50;
    let node = Setup::shards(shards).config(LONG).start();
    let names: Vec<String> = (0..USERS).map(|number| format!("u{number:03}")).collect();
    let mut open = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut raw = Raw::welcomed(node.clients(), &pupil(&node, name), number as u128 + 1);
        raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(CLASS)]));
        assert!(matches!(
            decode(&raw.next_frame()),
            ServerFrame::Subscribed(_)
        ));
        open.push(raw);
    }
    run(async {
        // It asks and is not there.
        let client = connected(&node, "reader").await;
        let first = client.presence(CLASS).page().await.unwrap();
        assert_eq!(
            (first.count, first.members.len()),
            (USERS as u32, PRESENCE_PAGE_MEMBERS)
        );
        let rest = client
            .presence(CLASS)
            .from_page(first.next.clone().unwrap());
        let rest = rest.page().await.unwrap();
        assert_eq!((rest.members.len(), rest.next), (50, None));
        let listed: Vec<String> = first
            .members
            .into_iter()
            .chain(rest.members)
            .map(|member| member.user.into())
            .collect();
        assert_eq!(listed, names);
        let all = client.presence(CLASS).await.unwrap();
        assert_eq!(all.len(), USERS);
        assert!(all.iter().all(|member| member.devices == 1));
    });
    wait_for_metric(&node, "interlink_edge_presence_pages_total", 4);
    wait_for_metric(&node, "interlink_edge_presence_users", USERS);
}

fn only_who_may_subscribe_may_ask(shards: u16) {
    let node = Setup::shards(shards).start();
    let token = node.token_of("ada", |grant| {
        grant.institution = Some("south".into());
        grant.classes = vec!["m2".into()];
    });
    let mut raw = Raw::welcomed(node.clients(), &token, 1);
    let long = "x".repeat(PAGE_TOKEN_BYTES + 1);
    let cases = [
        ("inst.north", None, ErrorCode::NotPermitted),
        ("presence.inst.north", None, ErrorCode::NotPermitted),
        ("dept.north.maths", None, ErrorCode::NotPermitted),
        (CLASS, None, ErrorCode::NotPermitted),
        ("chat.bob~eve", None, ErrorCode::SubscriptionTokenRequired),
        ("user.ada", None, ErrorCode::PresenceUnavailable),
        ("nowhere.x", None, ErrorCode::NamespaceUnknown),
        ("class", None, ErrorCode::ChannelInvalid),
        ("class.m2", Some(long.as_str()), ErrorCode::PageInvalid),
    ];
    for (request, (channel, page, code)) in (1..).zip(cases) {
        raw.send_encoded(|encoder| encoder.presence(request, channel, page));
        let frame = raw.next_frame();
        let ServerFrame::Error(error) = decode(&frame) else {
            panic!("{channel}: an Error was expected");
        };
        assert_eq!(
            (error.code(), error.request_id()),
            (code.number(), request),
            "{channel}"
        );
    }
    for (request, channel) in [(50, "inst.south"), (51, "class.m2"), (52, "chat.ada~bob")] {
        raw.send_encoded(|encoder| encoder.presence(request, channel, None));
        let frame = raw.next_frame();
        let ServerFrame::PresencePage(page) = decode(&frame) else {
            panic!("{channel}: a page was expected");
        };
        assert_eq!((page.request_id(), page.count()), (request, 0));
        assert_eq!((page.channel(), page.next_page()), (channel, None));
    }
    let wanted = SubscribeFields {
        presence: true,
        ..SubscribeFields::new("user.ada")
    };
    raw.send_encoded(|encoder| encoder.subscribe(60, &[wanted]));
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("an answer was expected");
    };
    let entry = answer.channels().get(0);
    assert_eq!(entry.state(), SubscriptionState::Refused);
    assert_eq!(entry.code(), ErrorCode::PresenceUnavailable.number());
}

fn a_node_without_room_for_presence_says_so_and_stays_within_it(shards: u16) {
    const ROOM: u64 = 1 << 20;
    let lines = "[presence]\nbytes_per_shard = \"1MiB\"";
    let node = Setup::shards(shards).config(lines).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let mut pages = 0;
    let code = loop {
        let channel = format!("chat.ada~bob{pages}");
        raw.send_encoded(|encoder| encoder.presence(7, &channel, None));
        let frame = raw.next_frame();
        match decode(&frame) {
            ServerFrame::PresencePage(_) => pages += 1,
            ServerFrame::Error(error) => break error.code(),
            other => panic!("a page was expected: {:?}", other.kind()),
        }
    };
    assert_eq!(code, ErrorCode::Overloaded.number());
    assert!(pages > 500, "{pages}");
    let bytes = node.metric("interlink_edge_presence_bytes").unwrap();
    assert!(bytes <= (ROOM * u64::from(shards)) as f64, "{bytes}");
    // What was found before is still answered.
    raw.send_encoded(|encoder| encoder.presence(8, "chat.ada~bob0", None));
    let frame = raw.next_frame();
    assert!(matches!(decode(&frame), ServerFrame::PresencePage(_)));
}
