//! The client object.
//!
//! Runs on: any task; clones share one connection.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::builder::ClientBuilder;
use crate::error::{Error, Loss};
use crate::event::{ServerInfo, State};
use crate::handle::{Handle, Request};
use crate::publisher::{Publish, Publisher};
use crate::query::{History, Presence};
use crate::subscription::Subscribe;

/// A connection to Interlink that reconnects by itself. Clones share it; it closes when the
/// last clone, subscription and publisher is gone.
///
/// ```no_run
/// use interlink_client::{Client, Delivery};
///
/// # async fn example() -> Result<(), interlink_client::Error> {
/// let client = Client::builder("ws://127.0.0.1:8080").token("eyJ...").connect().await?;
/// let mut chat = client.subscribe("chat.ada~bob").await?;
/// let receipt = client.publish("chat.ada~bob", "hello").await?;
/// println!("safe at level {:?}", receipt.level);
/// while let Some(delivery) = chat.next().await {
///     match delivery {
///         Delivery::Event(event) => println!("{}: {:?}", event.publisher, event.payload),
///         Delivery::Gap(gap) => println!("{} events are missing", gap.skipped),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Starts to describe a client of the server at `address`: `ws://host:port`, with a path
    /// when it is not `/v1/connect`.
    pub fn builder(address: &str) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle: Arc::new(handle),
        }
    }

    /// Subscribes to a channel. Awaiting resolves when the server accepted it, and waits
    /// through reconnections. A client has one subscription for each channel.
    ///
    /// Without [`Subscribe::recover_from`] it begins with what comes next; on `user.<u>` and
    /// `alert.<u>` with what this user's device has not acknowledged, after a
    /// [`Delivery::Recovered`](crate::Delivery::Recovered) that says how much that is.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     client: interlink_client::Client,
    /// #     position: interlink_client::Position,
    /// # ) -> Result<(), interlink_client::Error> {
    /// let inbox = client.subscribe("user.ada").recover_from(position).manual_ack().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channel: &str) -> Subscribe {
        Subscribe::new(self.handle.clone(), channel)
    }

    /// Publishes to a channel. Awaiting resolves with the receipt; the client sends again
    /// after a loss of connection until the server answers.
    ///
    /// ```no_run
    /// # use interlink_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// use std::time::Duration;
    ///
    /// let publish = client.publish("collab-awareness.doc-1", vec![1, 2, 3]);
    /// publish.conflation_key("cursor").time_to_live(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, channel: &str, payload: impl Into<Vec<u8>>) -> Publish {
        Publish::new(self.handle.clone(), channel.into(), payload.into())
    }

    /// A publisher for many events on one channel.
    pub fn publisher(&self, channel: &str) -> Publisher {
        Publisher::new(self.handle.clone(), channel)
    }

    /// Asks for past events of a channel.
    ///
    /// ```no_run
    /// # use interlink_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let page = client.history("chat.ada~bob").limit(50).await?;
    /// for event in page.events {
    ///     println!("{}: {} bytes", event.publisher, event.payload.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, channel: &str) -> History {
        History::new(self.handle.clone(), channel)
    }

    /// Asks who is present in a channel: who has a subscription to it and a connection, or had it
    /// a moment ago. Awaiting reads all pages; [`Presence::page`] reads one.
    ///
    /// ```no_run
    /// # use interlink_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// for member in client.presence("class.maths-1").await? {
    ///     println!("{} with {} devices", member.user, member.devices);
    /// }
    /// println!("{}", client.presence("inst.north").page().await?.count);
    /// # Ok(())
    /// # }
    /// ```
    pub fn presence(&self, channel: &str) -> Presence {
        Presence::new(self.handle.clone(), channel)
    }

    /// Resolves when every publish that was handed over before this call is settled: nothing
    /// can lose it any more, or it failed.
    pub async fn settled(&self) -> Result<(), Error> {
        let mut wanted = [0; 4];
        for (want, issued) in wanted.iter_mut().zip(&self.handle.issued) {
            *want = issued.load(Ordering::SeqCst);
        }
        let mut settled = self.handle.settled.clone();
        let reached = |counts: &[u64; 4]| counts.iter().zip(&wanted).all(|(got, want)| got >= want);
        let outcome = settled.wait_for(reached).await.map(drop);
        outcome.map_err(|_| self.handle.closed())
    }

    /// The state, as a value that can be watched.
    pub fn state(&self) -> watch::Receiver<State> {
        self.handle.state.clone()
    }

    /// The node of the current or last connection; `None` before the first.
    pub fn server(&self) -> Option<ServerInfo> {
        self.handle.shared.show(|shown| shown.server.clone())
    }

    /// Why the last connection or attempt failed.
    pub fn last_loss(&self) -> Option<Loss> {
        self.handle.shared.show(|shown| shown.last_loss.clone())
    }

    /// Connects now when the client waits or is suspended, and resolves when it is connected.
    /// Fails when the quick attempts are used up; the client then goes on slowly.
    pub async fn connect(&self) -> Result<(), Error> {
        let mut state = self.state();
        if *state.borrow_and_update() == State::Connected {
            return Ok(());
        }
        self.handle.request(Request::Connect).await?;
        self.wait_connected(state).await
    }

    /// Waits for the outcome of the attempts that are under way.
    pub(crate) async fn wait_connected(
        &self,
        mut state: watch::Receiver<State>,
    ) -> Result<(), Error> {
        loop {
            if state.changed().await.is_err() {
                return Err(self.handle.closed());
            }
            let now = *state.borrow_and_update();
            match now {
                State::Connected => return Ok(()),
                State::Closed => return Err(self.handle.closed()),
                State::Suspended => return Err(self.unreachable_server()),
                State::Connecting | State::Reconnecting { .. } => {}
            }
        }
    }

    /// Closes the client: waits a few seconds for unanswered publishes, sends pending
    /// acknowledgements and says goodbye. Subscriptions end.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.handle.request(Request::Close { answer }).await.is_ok() {
            // A task that is gone has closed as well.
            let _ = closed.await;
        }
    }

    fn unreachable_server(&self) -> Error {
        self.handle.shared.show(|shown| Error::Unreachable {
            attempts: shown.attempts + 1,
            last: shown.last_loss.clone().unwrap_or(Loss::Timeout),
        })
    }
}
