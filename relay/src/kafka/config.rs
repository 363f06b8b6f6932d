//! How the Kafka cluster is reached, and the settings of clients that follow from it.
//!
//! Invariants: a password is read from its file when a client is made and stands in no
//! message; a password never travels readable.
//! Runs on: any thread; reads files of a few bytes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::limits;

/// How a client proves who it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// Not at all.
    #[default]
    None,
    /// User name and password as they are; with TLS only.
    Plain,
    /// RFC 5802 with SHA-256.
    ScramSha256,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 4] = [
        Self::None,
        Self::Plain,
        Self::ScramSha256,
        Self::ScramSha512,
    ];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Plain => "plain",
            Self::ScramSha256 => "scram-sha-256",
            Self::ScramSha512 => "scram-sha-512",
        }
    }
}

impl FromStr for Mechanism {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let known = Self::ALL.into_iter();
        let mut found = known.filter(|mechanism| mechanism.name() == text);
        found
            .next()
            .ok_or_else(|| ConfigError::Mechanism(text.to_owned()))
    }
}

/// Why the cluster cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No address.
    #[error("no Kafka broker is named; list at least one as HOST:PORT in kafka.brokers")]
    NoBrokers,
    /// An address without a port.
    #[error("`{0}` in kafka.brokers is no address; write HOST:PORT")]
    Broker(String),
    /// An unknown mechanism.
    #[error("kafka.mechanism `{0}` is unknown; use none, plain, scram-sha-256 or scram-sha-512")]
    Mechanism(String),
    /// A mechanism without the name or the password.
    #[error("kafka.mechanism `{0}` needs kafka.username and kafka.password_file")]
    Credentials(&'static str),
    /// The password would be readable on the way.
    #[error("kafka.mechanism `plain` sends the password readable; set kafka.tls, or use a scram")]
    Readable,
    /// Authorities without TLS have no effect, which nobody who writes them wants.
    #[error("kafka.authorities is set and kafka.tls is not; set kafka.tls = true")]
    Authorities,
    /// A prefix that Kafka does not allow in names of topics.
    #[error("the topic prefix `{0}` is not allowed; use up to 100 letters, digits and . _ -")]
    Prefix(String),
    /// A file could not be read.
    #[error("{} cannot be read: {source}; make it readable for this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("no thread can be started for Kafka: {0}; raise the limit of threads")]
    Thread(#[source] std::io::Error),
    /// The client library refused a setting.
    #[error("the Kafka client cannot be made: {0}")]
    Client(#[from] rdkafka::error::KafkaError),
}

/// How the Kafka cluster is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Some of its brokers as HOST:PORT; the others are learnt from them.
    pub brokers: Vec<String>,
    /// How a client proves who it is.
    pub mechanism: Mechanism,
    /// The user, for every mechanism but none.
    pub username: String,
    /// The file with the user's password; a line end behind it does not count.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted and brokers' names verified.
    pub tls: bool,
    /// PEM file of the authorities that vouch for brokers; those of the host when absent.
    pub authorities: Option<PathBuf>,
    /// What the names of all topics begin with. A new version of the topics, with other
    /// partition counts, is a new prefix.
    pub topic_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            mechanism: Mechanism::None,
            username: String::new(),
            password_file: None,
            tls: false,
            authorities: None,
            topic_prefix: DEFAULT_PREFIX.to_owned(),
        }
    }
}

/// What the names of topics begin with unless configured.
pub const DEFAULT_PREFIX: &str = "interlink.";

impl Config {
    /// A plaintext cluster without passwords.
    pub fn plaintext(brokers: &[&str]) -> Self {
        Self {
            brokers: brokers.iter().map(|broker| (*broker).into()).collect(),
            ..Self::default()
        }
    }

