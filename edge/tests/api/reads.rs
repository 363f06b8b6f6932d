//! What services read: channels with their subscribers, and history.

use std::collections::BTreeMap;

use interlink_client::{Client, Subscription};

use super::support::{placed_name, run};
use super::*;

/// Every channel of all pages with its subscribers.
fn channels(node: &Node, token: &str, query: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let mut after = String::new();
    loop {
        let (status, page) = get(node, &format!("/v1/channels?{query}{after}"), token);
        assert_eq!(status, 200, "{page}");
        for entry in page["channels"].as_array().expect("a list") {
            let name = entry["channel"].as_str().expect("a name").to_owned();
            let count = entry["subscribers"].as_u64().expect("a number");
            assert!(all.insert(name, count).is_none(), "listed once: {entry}");
        }
        let Some(next) = page["next"].as_str() else {
            return all;
        };
        after = format!("&after={next}");
    }
}

async fn member(node: &Node, user: &str, channels: &[&str]) -> (Client, Vec<Subscription>) {
    let client = node.client_with(member_of(node, user, "north"));
    let client = client.connect().await.expect("welcomed");
    let mut subscriptions = Vec::new();
    for channel in channels {
        let subscription = client.subscribe(channel).await;
        subscriptions.push(subscription.expect("permitted"));
    }
    (client, subscriptions)
}

#[test]
fn channels_are_listed_with_their_subscribers_on_all_shards() {
    for shards in [1, 2] {
        let node = start(shards);
        let users: Vec<String> = (0..6)
            .map(|number| {
                let shard = number as u64 % u64::from(shards);
                placed_name("user-", shard, shards.into(), number)
            })
            .collect();
        run(async {
            let mut members = Vec::new();
            for user in &users {
                let own = format!("user.{user}");
                members.push(member(&node, user, &["inst.north", &own]).await);
            }
            let mut expected: BTreeMap<String, u64> = users
                .iter()
                .map(|user| (format!("user.{user}"), 1))
                .collect();
            expected.insert("inst.north".to_owned(), 6);
            let whole = service(&node);
            assert_eq!(channels(&node, &whole, ""), expected);
            assert_eq!(channels(&node, &whole, "limit=1"), expected);
            assert_eq!(channels(&node, &whole, "limit=2&prefix=user."), {
                let mut users = expected.clone();
                users.remove("inst.north");
                users
            });
            let own = BTreeMap::from([("inst.north".to_owned(), 6)]);
            assert_eq!(channels(&node, &service_of(&node, "north"), ""), own);
            assert!(channels(&node, &service_of(&node, "south"), "").is_empty());
            let body = json!({"user": users[0]});
            assert_eq!(post(&node, "/v1/disconnect", &whole, &body).0, 200);
            expected.remove(&format!("user.{}", users[0]));
            expected.insert("inst.north".to_owned(), 5);
            assert_eq!(channels(&node, &whole, ""), expected);
        });
    }
}

/// The numbers that were published on a channel, page by page, and the last position.
fn history(node: &Node, token: &str, query: &str) -> (Vec<u64>, String) {
    let (mut numbers, mut after) = (Vec::new(), String::new());
    loop {
        let from = if after.is_empty() {
            String::new()
        } else {
            format!("&after={after}")
        };
        let (status, page) = get(node, &format!("/v1/history?{query}{from}"), token);
        assert_eq!(status, 200, "{page}");
        for event in page["events"].as_array().expect("a list") {
            assert_eq!(event["publisher"], json!("service:reports"));
            numbers.push(event["json"].as_u64().expect("a number"));
            assert_eq!(event["offset"], json!(numbers.last().map(|last| last + 1)));
            after = event["position"].as_str().expect("a position").to_owned();
        }
        assert_eq!(page["next"].as_str().unwrap_or_default(), after);
        if page["more"] == json!(false) {
            return (numbers, after);
        }
    }
}

