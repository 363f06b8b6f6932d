//! The servers of a cluster, as the configuration names them.
//!
//! Runs on: the main thread at start.

use std::sync::Arc;

use interlink_relay::{kafka, postgres, redis};

use crate::config::{archive_of, Config, KafkaMechanism, RedisMode};
use crate::exit::{CommandError, Exit};

/// How Redis, Kafka and the archive are reached.
#[derive(Debug)]
pub struct Servers {
    /// The backplane.
    pub redis: redis::Config,
    /// The log.
    pub kafka: kafka::LogConfig,
    /// The archive.
    pub archive: Option<postgres::Config>,
}

impl Servers {
    /// The servers that a configuration names.
    ///
    /// # Errors
    /// When the namespaces of the configuration contradict themselves, or a file of the archive
    /// cannot be read.
    pub fn of(config: &Config) -> Result<Self, CommandError> {
        let archive = archive_of(config);
        if let Some(archive) = &archive {
            // Its files are looked at here, where an error is one of the start.
            let store = postgres::Store::new(archive);
            store.map_err(|error| CommandError::new(Exit::Config, error))?;
        }
        let namespaces = config
            .namespace_policies()
            .map_err(|error| CommandError::new(Exit::Config, error))?;
        Ok(Self {
            redis: redis_of(config),
            kafka: kafka::LogConfig {
                cluster: kafka_of(config),
                node: config.node.name.clone(),
                region: config.node.region.clone(),
                namespaces: Arc::new(namespaces),
            },
            archive,
        })
    }
}

fn redis_of(config: &Config) -> redis::Config {
    let redis = &config.redis;
    redis::Config {
        mode: match redis.mode {
            RedisMode::Off | RedisMode::Single => redis::Mode::Single,
            RedisMode::Sentinel => redis::Mode::Sentinel,
            RedisMode::Cluster => redis::Mode::Cluster,
        },
        addresses: redis.addresses.clone(),
        master: redis.master.clone(),
        username: redis.username.clone(),
        password_file: redis.password_file.clone(),
        tls: redis.tls,
        authorities: redis.authorities.clone(),
        partitions: config.cluster.partitions as u16,
        ..redis::Config::default()
    }
}

fn kafka_of(config: &Config) -> kafka::Config {
    let kafka = &config.kafka;
    kafka::Config {
        brokers: kafka.brokers.clone(),
        mechanism: match kafka.mechanism {
            KafkaMechanism::None => kafka::Mechanism::None,
            KafkaMechanism::Plain => kafka::Mechanism::Plain,
            KafkaMechanism::ScramSha256 => kafka::Mechanism::ScramSha256,
            KafkaMechanism::ScramSha512 => kafka::Mechanism::ScramSha512,
        },
        username: kafka.username.clone().unwrap_or_default(),
        password_file: kafka.password_file.clone(),
        tls: kafka.tls,
        authorities: kafka.authorities.clone(),
        ..kafka::Config::default()
    }
}
