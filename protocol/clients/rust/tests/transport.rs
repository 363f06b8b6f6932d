//! The client on a real socket against a scripted server.

mod peer;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use interlink_client::{
    AckLevel, BackoffPolicy, Client, ClientBuilder, CloseCode, ClosedBy, Delivery, Error,
    ErrorCode, GapReason, Loss, State, Subscription, TokenError,
};
use interlink_protocol::frame::{decode_client, ClientFrame, FrameEncoder, FrameLimits};
use interlink_protocol::websocket::frame::{append_server_frame, DataKind, Opcode};
use peer::{at, event, instance_of, Server};

const CHANNEL: &str = "chat.ada~bob";

/// Fast attempts, so that tests do not wait.
fn builder(server: &Server) -> ClientBuilder {
    let backoff = BackoffPolicy {
        first_ms: 5,
        max_ms: 5,
        ..BackoffPolicy::default()
    };
    Client::builder(&server.address())
        .token("token")
        .backoff(backoff)
}

async fn connected(server: &Server) -> (Client, peer::Peer) {
    let (client, peer) = tokio::join!(builder(server).connect(), server.welcome(false));
    (client.unwrap(), peer)
}

/// Subscribes to the channel of the tests, from its start.
async fn subscribed(client: &Client, peer: &mut peer::Peer) -> Subscription {
    let (subscription, ()) = tokio::join!(client.subscribe(CHANNEL), async {
        let (request, channel, recover) = peer.expect_subscribe().await;
        assert_eq!((channel.as_str(), recover), (CHANNEL, None));
        peer.subscribed(request, CHANNEL, at(0), 0).await;
    });
    subscription.unwrap()
}

#[tokio::test]
async fn a_publish_resolves_with_its_receipt_and_then_settles() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    assert_eq!(*client.state().borrow(), State::Connected);
    assert_eq!(&*client.server().unwrap().node, "node-1");

    let publish = client
        .publish(CHANNEL, "hello")
        .event_type(3)
        .enqueue()
        .await
        .unwrap();
    let (id, payload) = peer.expect_publish().await;
    assert_eq!((id, payload.as_slice()), (1, b"hello".as_slice()));
    peer.acknowledge(id, 1, None).await;
    let receipt = publish.await.unwrap();
    assert_eq!(
        (receipt.client_message_id, receipt.level),
        (1, AckLevel::Local)
    );

    let heartbeat = peer.encoder.heartbeat(5, Some([0, id, 0, 0])).to_vec();
    let (settled, ()) = tokio::join!(client.settled(), peer.send(&heartbeat));
    settled.unwrap();
    peer.expect("Pong").await;
}

