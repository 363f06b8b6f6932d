//! The role `realtime`: what must happen within seconds.
//!
//! - It publishes what back ends send to the ingress topic ([`crate::ingress`]).
//! - With the section `[outbox]` it publishes what back ends commit to their database
//!   ([`crate::outbox`]).
//! - With the section `[redis]` it places again what nodes have fed that have no lease
//!   ([`crate::unleased`]).
//! - With a database it stores a deadline for each event of `critical` whose namespace escalates,
//!   and looks at the cursors of its user when it is due: what no device has acknowledged ends as
//!   a stored escalation ([`crate::stored`]).

use std::sync::Arc;

use interlink_protocol::namespace::{Namespaces, Topic};
use interlink_relay::kafka::{route, Config as Cluster};
use interlink_relay::postgres::Store;
use tracing::warn;

use super::Stop;
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::ingress;
use crate::outbox;
use crate::stored::{consume, limits, now_us, Effect, Group};
use crate::unleased::{self, Setting};

/// The consumer group.
pub const GROUP: &str = "realtime";

/// Runs until it is stopped.
///
/// # Errors
/// When the configuration says too little or something has ended by itself.
pub async fn run(config: &Config, stop: Stop) -> Result<(), CommandError> {
    let cluster = config.kafka.client()?;
    let api = config.edge.client()?;
    let outbox = async {
        match &config.outbox {
            Some(section) => outbox::run(&section.client()?, &cluster, &api, stop.clone()).await,
            None => Ok(()),
        }
    };
    let unleased = async {
        match &config.redis {
            Some(section) => {
                let setting = Setting {
                    cluster: cluster.clone(),
                    redis: section.client()?,
                    region: config.region().to_owned(),
                    store: archive(config)?,
                };
                unleased::run(setting, stop.clone()).await
            }
            None => Ok(()),
        }
    };
    let deadlines = async {
        match config.postgres.client()? {
            Some(_) => escalate(config, &cluster, stop.clone()).await,
            None => Ok(()),
        }
    };
    let ingress = ingress::run(&cluster, &api, stop.clone());
    tokio::try_join!(ingress, outbox, unleased, deadlines).map(drop)
}

/// The archive, which others bring up to date.
fn archive(config: &Config) -> Result<Option<Store>, CommandError> {
    let store = config
        .postgres
        .client()?
        .map(|database| Store::new(&database));
    let wrong = |error| CommandError::new(Exit::Config, error);
    store.transpose().map_err(wrong)
}

/// Stores deadlines, and ends those that are due, until it is stopped.
async fn escalate(config: &Config, cluster: &Cluster, mut stop: Stop) -> Result<(), CommandError> {
    let Some(store) = super::store(config, &mut stop).await? else {
        return Ok(());
    };
    let group = Group {
        cluster,
        name: GROUP,
        topics: vec![format!(
            "{}{}",
            cluster.topic_prefix,
            route::topic_name(Topic::Critical)
        )],
        effect: Effect::Deadlines(Arc::new(Namespaces::defaults())),
    };
    let due = take_due(store.clone());
    tokio::select! {
        ended = consume(group, store, stop) => ended,
        () = due => Ok(()),
    }
}

/// Ends deadlines that are due, for ever.
async fn take_due(store: Store) {
    loop {
        match store.take_due(now_us()).await {
            Ok((_, escalations)) => {
                for one in &escalations {
                    warn!(record = %one.record, "nobody acknowledged an event in time");
                }
            }
            Err(error) => warn!(%error, "deadlines wait for the database"),
        }
        tokio::time::sleep(limits::DEADLINES_EVERY).await;
    }
}
