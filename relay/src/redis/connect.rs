//! Three connections to one server, and what is asked of it before it is used.
//!
//! P0 has a connection of its own, so that its calls never stand behind others; messages come
//! over the third. All three must meet the same master in the same life. The library's retries
//! do not run: a connection that fails is given up, with what it was asked.
//!
//! Runs on: the backplane's runtime.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Value};
use tokio::sync::mpsc;

use super::config::{Address, ClientError, Config};
use super::functions::{list, read_tops, Functions};
use super::gate::Gate;
use super::limits::{CALL_TIMEOUT, CONNECT_TIMEOUT, SUBSCRIBE_CHANNELS};
use super::lineage::{field, Lineage, NotMaster};
use super::outcome::Outcome;

/// Connections to one server.
#[derive(Debug)]
pub struct Connections {
    /// P1 to P3, reads and what is told.
    pub bulk: MultiplexedConnection,
    /// P0.
    pub urgent: MultiplexedConnection,
    /// Messages.
    pub events: MultiplexedConnection,
    /// The server.
    pub lineage: Lineage,
}

/// Why a server is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no client for it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A call failed.
    #[error("a call failed: {0}")]
    Call(#[from] RedisError),
    /// It is not a master.
    #[error(transparent)]
    NotMaster(#[from] NotMaster),
    /// It took too long.
    #[error("it takes longer than two seconds to answer")]
    Late,
    /// Connections met different servers.
    #[error("its address leads to several servers; they are asked again")]
    Several,
}

/// Connects to a server.
pub async fn connect(
    config: &Config,
    functions: &Functions,
    address: &Address,
    gate: Arc<Gate>,
) -> Result<Connections, ConnectError> {
    let attempt = connect_unbounded(config, functions, address, gate);
    let result = tokio::time::timeout(CONNECT_TIMEOUT, attempt).await;
    result.unwrap_or(Err(ConnectError::Late))
}

async fn connect_unbounded(
    config: &Config,
    functions: &Functions,
    address: &Address,
    gate: Arc<Gate>,
) -> Result<Connections, ConnectError> {
    let client = config.client(address, true)?;
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CALL_TIMEOUT));
    let hears = settings.clone().set_push_sender(move |info| {
        gate.push(info);
        Ok::<(), redis::aio::SendError>(())
    });
    let mut bulk = client
        .get_multiplexed_async_connection_with_config(&settings)
        .await?;
    let mut urgent = client
        .get_multiplexed_async_connection_with_config(&settings)
        .await?;
    let mut events = client
        .get_multiplexed_async_connection_with_config(&hears)
        .await?;
    let lineage = read_lineage(&mut bulk).await?;
    for connection in [&mut urgent, &mut events] {
        if read_lineage(connection).await? != lineage {
            return Err(ConnectError::Several);
        }
    }
    warn_of_eviction(&mut bulk, address).await?;
    let listed: Value = functions.list().query_async(&mut bulk).await?;
    if list(&listed).is_none_or(<[Value]>::is_empty) {
        functions.load().exec_async(&mut bulk).await?;
    }
    Ok(Connections {
        bulk,
        urgent,
        events,
        lineage,
    })
}

async fn read_lineage(connection: &mut MultiplexedConnection) -> Result<Lineage, ConnectError> {
    let mut questions = redis::pipe();
    questions.atomic().cmd("ROLE");
    questions.cmd("INFO").arg("server");
    questions.cmd("INFO").arg("replication");
    let replies: Vec<Value> = questions.query_async(connection).await?;
    Ok(Lineage::read(&replies)?)
}

/// A server that evicts keys forgets tops and ids, and gives offsets again.
async fn warn_of_eviction(
    connection: &mut MultiplexedConnection,
    address: &Address,
) -> Result<(), ConnectError> {
    let memory: Value = redis::cmd("INFO")
        .arg("memory")
        .query_async(connection)
        .await?;
    let policy = field(&memory, "maxmemory_policy");
    if policy.is_some_and(|policy| policy != "noeviction") {
        tracing::warn!(server = %address, "Redis evicts keys: set maxmemory-policy noeviction");
    }
    Ok(())
}

/// What the subscriber of a link is to do, in this order.
#[derive(Debug)]
pub enum Subscription {
    /// Hear channels, then read their tops.
    Watch(Vec<(u16, Box<str>)>),
    /// Read the tops of channels that are heard already.
    Check(Vec<(u16, Box<str>)>),
    /// Hear a channel no longer.
    Forget(u16, Box<str>),
}