#[tokio::test]
async fn deliveries_come_in_order_with_gaps_reported_and_are_acknowledged() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let mut subscription = subscribed(&client, &mut peer).await;
    for offset in [1, 1, 2, 5] {
        peer.event(CHANNEL, offset).await;
    }
    let mut offsets = Vec::new();
    for _ in 0..4 {
        match futures_util::StreamExt::next(&mut subscription)
            .await
            .unwrap()
        {
            Delivery::Event(event) => offsets.push(event.position.offset),
            Delivery::Gap(gap) => {
                assert_eq!((gap.skipped, gap.reason), (2, GapReason::Unannounced));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(offsets, [1, 2, 5]);

    // Dropping the subscription acknowledges what was taken before the last event.
    drop(subscription);
    let message = peer.expect("Ack").await;
    let ClientFrame::Ack(ack) = decode_client(&message, &FrameLimits::CLIENT).unwrap() else {
        unreachable!("the kind was checked");
    };
    assert_eq!(ack.positions().get(0).position().offset(), 2);
    peer.expect("Unsubscribe").await;
}

#[tokio::test]
async fn after_a_loss_subscriptions_continue_and_unsettled_publishes_come_again_first() {
    let server = Server::bind().await;
    let (client, peer) = tokio::join!(builder(&server).connect(), async {
        let mut peer = server.accept().await;
        let hello = peer.expect("Hello").await;
        peer.welcome(false).await;
        (peer, instance_of(&hello))
    });
    let (client, (mut peer, instance)) = (client.unwrap(), peer);
    let mut subscription = subscribed(&client, &mut peer).await;
    peer.event(CHANNEL, 1).await;
    assert!(matches!(
        subscription.next().await,
        Some(Delivery::Event(_))
    ));

    let mut publishes = Vec::new();
    for number in 1..=3u8 {
        publishes.push(
            client
                .publish(CHANNEL, vec![number])
                .enqueue()
                .await
                .unwrap(),
        );
    }
    for _ in 0..3 {
        peer.expect_publish().await;
    }
    // The first is acknowledged and not settled; the others are not even acknowledged.
    peer.acknowledge(1, 1, None).await;
    publishes.remove(0).await.unwrap();
    drop(peer);

    let mut peer = server.accept().await;
    let hello = peer.expect("Hello").await;
    assert_eq!(
        instance_of(&hello),
        instance,
        "the instance outlives connections"
    );
    peer.welcome(false).await;
    let (request, _, recover) = peer.expect_subscribe().await;
    assert_eq!(recover, Some(at(1)));
    let fourth = client.publish(CHANNEL, vec![4]).enqueue().await.unwrap();
    for number in 1..=4u8 {
        assert_eq!(peer.expect_publish().await, (number.into(), vec![number]));
    }
    peer.subscribed(request, CHANNEL, at(2), 1).await;
    peer.event(CHANNEL, 2).await;
    peer.acknowledge(1, 4, Some([0, 4, 0, 0])).await;
    for publish in publishes {
        publish.await.unwrap();
    }
    fourth.await.unwrap();
    client.settled().await.unwrap();
    match subscription.next().await {
        Some(Delivery::Recovered(recovery)) => assert!(recovery.recovered),
        other => panic!("{other:?}"),
    }
    let event = subscription
        .next()
        .await
        .and_then(Delivery::into_event)
        .unwrap();
    assert_eq!(event.position, at(2));
}

#[tokio::test]
async fn a_subscriber_that_lags_stops_its_channel_alone_and_misses_nothing() {
    const EVENTS: u64 = interlink_client::limits::DELIVERY_QUEUE as u64 + 500;
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let mut subscription = subscribed(&client, &mut peer).await;
    for offset in 1..=EVENTS {
        peer.event(CHANNEL, offset).await;
    }
    peer.expect("Unsubscribe").await;
    // Heartbeats and publishes go on meanwhile.
    let heartbeat = peer.encoder.heartbeat(5, None).to_vec();
    peer.send(&heartbeat).await;
    peer.expect("Pong").await;

    let server_side = async {
        let (request, recover) = loop {
            let message = peer.next().await.unwrap();
            match decode_client(&message, &FrameLimits::CLIENT).unwrap() {
                ClientFrame::Subscribe(subscribe) => {
                    let wanted = subscribe.channels().get(0);
                    break (subscribe.request_id(), wanted.recover().unwrap().offset());
                }
                ClientFrame::Ack(_) => {}
                other => panic!("{}", other.kind()),
            }
        };
        let missing = (EVENTS - recover) as u32;
        peer.subscribed(request, CHANNEL, at(EVENTS), missing).await;
        for offset in recover + 1..=EVENTS {
            peer.event(CHANNEL, offset).await;
        }
    };
    let application = async {
        let mut offsets = Vec::new();
        while offsets.last() != Some(&EVENTS) {
            match subscription.next().await.unwrap() {
                Delivery::Event(event) => offsets.push(event.position.offset),
                Delivery::Recovered(recovery) => assert!(recovery.recovered),
                other => panic!("{other:?}"),
            }
        }
        offsets
    };
    let ((), offsets) = tokio::join!(server_side, application);
    assert_eq!(offsets, (1..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn refusals_carry_the_code_of_the_table() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let (refused, ()) = tokio::join!(client.subscribe("inst.south"), async {
        let (request, channel, _) = peer.expect_subscribe().await;
        let code = ErrorCode::NotPermitted.number();
        peer.refuse_subscription(request, &channel, code).await;
    });
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Refused { code, .. } if code == ErrorCode::NotPermitted));
    assert!(error.to_string().contains(ErrorCode::NotPermitted.cure()));
    let unnamed = client.publish("no channel", "x").await;
    assert!(matches!(unnamed, Err(Error::Channel(_))));
}

#[tokio::test]
async fn a_server_that_is_away_is_reported_after_the_attempts() {
    let server = Server::bind().await;
    let builder = builder(&server);
    drop(server);
    let error = builder.connect().await.unwrap_err();
    let Error::Unreachable { attempts, last } = error else {
        panic!("{error}");
    };
    assert_eq!(attempts, 6, "the first and five more");
    assert!(matches!(last, Loss::Io(_)), "{last}");
}

#[tokio::test]
async fn a_final_close_code_ends_the_client_and_its_subscriptions() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let mut subscription = subscribed(&client, &mut peer).await;
    let pending = client.publish(CHANNEL, "x").enqueue().await.unwrap();
    peer.expect_publish().await;
    peer.close(CloseCode::TokenRevoked.number(), "bye").await;
    let by = ClosedBy::Server(Loss::Closed {
        code: CloseCode::TokenRevoked.number(),
        reason: "bye".into(),
    });
    assert_eq!(pending.await, Err(Error::Closed(by.clone())));
    assert_eq!(
        subscription.next().await,
        Some(Delivery::Ended(Error::Closed(by.clone())))
    );
    assert_eq!(subscription.next().await, None);
    assert_eq!(client.publish(CHANNEL, "y").await, Err(Error::Closed(by)));
}

#[tokio::test]
async fn closing_waits_for_answers_and_says_goodbye() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let pending = client
        .publish(CHANNEL, "last words")
        .enqueue()
        .await
        .unwrap();
    let closing = client.clone();
    let (receipt, (), ()) = tokio::join!(pending, closing.close(), async {
        let (id, _) = peer.expect_publish().await;
        peer.acknowledge(id, 1, None).await;
        assert_eq!(peer.next().await, None);
        assert_eq!(peer.close_code(), Some(CloseCode::Normal.number()));
        drop(peer);
    });
    receipt.unwrap();
    assert!(matches!(
        client.subscribe(CHANNEL).await,
        Err(Error::Closed(_))
    ));
}

