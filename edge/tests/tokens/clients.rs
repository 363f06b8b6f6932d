//! The Rust SDK: its token provider keeps a connection beyond the life of every token.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use interlink_client::{Client, ClientBuilder, State, TokenError};
use interlink_edge::data_dir::development_key_of;

use super::support::chat::say;
use super::support::{client_at, run, Setup};
use super::*;

/// Life of each token in seconds.
const LIFE_S: u64 = 4;

/// A client of `user` whose tokens live shortly; the counter tells how many it got.
fn short_lived(node: &Node, user: &'static str) -> (ClientBuilder, Arc<AtomicU64>) {
    let key = Key::read(&development_key_of(&node.data())).expect("a key");
    let issued = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&issued);
    let builder = client_at(node.clients(), String::new()).token_provider(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        let now_s = unix_seconds();
        let grant = UserGrant {
            user: user.to_owned(),
            issuer: "interlink".to_owned(),
            audience: "interlink".to_owned(),
            issued_at_s: now_s,
            not_before_s: now_s,
            expires_at_s: now_s + LIFE_S,
            ..UserGrant::default()
        };
        let token = mint_user(&key, &grant).map_err(|error| TokenError::Later(error.to_string()));
        async move { token }
    });
    (builder, issued)
}

/// Publishes until a time has passed.
async fn talk_for(client: &Client, length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        say(client, "chat.ada~bob", "still here")
            .await
            .expect("acknowledged");
    }
}

#[test]
fn a_client_replaces_its_token_before_the_end_and_stays_connected() {
    let node = Setup::shards(2).start();
    run(async {
        let (builder, issued) = short_lived(&node, "ada");
        let client = builder.connect().await.expect("connected");
        talk_for(&client, Duration::from_secs(2 * LIFE_S + 1)).await;
        assert_eq!(*client.state().borrow(), State::Connected);
        assert!(issued.load(Ordering::SeqCst) >= 3);
        client.close().await;
    });
    assert!(node.metric("interlink_edge_tokens_refreshed_total") >= Some(2.0));
    assert_eq!(
        node.metric("interlink_edge_sessions_resumed_total"),
        Some(0.0)
    );
    assert_eq!(
        node.metric("interlink_edge_connections_closed_by_server_total"),
        Some(0.0)
    );
}
