//! The declarations of the cluster: what makes nodes one system, and the brokers behind them.
//!
//! A node is one of a cluster as soon as `redis.mode` is not "off"; then it needs Kafka as well.
//! Limits of the values, with their reasons, are in `limits.rs`.
//!
//! Runs on: the main thread; afterwards the values are read only, from any thread.

use std::path::PathBuf;
use std::time::Duration;

use interlink_relay::postgres;

use super::property::section;
use super::setting::words;
use super::{limits, Config};

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

section! {
    /// The archive on PostgreSQL, which the role archival of interlink-workers fills: history
    /// beyond what Redis keeps, ids of older attempts, and cursors of devices for all nodes. A
    /// cluster works without it; then history ends where Redis ends.
    pub struct PostgresSettings = "postgres" {
        /// HOST:PORT, or the directory of a Unix socket. Without it there is no archive. Without
        /// tls only this host is accepted.
        address: String = String::new(),
        unit "", example "\"10.0.0.9:5432\"";

        /// The database.
        database: String = "interlink".to_owned(),
        unit "", example "\"interlink\"";

        /// Who logs in. The user needs to read all tables of the schema, and to insert, update and
        /// delete in the table delivery_cursor.
        user: String = "interlink".to_owned(),
        unit "", example "\"interlink_edge\"";

        /// File with the password. It is read for each new connection.
        password_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/postgres.password\"";

        /// Whether connections are encrypted and the server's certificate checked.
        tls: bool = false,
        unit "", example "true";

        /// PEM file with the authorities that may have signed the server's certificate. It goes
        /// together with tls.
        authorities: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/postgres-ca.pem\"";

        /// Schema of all tables, the same as that of the workers.
        schema: String = "interlink".to_owned(),
        unit "", example "\"interlink\"";

        /// Most connections of this node. Calls beyond them wait for one.
        connections: u32 = 8,
        unit "connections", bounds 1..=128, example "16";

        /// Longest time of one call. What is not answered by then counts as away, and clients are
        /// told to ask again.
        call_timeout: Duration = Duration::from_secs(5),
        unit "time", bounds Duration::from_millis(100)..=Duration::from_secs(60),
        example "\"5s\"";
    }
}

/// How the archive is reached, if there is one.
pub(crate) fn archive_of(config: &Config) -> Option<postgres::Config> {
    let archive = &config.postgres;
    let is_named = !archive.address.is_empty();
    is_named.then(|| postgres::Config {
        address: archive.address.clone(),
        database: archive.database.clone(),
        user: archive.user.clone(),
        password_file: archive.password_file.clone(),
        tls: archive.tls,
        authorities: archive.authorities.clone(),
        schema: archive.schema.clone(),
        connections: archive.connections as usize,
        call_time: archive.call_timeout,
        ..postgres::Config::default()
    })
}
