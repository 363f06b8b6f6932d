//! Configuration: defaults, then one TOML file, then the environment, then arguments.
//!
//! Every property is declared once, in `sections.rs` and `namespaces.rs`; parser,
//! checks, `config print` and `config reference` work from the declarations.
//!
//! Invariants: an unknown key is refused; a [`Config`] that [`Sources::load`] returned
//! has passed all checks; each value knows where it came from.
//! Runs on: the main thread; afterwards a configuration is read only.

mod backbone;
mod check;
mod error;
mod file;
pub mod limits;
mod namespaces;
mod nearest;
mod overlay;
pub mod plan;
pub mod print;
mod property;
pub mod reference;
mod sections;
mod setting;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use backbone::archive_of;
pub use backbone::{
    Cluster, CriticalWithoutKafka, KafkaMechanism, KafkaSettings, PostgresSettings, RedisMode,
    RedisSettings,
};
pub use error::{ConfigError, ConfigErrors, Place};
pub use namespaces::{AckLevel, NamespaceSettings};
pub use plan::{
    MemoryPlan, HISTORY_BYTES, REPLY_BYTES, SLOW_SUBSCRIPTION_BYTES, SUBSCRIPTIONS_PLANNED,
};
pub use property::{Property, Section, SetError};
pub use sections::{
    AnomalySettings, Auth, Drain, Heartbeat, Journal, Limits, Listen, Log, LogFormat, LogLevel,
    Node, PresenceSettings, Rings, Tls, TlsFiles,
};
pub use setting::{duration_from_text, ByteSize, Raw, Setting};
pub use source::{Argument, Sources};

use crate::network::Network;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The declaration's default.
    #[default]
    Default,
    /// A line of the configuration file.
    File {
        /// Path as it was given.
        path: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command line argument.
    Argument(String),
}

/// The effective configuration of a node.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which node this is.
    pub node: Node,
    /// Addresses.
    pub listen: Listen,
    /// Certificates and session tickets.
    pub tls: TlsFiles,
    /// What node and clients may use at most.
    pub limits: Limits,
    /// The rings of each shard.
    pub rings: Rings,
    /// The journal.
    pub journal: Journal,
    /// What the nodes of a cluster have in common.
    pub cluster: Cluster,
    /// The servers of Redis.
    pub redis: RedisSettings,
    /// The brokers of Kafka.
    pub kafka: KafkaSettings,
    /// The archive on PostgreSQL.
    pub postgres: PostgresSettings,
    /// Keys and names for tokens.
    pub auth: Auth,
    /// What is noticed as an anomaly.
    pub anomalies: AnomalySettings,
    /// Heartbeats.
    pub heartbeat: Heartbeat,
    /// Who is present.
    pub presence: PresenceSettings,
    /// How the node empties itself.
    pub drain: Drain,
    /// Logging.
    pub log: Log,
    /// Overrides of single namespaces by their name.
    pub namespaces: BTreeMap<String, NamespaceSettings>,
    /// Origins of the values that are not defaults, by path such as `limits.max_sessions`.
    origins: BTreeMap<String, Origin>,
}

impl Config {
    /// All fixed sections, in the order of the reference.
    pub fn sections(&self) -> [&dyn Section; 16] {
        [
            &self.node,
            &self.listen,
            &self.tls,
            &self.limits,
            &self.rings,
            &self.journal,
            &self.cluster,
            &self.redis,
            &self.kafka,
            &self.postgres,
            &self.auth,
            &self.anomalies,
            &self.heartbeat,
            &self.presence,
            &self.drain,
            &self.log,
        ]
    }

    /// The fixed section of that name.
    pub fn section_mut(&mut self, name: &str) -> Option<&mut dyn Section> {
        let sections: [&mut dyn Section; 16] = [
            &mut self.node,
            &mut self.listen,
            &mut self.tls,
            &mut self.limits,
            &mut self.rings,
            &mut self.journal,
            &mut self.cluster,
            &mut self.redis,
            &mut self.kafka,
            &mut self.postgres,
            &mut self.auth,
            &mut self.anomalies,
            &mut self.heartbeat,
            &mut self.presence,
            &mut self.drain,
            &mut self.log,
        ];
        sections.into_iter().find(|section| section.name() == name)
    }

    /// Where the value at a path such as `limits.max_sessions` came from.
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// Remembers where the value at a path came from.
    fn set_origin(&mut self, path: String, origin: Origin) {
        self.origins.insert(path, origin);
    }

    /// The networks of `listen.proxy_from`; what is none was refused when they were loaded.
    pub fn proxies(&self) -> Vec<Network> {
        let texts = self.listen.proxy_from.iter();
        texts.filter_map(|text| Network::parse(text).ok()).collect()
    }

    /// Whether the node is one of a cluster.
    pub fn is_clustered(&self) -> bool {
        self.redis.mode != RedisMode::Off
    }

    /// Whether the node asks an archive.
    pub fn has_archive(&self) -> bool {
        self.is_clustered() && !self.postgres.address.is_empty()
    }

    /// Number of shards: the configured one, or one for each usable core.
    pub fn shard_count(&self) -> usize {
        if self.node.shards > 0 {
            return self.node.shards as usize;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores.min(limits::SHARDS_MAX as usize)
    }
}
