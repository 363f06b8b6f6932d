//! Load that goes on while a node ends and another one comes: numbered messages, each of which
//! has to arrive once and in order.

use interlink_client::{Client, Delivery, Event, Subscription};
use tokio::sync::watch;

use super::chat::{next, saying, text_of};
use super::{placed_name, run, Node, Setup};

/// Events of each publisher under load.
const EVENTS: u64 = 600;
/// Events that a publisher is ahead of its reader.
const AHEAD: u64 = 80;
/// A publisher and a subscriber of one chat.
struct Chat {
    channel: String,
    publisher: Client,
    reader: Client,
}

/// One chat for each placement of publisher and channel.
async fn chats(node: &Node, shards: u64) -> Vec<Chat> {
    let mut chats = Vec::new();
    for combination in 0..shards * shards {
        let ada = placed_name("ada", combination / shards, shards, 0);
        let channel = placed_name(&format!("chat.{ada}~bob"), combination % shards, shards, 0);
        let bob = channel
            .split('~')
            .nth(1)
            .expect("a direct chat names two")
            .to_owned();
        chats.push(Chat {
            publisher: node.client(&ada).await,
            reader: node.client(&bob).await,
            channel,
        });
    }
    chats
}

/// Publishes numbered messages, at most [`AHEAD`] before the reader; every receipt has to come.
async fn publish_numbers(client: Client, channel: String, mut read: watch::Receiver<u64>) {
    let mut receipts = Vec::new();
    for number in 0..EVENTS {
        let near = read.wait_for(|read| number < read + AHEAD).await;
        drop(near.expect("the reader is there"));
        let publish = saying(&client, &channel, &number.to_string());
        receipts.push(publish.enqueue().await.expect("the client takes publishes"));
    }
    for receipt in receipts {
        receipt
            .await
            .expect("every publish is acknowledged in the end");
    }
}

/// Reads numbered messages to the last: each once, in order, without a gap.
async fn read_numbers(mut chat: Subscription, read: watch::Sender<u64>) {
    let mut number = 0;
    while number < EVENTS {
        let event = match next(&mut chat).await {
            Delivery::Event(event) => event,
            Delivery::Recovered(recovery) => {
                assert!(
                    recovery.recovered,
                    "{} at {number}: {recovery:?}",
                    chat.channel()
                );
                continue;
            }
            other => panic!("{} at {number}: {other:?}", chat.channel()),
        };
        assert_eq!(
            text_of(&event.payload),
            number.to_string(),
            "{}",
            chat.channel()
        );
        assert_eq!(event.position.offset, number + 1);
        number += 1;
        read.send_replace(number);
    }
}

/// Every retained event of a channel, page by page.
pub async fn history(client: &Client, channel: &str) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let wish = client.history(channel);
        let page = match events.last() {
            Some(last) => wish.after(last.position).await,
            None => wish.await,
        };
        let page = page.expect("history is read");
        assert!(page.recovered, "{channel}: {:?}", page.reason);
        events.extend(page.events);
        if !page.more {
            return events;
        }
    }
}

/// The texts of so many numbered messages.
pub fn numbers(count: u64) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Runs load on every placement while `end` ends the node and starts it again, `ends` times.
pub fn load_survives(shards: u16, ends: u64, end: impl Fn(&mut Node)) {
    let mut node = Setup::shards(shards).start();
    run(async {
        let chats = chats(&node, u64::from(shards)).await;
        let mut tasks = Vec::new();
        let mut progress = Vec::new();
        for chat in &chats {
            let subscription = chat
                .reader
                .subscribe(&chat.channel)
                .await
                .expect("it is open");
            let (read, reads) = watch::channel(0);
            progress.push(reads.clone());
            tasks.push(tokio::spawn(read_numbers(subscription, read)));
            let publishing = publish_numbers(chat.publisher.clone(), chat.channel.clone(), reads);
            tasks.push(tokio::spawn(publishing));
        }
        for number in 1..=ends {
            let wanted = number * EVENTS / (ends + 1);
            let reached = progress[0].wait_for(|read| *read >= wanted).await;
            drop(reached.expect("the reader is there"));
            end(&mut node);
        }
        for task in tasks {
            task.await.expect("load goes on over the ends of the node");
        }
        for chat in &chats {
            let events = history(&chat.reader, &chat.channel).await;
            let texts: Vec<String> = events.iter().map(|event| text_of(&event.payload)).collect();
            assert_eq!(texts, numbers(EVENTS), "{}", chat.channel);
        }
    });
}
