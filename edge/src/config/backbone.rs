//! The declarations of the cluster: what makes nodes one system, and the brokers behind them.
//!
//! A node is one of a cluster as soon as `redis.mode` is not "off"; then it needs Kafka as well.
//! Limits of the values, with their reasons, are in `limits.rs`.
//!
//! Runs on: the main thread; afterwards the values are read only, from any thread.

use std::path::PathBuf;

use super::limits;
use super::property::section;
use super::setting::words;

words! {
    /// How the servers of Redis are arranged.
    pub enum RedisMode {
        /// There is none: the node is alone.
        Off = "off",
        /// One server.
        Single = "single",
        /// A master and replicas that Sentinels watch.
        Sentinel = "sentinel",
        /// Redis Cluster, with sharded pub/sub.
        Cluster = "cluster",
    }
}

words! {
    /// What an acknowledgement of P0 says while Kafka does not answer.
    pub enum CriticalWithoutKafka {
        /// It is given once the event is on the disk of the node, and says that it is degraded.
        Local = "local",
        /// It waits for Kafka; beyond a bound publishes are refused.
        Withhold = "withhold",
    }
}

words! {
    /// How the node proves to Kafka who it is.
    pub enum KafkaMechanism {
        /// Not at all.
        None = "none",
        /// User and password, which TLS has to protect.
        Plain = "plain",
        /// SCRAM with SHA-256.
        ScramSha256 = "scram-sha-256",
        /// SCRAM with SHA-512.
        ScramSha512 = "scram-sha-512",
    }
}

section! {
    /// What all nodes of a cluster have in common.
    pub struct Cluster = "cluster" {
        /// Parts of the numbering of channels, each with one hash tag in Redis. It is fixed for
        /// the life of a cluster and the same on all nodes.
        partitions: u32 = 128,
        unit "partitions", bounds 1..=limits::PARTITIONS_MAX, example "128";
    }
}

section! {
    /// The servers of Redis, which number events and carry them between nodes.
    pub struct RedisSettings = "redis" {
        /// How the servers are arranged. "off" is a node alone.
        mode: RedisMode = RedisMode::Off,
        unit "", example "\"sentinel\"";

        /// Addresses: the server, the Sentinels, or some nodes of the Redis Cluster.
        addresses: Vec<String> = Vec::new(),
        unit "", example "[\"10.0.0.7:26379\", \"10.0.0.8:26379\"]";

        /// Name under which the Sentinels know the master.
        master: String = "interlink".to_owned(),
        unit "", example "\"interlink\"";

        /// User of the access list of Redis; without one the password is that of the default user.
        username: Option<String> = None,
        unit "", example "\"interlink\"";

        /// File with the password.
        password_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/redis.password\"";

        /// Whether connections are encrypted.
        tls: bool = false,
        unit "", example "true";

        /// PEM file with the authorities that may have signed the servers' certificates; without
        /// it those of the system.
        authorities: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/redis-ca.pem\"";
    }
}

section! {
    /// The brokers of Kafka, which keep every durable event for the workers.
    pub struct KafkaSettings = "kafka" {
        /// Addresses of some brokers.
        brokers: Vec<String> = Vec::new(),
        unit "", example "[\"10.0.0.4:9092\", \"10.0.0.5:9092\"]";

        /// How the node proves who it is.
        mechanism: KafkaMechanism = KafkaMechanism::None,
        unit "", example "\"scram-sha-512\"";

        /// User.
        username: Option<String> = None,
        unit "", example "\"interlink\"";

        /// File with the password.
        password_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/kafka.password\"";

        /// Whether connections are encrypted.
        tls: bool = false,
        unit "", example "true";

        /// PEM file with the authorities that may have signed the brokers' certificates; without
        /// it those of the system.
        authorities: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/kafka-ca.pem\"";

        /// What an acknowledgement of P0 says while Kafka does not answer.
        critical_without_kafka: CriticalWithoutKafka = CriticalWithoutKafka::Local,
        unit "", example "\"withhold\"";
    }
}