#[tokio::test]
async fn dropping_every_handle_closes_the_connection() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    drop(client);
    assert_eq!(peer.next().await, None);
    assert_eq!(peer.close_code(), Some(CloseCode::Normal.number()));
}

#[tokio::test]
async fn the_provider_is_asked_before_each_connection_and_can_end_the_client() {
    let server = Server::bind().await;
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let builder = builder(&server).token_provider(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => Err(TokenError::Later("not yet".into())),
                1 | 2 => Ok(format!("token-{number}")),
                _ => Err(TokenError::Denied("signed out".into())),
            }
        }
    });
    let (client, peer) = tokio::join!(builder.connect(), server.welcome(false));
    let client = client.unwrap();
    drop(peer);
    let mut peer = server.accept().await;
    let message = peer.expect("Hello").await;
    let ClientFrame::Hello(hello) = decode_client(&message, &FrameLimits::HELLO).unwrap() else {
        unreachable!("the kind was checked");
    };
    assert_eq!(hello.token(), "token-2");
    drop(peer);
    let mut state = client.state();
    state
        .wait_for(|state| *state == State::Closed)
        .await
        .unwrap();
    let denied = Loss::TokenDenied("signed out".into());
    let error = client.publish(CHANNEL, "x").await.unwrap_err();
    assert_eq!(error, Error::Closed(ClosedBy::Server(denied)));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn messages_may_be_cut_fragmented_and_mixed_with_pings() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let mut subscription = subscribed(&client, &mut peer).await;
    let mut encoder = FrameEncoder::new();
    let mut bytes = Vec::new();
    let first = event(&mut encoder, CHANNEL, 1);
    let binary = Opcode::Data(DataKind::Binary);
    append_server_frame(binary, false, &first[..40], &mut bytes);
    let ping = Opcode::from_bits(9).unwrap();
    append_server_frame(ping, true, b"are you there", &mut bytes);
    append_server_frame(Opcode::Continuation, true, &first[40..], &mut bytes);
    append_server_frame(binary, true, &event(&mut encoder, CHANNEL, 2), &mut bytes);
    for piece in bytes.chunks(7) {
        peer.write(piece).await;
    }
    for offset in 1..=2 {
        let event = subscription
            .next()
            .await
            .and_then(Delivery::into_event)
            .unwrap();
        assert_eq!(event.position.offset, offset);
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_answered_with_its_close_code() {
    let server = Server::bind().await;
    let (_client, mut peer) = connected(&server).await;
    peer.send(b"this is no frame").await;
    assert_eq!(peer.next().await, None);
    assert_eq!(peer.close_code(), Some(CloseCode::MalformedFrame.number()));
    // The client comes back by itself.
    server.welcome(false).await;
}

#[tokio::test]
async fn a_full_class_makes_publishers_wait_and_holds_up_no_other() {
    let server = Server::bind().await;
    let (client, mut peer) = connected(&server).await;
    let background = client.publisher("report.daily");
    let mut waiting = Vec::new();
    let full = loop {
        let publish = background.publish("x").enqueue();
        match tokio::time::timeout(Duration::from_millis(200), publish).await {
            Ok(pending) => waiting.push(pending.unwrap()),
            Err(_) => break waiting.len(),
        }
    };
    let limits = (
        interlink_client::limits::UNSETTLED_PER_CLASS_MAX,
        interlink_client::limits::PUBLISH_QUEUE,
    );
    assert!(
        full >= limits.0 && full <= limits.0 + limits.1 + 1,
        "{full} were taken"
    );
    let urgent = client.publish("alert.ada", "now").enqueue().await.unwrap();
    let id = loop {
        let (id, payload) = peer.expect_publish().await;
        if payload == b"now" {
            break id;
        }
    };
    peer.acknowledge(id, 1, None).await;
    urgent.await.unwrap();
}

#[tokio::test]
async fn when_a_node_is_gone_the_client_continues_on_the_next_with_everything_unsettled() {
    let (first, second) = (Server::bind().await, Server::bind().await);
    let builder = builder(&first).address(&second.address());
    let (client, peer) = tokio::join!(builder.connect(), async {
        let mut peer = first.accept().await;
        let hello = peer.expect("Hello").await;
        peer.welcome(false).await;
        (peer, instance_of(&hello))
    });
    let (client, (mut peer, instance)) = (client.unwrap(), peer);
    let _subscription = subscribed(&client, &mut peer).await;
    let publish = client.publish(CHANNEL, "kept").enqueue().await.unwrap();
    peer.expect_publish().await;
    peer.acknowledge(1, 1, None).await;
    publish.await.unwrap();
    drop((peer, first));

    let mut peer = second.accept().await;
    let hello = peer.expect("Hello").await;
    assert_eq!(instance_of(&hello), instance);
    peer.welcome(false).await;
    let (request, channel, recover) = peer.expect_subscribe().await;
    assert_eq!((channel.as_str(), recover), (CHANNEL, Some(at(0))));
    peer.subscribed(request, CHANNEL, at(0), 0).await;
    assert_eq!(peer.expect_publish().await, (1, b"kept".to_vec()));
    peer.acknowledge(1, 1, Some([0, 1, 0, 0])).await;
    client.settled().await.unwrap();
}

#[tokio::test]
async fn a_node_that_sends_its_clients_away_is_left_for_the_target_or_the_next_address() {
    let servers = [Server::bind().await, Server::bind().await];
    let named = Server::bind().await;
    let builder = builder(&servers[0]).address(&servers[1].address());
    let (client, peer) = tokio::join!(builder.connect(), servers[0].welcome(false));
    let _client = client.unwrap();
    let mut peer = peer;
    let order = peer.encoder.reconnect(0, Some(&named.address()), true);
    let order = order.to_vec();
    peer.send(&order).await;
    let mut peer = named.welcome(false).await;
    let order = peer.encoder.reconnect(0, None, true).to_vec();
    peer.send(&order).await;
    servers[1].welcome(false).await;
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_passed_over_at_the_first_connection() {
    let (gone, server) = (Server::bind().await, Server::bind().await);
    let builder = builder(&gone).address(&server.address());
    drop(gone);
    let (client, _peer) = tokio::join!(builder.connect(), server.welcome(false));
    assert_eq!(*client.unwrap().state().borrow(), State::Connected);
}
