//! Chat messages as payloads, for channels that take registered event types only.

use flatbuffers::FlatBufferBuilder;
use interlink_client::{Client, Delivery, Error, Event, Publish, PublishReceipt, Subscription};
use interlink_wire::{event_types, events};

use super::PATIENCE;

/// Number of the event type of a chat message.
pub const CHAT_MESSAGE: u16 = event_types::CHAT_MESSAGE;

/// The payload of a chat message.
pub fn chat_message(text: &str) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let text = Some(builder.create_string(text));
    let fields = events::ChatMessageArgs {
        text,
        ..Default::default()
    };
    let root = events::ChatMessage::create(&mut builder, &fields);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

/// The text of a chat message.
pub fn text_of(payload: &[u8]) -> String {
    let message = flatbuffers::root::<events::ChatMessage>(payload).expect("a chat message");
    message.text().to_owned()
}

/// A publish of a chat message.
pub fn saying(client: &Client, channel: &str, text: &str) -> Publish {
    client
        .publish(channel, chat_message(text))
        .event_type(CHAT_MESSAGE)
}

/// Publishes a chat message and waits for its receipt.
pub async fn say(client: &Client, channel: &str, text: &str) -> Result<PublishReceipt, Error> {
    let publish = async { saying(client, channel, text).await };
    tokio::time::timeout(PATIENCE, publish)
        .await
        .expect("a publish is answered")
}

/// The next delivery.
///
/// # Panics
/// When none comes in time.
pub async fn next(subscription: &mut Subscription) -> Delivery {
    let waited = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let channel = subscription.channel();
    let delivery = waited.unwrap_or_else(|_| panic!("nothing came on {channel}"));
    delivery.unwrap_or_else(|| panic!("the subscription to {channel} is over"))
}

/// The next delivery, which has to be an event.
pub async fn next_event(subscription: &mut Subscription) -> Event {
    match next(subscription).await {
        Delivery::Event(event) => event,
        other => panic!(
            "an event was expected on {}: {other:?}",
            subscription.channel()
        ),
    }
}

/// The text of the next delivery, which has to be a chat message.
pub async fn next_text(subscription: &mut Subscription) -> String {
    text_of(&next_event(subscription).await.payload)
}