#[test]
fn history_is_read_page_by_page_and_after_a_restart() {
    for shards in [1, 2] {
        let mut node = start(shards);
        let token = service(&node);
        for channel in [REPORT, "user.watcher"] {
            let event = |number: u64| json!({"channel": channel, "json": number});
            let batch = json!({"publishes": (0..250).map(event).collect::<Vec<_>>()});
            assert_eq!(post(&node, "/v1/batch", &token, &batch).0, 200);
        }
        for restarted in [false, true] {
            if restarted {
                node.kill();
                node.start();
            }
            for channel in [REPORT, "user.watcher"] {
                let query = format!("channel={channel}");
                let all: Vec<u64> = (0..250).collect();
                assert_eq!(history(&node, &token, &query).0, all);
                assert_eq!(history(&node, &token, &format!("{query}&limit=7")).0, all);
                let (_, page) = get(&node, &format!("/v1/history?{query}&limit=10"), &token);
                assert_eq!(page["more"], json!(true));
                let tenth = page["next"].as_str().expect("a position");
                let rest = format!("/v1/history?{query}&after={tenth}&limit=1");
                let (_, page) = get(&node, &rest, &token);
                assert_eq!(page["events"][0]["json"], json!(10));
            }
        }
        let (_, last) = history(&node, &token, &format!("channel={REPORT}"));
        let after = format!("/v1/history?channel={REPORT}&after={last}");
        let (status, page) = get(&node, &after, &token);
        assert_eq!((status, &page["events"]), (200, &json!([])));
        assert_eq!(
            (&page["more"], &page["next"]),
            (&json!(false), &json!(last))
        );
        let event = json!({"channel": REPORT, "json": 250});
        assert_eq!(post(&node, "/v1/publish", &token, &event).0, 200);
        assert_eq!(
            get(&node, &after, &token).1["events"][0]["json"],
            json!(250)
        );
    }
}

#[test]
fn reads_that_cannot_be_answered_say_why() {
    let node = start(2);
    let whole = service(&node);
    let south = service_of(&node, "south");
    let event = json!({"channel": REPORT, "json": 1});
    assert_eq!(post(&node, "/v1/publish", &whole, &event).0, 200);
    for (path, token, expected) in [
        ("history", &whole, (400, "invalid_request")),
        (
            "history?channel=report.north.day&limit=x",
            &whole,
            (400, "invalid_request"),
        ),
        (
            "history?chanel=report.north.day",
            &whole,
            (400, "invalid_request"),
        ),
        ("history?channel=nowhere", &whole, (400, "channel_invalid")),
        (
            "history?channel=nothing.x",
            &whole,
            (400, "namespace_unknown"),
        ),
        (
            "history?channel=activity.ada",
            &whole,
            (400, "history_unavailable"),
        ),
        (
            "history?channel=report.north.day&after=1.2",
            &whole,
            (400, "invalid_request"),
        ),
        (
            "history?channel=report.north.day&after=1.77.5",
            &whole,
            (400, "position_unknown"),
        ),
        (
            "history?channel=report.north.day",
            &south,
            (403, "not_permitted"),
        ),
        ("history?channel=user.ada", &south, (403, "not_permitted")),
        ("channels?after=x", &whole, (400, "page_invalid")),
        ("channels?limit=-1", &whole, (400, "invalid_request")),
        ("channels", &node.token("ada"), (403, "not_permitted")),
        ("channels", &String::new(), (401, "token_invalid")),
    ] {
        let answer = get(&node, &format!("/v1/{path}"), token);
        assert_refused(answer, expected);
    }
    let answer = post(&node, "/v1/history", &whole, &json!({"channel": REPORT}));
    assert_refused(answer, (405, "not_supported"));
    let (status, page) = get(&node, "/v1/history?channel=report.north.none", &whole);
    assert_eq!(
        (status, &page["events"], &page["next"]),
        (200, &json!([]), &Value::Null)
    );
}
