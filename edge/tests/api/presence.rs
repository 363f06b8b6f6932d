//! Who is present in a channel, as services read it.

use interlink_client::{Client, Subscription};
use interlink_protocol::limits::PAGE_TOKEN_BYTES;

use super::support::{placed_name, run, wait_for};
use super::*;

/// A node on which who is gone leaves soon.
fn node(shards: u16) -> Node {
    let lines = "[presence]\ngrace = \"100ms\"";
    Setup::shards(shards).config(lines).start()
}

async fn present(node: &Node, user: &str, channel: &str) -> (Client, Subscription) {
    let client = node.client_with(member_of(node, user, "north")).connect();
    let client = client.await.expect("welcomed");
    let subscription = client.subscribe(channel).await.expect("permitted");
    (client, subscription)
}

fn read(node: &Node, token: &str, query: &str) -> Value {
    let (status, page) = get(node, &format!("/v1/presence?{query}"), token);
    assert_eq!(status, 200, "{page}");
    page
}

#[test]
fn services_read_who_is_present_until_they_have_left() {
    for shards in [1, 2] {
        let node = node(shards);
        let shards = u64::from(shards);
        let mut users: Vec<String> = (0..4)
            .map(|which| placed_name("pupil", which % shards, shards, which as usize))
            .collect();
        users.sort();
        let token = service_of(&node, "north");
        let query = "channel=inst.north";
        let nobody = json!({"count": 0, "users": [], "next": null, "stale": false});
        assert_eq!(read(&node, &token, query), nobody);
        run(async {
            let mut open = Vec::new();
            for user in users.iter().chain([&users[0]]) {
                open.push(present(&node, user, "inst.north").await);
            }
            let entry = |user: &String, devices| json!({"user": user, "devices": devices});
            let all: Vec<Value> = (users.iter())
                .map(|user| entry(user, if *user == users[0] { 2 } else { 1 }))
                .collect();
            wait_for("all users", || {
                let page = read(&node, &token, query);
                (page["users"] == json!(all) && page["count"] == json!(4)).then_some(())
            });
            let behind = read(&node, &token, &format!("{query}&after={}", users[1]));
            assert_eq!(behind["users"], json!(all[2..]));
            assert_eq!(
                (&behind["count"], &behind["next"]),
                (&json!(4), &Value::Null)
            );
            let gone = json!({"user": users[0]});
            let (status, answer) = post(&node, "/v1/disconnect", &token, &gone);
            assert_eq!((status, answer), (200, json!({"connections": 2})));
            wait_for("the end of the grace", || {
                (read(&node, &token, query)["users"] == json!(all[1..])).then_some(())
            });
        });
    }
}

#[test]
fn presence_is_refused_where_there_is_none_or_it_may_not_be_known() {
    let node = node(2);
    let (whole, south) = (service(&node), service_of(&node, "south"));
    let long = format!(
        "channel=inst.north&after={}",
        "x".repeat(PAGE_TOKEN_BYTES + 1)
    );
    for (query, token, expected) in [
        ("channel=inst.north", &south, (403, "not_permitted")),
        ("channel=chat.ada~bob", &south, (403, "not_permitted")),
        ("channel=user.ada", &whole, (400, "presence_unavailable")),
        ("channel=nothing.x", &whole, (400, "namespace_unknown")),
        ("channel=nowhere", &whole, (400, "channel_invalid")),
        ("chanel=inst.north", &whole, (400, "invalid_request")),
        (&long, &whole, (400, "page_invalid")),
        (
            "channel=inst.north",
            &node.token("ada"),
            (403, "not_permitted"),
        ),
    ] {
        let answer = get(&node, &format!("/v1/presence?{query}"), token);
        assert_refused(answer, expected);
    }
    assert_eq!(
        read(&node, &whole, "channel=chat.ada~bob")["count"],
        json!(0)
    );
    assert_eq!(read(&node, &south, "channel=inst.south")["count"], json!(0));
}