    /// Checks everything that needs no file and no broker.
    ///
    /// # Errors
    /// The first contradiction, with its cure.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.brokers.is_empty() {
            return Err(ConfigError::NoBrokers);
        }
        if let Some(wrong) = self.brokers.iter().find(|broker| !is_address(broker)) {
            return Err(ConfigError::Broker(wrong.clone()));
        }
        let named = !self.username.is_empty() && self.password_file.is_some();
        if self.mechanism != Mechanism::None && !named {
            return Err(ConfigError::Credentials(self.mechanism.name()));
        }
        if self.mechanism == Mechanism::Plain && !self.tls {
            return Err(ConfigError::Readable);
        }
        if self.authorities.is_some() && !self.tls {
            return Err(ConfigError::Authorities);
        }
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let prefix = &self.topic_prefix;
        if prefix.len() > limits::TOPIC_PREFIX_BYTES || !prefix.chars().all(allowed) {
            return Err(ConfigError::Prefix(prefix.clone()));
        }
        Ok(())
    }

    /// Settings of every client of this cluster.
    ///
    /// # Errors
    /// A contradiction, or a file that cannot be read.
    pub fn client(&self, client_id: &str) -> Result<ClientConfig, ConfigError> {
        self.check()?;
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Warning);
        client.set("bootstrap.servers", self.brokers.join(","));
        client.set("client.id", client_id);
        client.set("security.protocol", self.protocol());
        if let Some(authorities) = &self.authorities {
            // Read here so that the error names the file; the library reads it again.
            read(authorities)?;
            client.set("ssl.ca.location", authorities.to_string_lossy());
        }
        if let (true, Some(file)) = (self.mechanism != Mechanism::None, &self.password_file) {
            let password = read(file)?;
            let password = password.strip_suffix('\n').unwrap_or(&password);
            let password = password.strip_suffix('\r').unwrap_or(password);
            client.set("sasl.mechanism", self.mechanism.name().to_uppercase());
            client.set("sasl.username", &self.username);
            client.set("sasl.password", password);
        }
        let known = [
            // A broker that came back is found within this time.
            ("reconnect.backoff.ms", limits::RECONNECT_MS),
            ("reconnect.backoff.max.ms", limits::RECONNECT_MAX_MS),
            ("socket.timeout.ms", limits::SOCKET_TIMEOUT_MS),
            ("socket.connection.setup.timeout.ms", limits::CONNECT_MS),
            ("topic.metadata.refresh.interval.ms", limits::METADATA_MS),
        ];
        for (name, milliseconds) in known {
            client.set(name, milliseconds.to_string());
        }
        client.set("socket.keepalive.enable", "true");
        client.set("log.connection.close", "false");
        Ok(client)
    }

    fn protocol(&self) -> &'static str {
        match (self.mechanism != Mechanism::None, self.tls) {
            (false, false) => "PLAINTEXT",
            (false, true) => "SSL",
            (true, false) => "SASL_PLAINTEXT",
            (true, true) => "SASL_SSL",
        }
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let plain = |letter: char| !letter.is_whitespace() && !",/".contains(letter);
    !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::plaintext(&["a:9092", "b:9092"]);
        change(&mut config);
        config
    }

    #[test]
    fn every_contradiction_is_refused_with_its_cure() {
        let cases = [
            (with(|c| c.brokers.clear()), "list at least one"),
            (with(|c| c.brokers.push("c".into())), "HOST:PORT"),
            (with(|c| c.brokers.push("c:0".into())), "HOST:PORT"),
            (with(|c| c.brokers.push("c,d:9".into())), "HOST:PORT"),
            (
                with(|c| c.mechanism = Mechanism::ScramSha512),
                "kafka.username",
            ),
            (
                with(|c| {
                    c.mechanism = Mechanism::Plain;
                    c.username = "edge".into();
                    c.password_file = Some("file".into());
                }),
                "kafka.tls",
            ),
            (
                with(|c| c.authorities = Some("file".into())),
                "kafka.tls = true",
            ),
            (with(|c| c.topic_prefix = "a b".into()), "letters"),
        ];
        for (config, cure) in cases {
            let error = config.check().expect_err("a contradiction").to_string();
            assert!(error.contains(cure), "{error}");
        }
        assert!(with(|_| {}).check().is_ok());
    }

    #[test]
    fn a_client_gets_protocol_credentials_and_authorities() {
        let directory = tempfile::tempdir().expect("a directory");
        let password = directory.path().join("password");
        std::fs::write(&password, "wonder land\n").expect("written");
        let authorities = directory.path().join("authorities.pem");
        std::fs::write(&authorities, "").expect("written");
        let config = with(|c| {
            c.mechanism = Mechanism::ScramSha256;
            c.username = "edge".into();
            c.password_file = Some(password);
            c.tls = true;
            c.authorities = Some(authorities.clone());
        });
        let client = config.client("edge-1").expect("settings");
        for (name, value) in [
            ("bootstrap.servers", "a:9092,b:9092"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "edge"),
            ("sasl.password", "wonder land"),
            ("ssl.ca.location", &authorities.to_string_lossy()),
        ] {
            assert_eq!(client.get(name), Some(value), "{name}");
        }
        assert!(!format!("{config:?}").contains("wonder"));
    }

    #[test]
    fn a_missing_password_file_is_named() {
        let config = with(|c| {
            c.mechanism = Mechanism::ScramSha256;
            c.username = "edge".into();
            c.password_file = Some("/nowhere/password".into());
        });
        let error = config.client("x").expect_err("no file").to_string();
        assert!(error.contains("/nowhere/password"), "{error}");
    }

    #[test]
    fn mechanisms_are_read_by_their_names() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().parse::<Mechanism>().ok(), Some(mechanism));
        }
        assert!("SCRAM".parse::<Mechanism>().is_err());
    }
}
