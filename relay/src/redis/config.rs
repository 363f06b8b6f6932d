//! How the servers are reached.
//!
//! Password and authorities are read from their files for every connection, so that they can be
//! replaced while the process runs. Neither is ever shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates,
};

use super::limits::CALL_TIMEOUT;

/// What runs behind the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One server.
    Single,
    /// Sentinels, which name the master.
    Sentinel,
    /// Nodes of a Redis Cluster.
    Cluster,
}

/// Settings of the backplane over Redis.
#[derive(Clone, Debug)]
pub struct Config {
    /// What runs behind the addresses.
    pub mode: Mode,
    /// `host:port` of the server, of the sentinels, or of some nodes of the cluster.
    pub addresses: Vec<String>,
    /// The master's name at the sentinels.
    pub master: String,
    /// User of the servers' access lists.
    pub username: Option<String>,
    /// File with the password, which sentinels are asked with too when they want one.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// File of certificates (PEM) that sign the servers'; the system's without one.
    pub authorities: Option<PathBuf>,
    /// First part of all keys and pub/sub names.
    pub prefix: String,
    /// Partitions of channels, fixed for the life of a cluster.
    pub partitions: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Single,
            addresses: Vec::new(),
            master: "interlink".into(),
            username: None,
            password_file: None,
            tls: false,
            authorities: None,
            prefix: "interlink".into(),
            partitions: 128,
        }
    }
}

/// Settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to connect to.
    #[error("no address of Redis is configured: name at least one as host:port")]
    NoAddress,
    /// Not an address.
    #[error("'{0}' is not an address of Redis: write host:port")]
    Address(String),
    /// A number of partitions that is none.
    #[error("a cluster has at least one partition; 128 is usual")]
    Partitions,
    /// The prefix would move the hash tag.
    #[error("the prefix of Redis keys must not contain braces")]
    Prefix,
    /// Without a name sentinels know no master.
    #[error("sentinels are asked for a master by its name: configure it")]
    NoMaster,
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Address {
    /// Name or number of the host.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host, port.parse().ok()?))
        });
        match parts {
            Some((host, port)) if !host.is_empty() => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(ConfigError::Address(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why no client can be made; the files are read again for the next connection.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file could not be read.
    #[error("{path} could not be read: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The library refuses the settings.
    #[error("Redis cannot be reached with these settings: {0}")]
    Settings(#[from] redis::RedisError),
}

impl Config {
    /// Checks the settings and returns the addresses.
    pub fn check(&self) -> Result<Vec<Address>, ConfigError> {
        if self.partitions == 0 {
            return Err(ConfigError::Partitions);
        }
        if self.prefix.contains(['{', '}']) {
            return Err(ConfigError::Prefix);
        }
        if self.mode == Mode::Sentinel && self.master.is_empty() {
            return Err(ConfigError::NoMaster);
        }
        if self.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        self.addresses.iter().map(|text| text.parse()).collect()
    }

    /// A client for a server; `log_in` leaves out user and password when it is false.
    pub fn client(&self, address: &Address, log_in: bool) -> Result<Client, ClientError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|cause| ClientError::File {
                path: path.clone(),
                cause,
            })
        };
        let (host, port) = (address.host.clone(), address.port);
        let place = if self.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if log_in {
            if let Some(username) = &self.username {
                settings = settings.set_username(username);
            }
            if let Some(path) = &self.password_file {
                let password = read(path)?;
                let password = String::from_utf8_lossy(&password);
                settings = settings.set_password(password.trim_end());
            }
        }
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(2 * CALL_TIMEOUT);
        let info = place
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(tcp);
        if !self.tls {
            return Ok(Client::open(info)?);
        }
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: self.authorities.as_ref().map(read).transpose()?,
        };
        Ok(Client::build_with_tls(info, certificates)?)
    }
}
