//! The role `realtime`: what must happen within seconds.
//!
//! - It publishes what back ends send to the ingress topic ([`crate::ingress`]).
//! - With a database it stores a deadline for each event of `critical` whose namespace escalates,
//!   and looks at the cursors of its user when it is due: what no device has acknowledged ends as
//!   a stored escalation ([`crate::stored`]).

use std::sync::Arc;

use interlink_protocol::namespace::{Namespaces, Topic};
use interlink_relay::kafka::route;
use interlink_relay::postgres::Store;
use tracing::warn;

use super::Stop;
use crate::config::Config;
use crate::exit::CommandError;
use crate::ingress;
use crate::stored::{consume, limits, now_us, Effect, Group};

/// The consumer group.
pub const GROUP: &str = "realtime";

/// Runs until it is stopped.
///
/// # Errors
/// When the configuration says too little or something has ended by itself.
pub async fn run(config: &Config, stop: Stop) -> Result<(), CommandError> {
    let cluster = config.kafka.client()?;
    let api = config.edge.client()?;
    if config.postgres.client()?.is_none() {
        return ingress::run(&cluster, &api, stop).await;
    }
    let store = super::store(config).await?;
    let group = Group {
        cluster: &cluster,
        name: GROUP,
        topics: vec![format!(
            "{}{}",
            cluster.topic_prefix,
            route::topic_name(Topic::Critical)
        )],
        effect: Effect::Deadlines(Arc::new(Namespaces::defaults())),
    };
    let escalate = escalate(store.clone());
    tokio::select! {
        ended = async {
            let (one, other) = tokio::join!(
                ingress::run(&cluster, &api, stop.clone()),
                consume(group, store, stop)
            );
            one.and(other)
        } => ended,
        () = escalate => Ok(()),
    }
}

/// Ends deadlines that are due, for ever.
async fn escalate(store: Store) {
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
