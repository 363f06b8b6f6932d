//! Making a client.
//!
//! Runs on: any task of a tokio runtime.

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

use interlink_protocol::ids::InstanceId;
use interlink_protocol::priority::Priority;
use tokio::sync::{mpsc, watch};

use crate::client::Client;
use crate::error::Error;
use crate::event::State;
use crate::handle::{Handle, Shared};
use crate::limits;
use crate::session::{BackoffPolicy, Session, SessionConfig};
use crate::token::{TokenError, TokenRequest, TokenSource};
use crate::transport::{Address, Inlets, Task, Trust};

/// Describes a client. [`ClientBuilder::connect`] makes it.
#[derive(Debug)]
#[must_use = "a client is made by `connect` or `start`"]
pub struct ClientBuilder {
    addresses: Vec<String>,
    tokens: TokenSource,
    trust: Trust,
    config: SessionConfig,
}

impl ClientBuilder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            addresses: vec![address.into()],
            tokens: TokenSource::Fixed("".into()),
            trust: Trust::default(),
            config: SessionConfig {
                client_name: Some(env!("CARGO_PKG_NAME").into()),
                client_version: Some(env!("CARGO_PKG_VERSION").into()),
                ..SessionConfig::default()
            },
        }
    }

    /// A further address of the same service, of another node for example: at most
    /// [`limits::ADDRESSES_MAX`] in all, either all with TLS or none. The client begins with the
    /// first, seeks a lost connection where it was, and goes to the next after a failed attempt.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), interlink_client::Error> {
    /// let client = interlink_client::Client::builder("wss://one.example")
    ///     .address("wss://two.example")
    ///     .token("eyJ...")
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// One token for all connections. When the server finds it expired, the client closes.
    pub fn token(mut self, token: impl Into<Box<str>>) -> Self {
        self.tokens = TokenSource::Fixed(token.into());
        self
    }

    /// Asks `provider` for a token before each connection.
    ///
    /// ```no_run
    /// use interlink_client::{Client, TokenError};
    ///
    /// async fn fetch_token() -> Result<String, std::io::Error> {
    ///     Ok("eyJ...".to_string())
    /// }
    ///
    /// # async fn example() -> Result<(), interlink_client::Error> {
    /// let client = Client::builder("ws://127.0.0.1:8080")
    ///     .token_provider(|_| async { fetch_token().await.map_err(TokenError::from) })
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token_provider<F, P>(mut self, provider: P) -> Self
    where
        P: Fn(TokenRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.tokens = TokenSource::provider(provider);
        self
    }

    /// Stable identity of the device, the same after every start of the application. The server
    /// keeps for each device how far it acknowledged `user.<u>` and `alert.<u>`, and a
    /// subscription there without a position continues behind that. Clients of a user that name
    /// no device share one place.
    pub fn device(mut self, device: impl Into<Box<str>>) -> Self {
        self.config.device = Some(device.into());
        self
    }

    /// Name and version of the application, for the server's logs.
    pub fn application(mut self, name: impl Into<Box<str>>, version: impl Into<Box<str>>) -> Self {
        self.config.client_name = Some(name.into());
        self.config.client_version = Some(version.into());
        self
    }

    /// Trusts the certificate authorities of this PEM text, for `wss://`, instead of those of
    /// the system.
    #[cfg(feature = "tls")]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust = Trust::authorities(pem.into());
        self
    }

    /// Delays between attempts to connect.
    pub fn backoff(mut self, policy: BackoffPolicy) -> Self {
        self.config.backoff = policy;
        self
    }

    /// Class of a namespace that the deployment configures otherwise than the defaults.
    pub fn namespace(mut self, namespace: &str, class: Priority) -> Self {
        self.config.classes.name(namespace, class);
        self
    }

    /// Makes the client and connects it. Fails when the server refuses it for good or the
    /// quick attempts are used up; nothing goes on in the background then.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.start()?;
        client.wait_connected(client.state()).await?;
        Ok(client)
    }

    /// Makes the client and connects it in the background. What is published and subscribed
    /// meanwhile waits.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(mut self) -> Result<Client, Error> {
        let addresses = Address::parse_all(&self.addresses)?;
        self.trust.check(addresses[0].is_tls)?;
        self.config.addresses = addresses.len();
        self.config.token_renewable = self.tokens.is_renewable();
        let classes = self.config.classes.clone();
        let instance = InstanceId(rand::random());
        let session = Session::new(self.config, instance, rand::random());
        let shared = Arc::new(Shared::default());
        let (publishes, publish_queues) = publish_channels();
        let (requests, request_queue) = mpsc::channel(limits::REQUEST_QUEUE);
        let (state_sender, state) = watch::channel(State::Connecting);
        let (settled_sender, settled) = watch::channel([0; Priority::COUNT]);
        let inlets = Inlets {
            publishes: publish_queues,
            requests: request_queue,
            shared: shared.clone(),
            state: state_sender,
            settled: settled_sender,
        };
        tokio::spawn(Task::new(session, (addresses, self.trust), self.tokens, inlets).run());
        Ok(Client::new(Handle {
            publishes,
            issued: Default::default(),
            requests,
            state,
            settled,
            classes,
            shared,
            next_key: AtomicU64::new(1),
        }))
    }
}

type Ends<T> = (
    [mpsc::Sender<T>; Priority::COUNT],
    [mpsc::Receiver<T>; Priority::COUNT],
);

/// One queue for each class, so that a full class holds up no other.
fn publish_channels<T>() -> Ends<T> {
    let [p0, p1, p2, p3] = Priority::ALL.map(|_| mpsc::channel(limits::PUBLISH_QUEUE));
    ([p0.0, p1.0, p2.0, p3.0], [p0.1, p1.1, p2.1, p3.1])
}