/// The subscriber of a link: one after the other, so that the last word about a channel counts.
#[derive(Debug)]
pub struct Subscriber {
    /// The link.
    pub link: u64,
    /// Its connections.
    pub bulk: MultiplexedConnection,
    /// The one that messages come over.
    pub events: MultiplexedConnection,
    /// Names.
    pub functions: Arc<Functions>,
    /// Where answers go.
    pub outcomes: mpsc::Sender<Outcome>,
    /// Whether names belong to slots.
    pub sharded: bool,
}

impl Subscriber {
    /// Works until the link is gone.
    pub async fn run(mut self, probe: String, mut work: mpsc::UnboundedReceiver<Subscription>) {
        if let Err(error) = self.subscribe(vec![probe]).await {
            return self.fail(error).await;
        }
        let mut held = None;
        loop {
            let next = match held.take() {
                Some(next) => next,
                None => match work.recv().await {
                    Some(next) => next,
                    None => return,
                },
            };
            let result = match next {
                Subscription::Watch(mut channels) => {
                    // Subscriptions that came meanwhile share the calls.
                    while channels.len() < SUBSCRIBE_CHANNELS && held.is_none() {
                        match work.try_recv() {
                            Ok(Subscription::Watch(more)) => channels.extend(more),
                            Ok(other) => held = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.watch(channels, true).await
                }
                Subscription::Check(channels) => self.watch(channels, false).await,
                Subscription::Forget(partition, channel) => self.forget(partition, &channel).await,
            };
            if let Err(error) = result {
                return self.fail(error).await;
            }
        }
    }

    async fn fail(&self, error: RedisError) {
        let outcome = Outcome::SubscriberFailed {
            link: self.link,
            error,
        };
        // The backplane has ended when nobody takes it.
        let _ = self.outcomes.send(outcome).await;
    }

    async fn watch(
        &mut self,
        mut channels: Vec<(u16, Box<str>)>,
        subscribes: bool,
    ) -> Result<(), RedisError> {
        channels.sort_unstable();
        while !channels.is_empty() {
            let most = channels.len().min(SUBSCRIBE_CHANNELS);
            let portion: Vec<_> = channels.drain(..most).collect();
            if subscribes {
                let names = portion
                    .iter()
                    .map(|(partition, name)| self.functions.message_channel(*partition, name));
                let names = names.collect();
                self.subscribe(names).await?;
            }
            self.read_tops(portion).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, names: Vec<String>) -> Result<(), RedisError> {
        let command = if self.sharded {
            "SSUBSCRIBE"
        } else {
            "SUBSCRIBE"
        };
        let mut calls = redis::pipe();
        for name in names {
            // One call a name: names of a cluster lie in different slots, and each call has one
            // answer.
            calls.cmd(command).arg(name);
        }
        let replies: Vec<Value> = calls.query_async(&mut self.events).await?;
        for reply in replies {
            reply.extract_error()?;
        }
        Ok(())
    }

    async fn forget(&mut self, partition: u16, channel: &str) -> Result<(), RedisError> {
        let name = self.functions.message_channel(partition, channel);
        let command = if self.sharded {
            "SUNSUBSCRIBE"
        } else {
            "UNSUBSCRIBE"
        };
        let _: Value = redis::cmd(command)
            .arg(name)
            .query_async(&mut self.events)
            .await?;
        Ok(())
    }

    async fn read_tops(&mut self, portion: Vec<(u16, Box<str>)>) -> Result<(), RedisError> {
        let mut calls = redis::pipe();
        let partitions: Vec<&[(u16, Box<str>)]> =
            portion.chunk_by(|one, other| one.0 == other.0).collect();
        for channels in &partitions {
            let names: Vec<&str> = channels.iter().map(|channel| &*channel.1).collect();
            calls.add_command(self.functions.tops(channels[0].0, &names));
        }
        let replies: Vec<Value> = calls.query_async(&mut self.bulk).await?;
        let mut tops = Vec::with_capacity(portion.len());
        for (channels, reply) in partitions.iter().zip(replies) {
            let reply = reply.extract_error()?;
            let found = read_tops(&reply).unwrap_or_default();
            let names = channels.iter().map(|channel| channel.1.clone());
            tops.extend(names.zip(found));
        }
        let outcome = Outcome::Tops {
            link: self.link,
            tops,
        };
        let _ = self.outcomes.send(outcome).await;
        Ok(())
    }
}
