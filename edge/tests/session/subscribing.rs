//! Subscribing: permissions, tokens, recovery and the end of subscriptions.

use interlink_client::{Delivery, GapReason, Position};
use interlink_protocol::frame::{ServerFrame, SubscribeFields};
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::on_one_and_two_shards;
use super::support::chat::{next, next_event, next_text, say, text_of};
use super::support::raw::{decode, Raw};
use super::support::{run, Setup};

on_one_and_two_shards!(
    what_may_not_be_subscribed_is_refused_with_its_code,
    a_subscription_token_grants_one_channel_to_one_user,
    members_and_teachers_share_a_class,
    an_ended_subscription_gets_nothing_more,
    a_known_position_is_continued_without_loss,
    an_unknown_position_is_answered_as_such,
    the_number_of_subscriptions_is_bounded,
    several_sessions_of_a_user_all_get_the_event,
);

fn what_may_not_be_subscribed_is_refused_with_its_code(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        let for_bob = node.subscription_token("bob", "collab.paper");
        let elsewhere = node.subscription_token("ada", "collab.other");
        let cases = [
            (ada.subscribe("user.bob"), ErrorCode::NotPermitted),
            (ada.subscribe("class.algebra"), ErrorCode::NotPermitted),
            (ada.subscribe("sys.security"), ErrorCode::NotPermitted),
            (
                ada.subscribe("chat.bob~eve"),
                ErrorCode::SubscriptionTokenRequired,
            ),
            (
                ada.subscribe("collab.paper"),
                ErrorCode::SubscriptionTokenRequired,
            ),
            (
                ada.subscribe("collab.paper").token(for_bob),
                ErrorCode::SubscriptionTokenInvalid,
            ),
            (
                ada.subscribe("collab.paper").token(elsewhere),
                ErrorCode::SubscriptionTokenInvalid,
            ),
            (
                ada.subscribe("collab.paper").token("x.y.z"),
                ErrorCode::SubscriptionTokenInvalid,
            ),
            (ada.subscribe("nowhere.paper"), ErrorCode::NamespaceUnknown),
        ];
        for (subscribe, code) in cases {
            let error = subscribe.await.expect_err(code.name());
            assert_eq!(
                error.code().map(|code| code.0),
                Some(code.number()),
                "{error}"
            );
        }
        ada.subscribe("user.ada")
            .await
            .expect("the own inbox is open");
    });
}

fn a_subscription_token_grants_one_channel_to_one_user(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let (ada, bob) = (node.client("ada").await, node.client("bob").await);
        let grant = |user: &str| node.subscription_token(user, "collab.paper");
        let mut of_ada = ada
            .subscribe("collab.paper")
            .token(grant("ada"))
            .await
            .unwrap();
        let refused = bob
            .publish("collab.paper", b"edit".to_vec())
            .await
            .unwrap_err();
        let required = ErrorCode::SubscriptionTokenRequired.number();
        assert_eq!(refused.code().map(|code| code.0), Some(required));
        let _of_bob = bob
            .subscribe("collab.paper")
            .token(grant("bob"))
            .await
            .unwrap();
        bob.publish("collab.paper", b"edit".to_vec()).await.unwrap();
        assert_eq!(next_event(&mut of_ada).await.payload, b"edit");
    });
}

fn members_and_teachers_share_a_class(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let member = |user: &str, roles: &[&str]| {
            let token = node.token_of(user, |grant| {
                grant.classes.push("algebra".into());
                grant.roles = roles.iter().map(|role| (*role).to_owned()).collect();
            });
            node.client_with(token).connect()
        };
        let teacher = member("tina", &["teacher"]).await.unwrap();
        let mut pupils = Vec::new();
        for number in 0..10 {
            let pupil = member(&format!("pupil{number}"), &[]).await.unwrap();
            pupils.push((pupil.subscribe("class.algebra").await.unwrap(), pupil));
        }
        let refused = say(&pupils[0].1, "class.algebra", "hi").await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.0),
            Some(ErrorCode::NotPermitted.number())
        );
        say(&teacher, "class.algebra", "page 12").await.unwrap();
        say(&teacher, "class.algebra", "page 13").await.unwrap();
        for (class, _) in &mut pupils {
            assert_eq!(next_text(class).await, "page 12");
            assert_eq!(next_text(class).await, "page 13");
        }
    });
}

/// Sends a request and returns the state and code of its channels.
fn subscribed(raw: &mut Raw, request_id: u32) -> Vec<(wire::SubscriptionState, u16)> {
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("an answer was expected: {:?}", decode(&frame).kind());
    };
    assert_eq!(answer.request_id(), request_id);
    answer
        .channels()
        .iter()
        .map(|channel| (channel.state(), channel.code()))
        .collect()
}

fn an_ended_subscription_gets_nothing_more(shards: u16) {
    let node = Setup::shards(shards).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let channels = [
        SubscribeFields::new("chat.ada~bob"),
        SubscribeFields::new("activity.ada"),
    ];
    raw.send_encoded(|encoder| encoder.subscribe(1, &channels));
    assert_eq!(
        subscribed(&mut raw, 1),
        [(wire::SubscriptionState::Live, 0); 2]
    );
    raw.send_encoded(|encoder| encoder.subscribe(2, &channels[..1]));
    let already = (
        wire::SubscriptionState::Refused,
        ErrorCode::AlreadySubscribed.number(),
    );
    assert_eq!(subscribed(&mut raw, 2), [already]);
    raw.send_encoded(|encoder| encoder.unsubscribe(3, &["chat.ada~bob", "chat.ada~eve"]));
    let unknown = (
        wire::SubscriptionState::Refused,
        ErrorCode::NotSubscribed.number(),
    );
    assert_eq!(
        subscribed(&mut raw, 3),
        [(wire::SubscriptionState::Ended, 0), unknown]
    );
    run(async {
        let ada = node.client("ada").await;
        say(&ada, "chat.ada~bob", "unheard").await.unwrap();
        ada.publish("activity.ada", b"heard".to_vec())
            .await
            .unwrap();
    });
    let frame = raw.next_frame();
    let ServerFrame::Event(event) = decode(&frame) else {
        panic!("an event was expected");
    };
    assert_eq!(event.channel(), "activity.ada");
}

fn a_known_position_is_continued_without_loss(shards: u16) {
    const EVENTS: u64 = 600;
    let node = Setup::shards(shards).start();
    run(async {
        let (ada, bob) = (node.client("ada").await, node.client("bob").await);
        let mut live = bob.subscribe("chat.ada~bob").await.unwrap();
        say(&ada, "chat.ada~bob", "first").await.unwrap();
        let first = next_event(&mut live).await.position;
        drop(live);
        // More than a log keeps in memory, so that the oldest come from the disk.
        for number in 0..EVENTS {
            say(&ada, "chat.ada~bob", &number.to_string())
                .await
                .unwrap();
        }
        let late = node.client("bob").await;
        let mut late = late
            .subscribe("chat.ada~bob")
            .recover_from(first)
            .await
            .unwrap();
        match next(&mut late).await {
            Delivery::Recovered(recovery) => {
                assert!(recovery.recovered, "{recovery:?}");
                assert_eq!(u64::from(recovery.following), EVENTS);
            }
            other => panic!("the outcome comes first: {other:?}"),
        }
        say(&ada, "chat.ada~bob", "live").await.unwrap();
        for number in 0..EVENTS {
            let event = next_event(&mut late).await;
            assert_eq!(text_of(&event.payload), number.to_string());
            assert_eq!(event.position.offset, number + 2);
        }
        assert_eq!(next_text(&mut late).await, "live");
    });
}

fn an_unknown_position_is_answered_as_such(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        say(&ada, "chat.ada~bob", "first").await.unwrap();
        let never = Position {
            epoch: 1,
            offset: 1,
            chain: 99,
        };
        let mut chat = ada
            .subscribe("chat.ada~bob")
            .recover_from(never)
            .await
            .unwrap();
        match next(&mut chat).await {
            Delivery::Recovered(recovery) => {
                assert!(!recovery.recovered);
                assert_ne!(recovery.reason, GapReason::None);
            }
            other => panic!("the outcome comes first: {other:?}"),
        }
        // It goes on with what is new.
        say(&ada, "chat.ada~bob", "second").await.unwrap();
        assert_eq!(next_text(&mut chat).await, "second");
        let mut activity = ada
            .subscribe("activity.ada")
            .recover_from(never)
            .await
            .unwrap();
        match next(&mut activity).await {
            Delivery::Recovered(recovery) => assert_eq!(recovery.reason, GapReason::Ephemeral),
            other => panic!("the outcome comes first: {other:?}"),
        }
    });
}

fn the_number_of_subscriptions_is_bounded(shards: u16) {
    const MOST: usize = 100;
    let node = Setup::shards(shards).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let names: Vec<String> = (0..MOST + 20)
        .map(|number| format!("chat.ada~b{number}"))
        .collect();
    let mut states = Vec::new();
    for (request_id, names) in (1..).zip(names.chunks(30)) {
        let channels: Vec<_> = names
            .iter()
            .map(|name| SubscribeFields::new(name))
            .collect();
        raw.send_encoded(|encoder| encoder.subscribe(request_id, &channels));
        states.extend(subscribed(&mut raw, request_id));
    }
    let refused = (
        wire::SubscriptionState::Refused,
        ErrorCode::TooManySubscriptions.number(),
    );
    assert!(states[..MOST]
        .iter()
        .all(|state| *state == (wire::SubscriptionState::Live, 0)));
    assert!(states[MOST..].iter().all(|state| *state == refused));
}

fn several_sessions_of_a_user_all_get_the_event(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let mut devices = Vec::new();
        for _ in 0..3 {
            let client = node.client("ada").await;
            devices.push((client.subscribe("chat.ada~bob").await.unwrap(), client));
        }
        let bob = node.client("bob").await;
        say(&bob, "chat.ada~bob", "hello").await.unwrap();
        for (device, _) in &mut devices {
            assert_eq!(next_text(device).await, "hello");
        }
    });
}
