//! How the database is reached.
//!
//! Invariants: the password is read from its file when a connection is made and stands in no
//! message; without TLS nothing but a loopback address or a socket is asked.
//! Runs on: any thread; reads files of a few bytes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::SslMode;

use super::limits;

/// How the database is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `HOST:PORT`, or the directory of a Unix socket.
    pub address: String,
    /// The database.
    pub database: String,
    /// Who logs in.
    pub user: String,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whether the connection is encrypted and the server's certificate checked.
    pub tls: bool,
    /// PEM file with the authorities that vouch for the server.
    pub authorities: Option<PathBuf>,
    /// The schema of all tables: lower-case letters, digits and `_`.
    pub schema: String,
    /// Days of history that are kept.
    pub history_days: i32,
    /// Most connections of this process.
    pub connections: usize,
    /// Longest time of one call of the port.
    pub call_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:5432".into(),
            database: "interlink".into(),
            user: "interlink".into(),
            password_file: None,
            tls: false,
            authorities: None,
            schema: "interlink".into(),
            history_days: limits::HISTORY_DAYS_DEFAULT,
            connections: limits::CONNECTIONS_DEFAULT,
            call_time: limits::CALL_TIME,
        }
    }
}

/// Why the database cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An address without a port.
    #[error(
        "`{0}` in postgres.address is no address; write HOST:PORT, or the directory of a \
             socket"
    )]
    Address(String),
    /// The password and the data would be readable on the way.
    #[error("postgres.address `{0}` is on another host; set postgres.tls = true")]
    Readable(String),
    /// TLS without authorities, or the other way round.
    #[error(
        "postgres.tls and postgres.authorities go together; name the PEM file of the \
             authorities, on Debian /etc/ssl/certs/ca-certificates.crt for the public ones"
    )]
    Authorities,
    /// A schema that would have to be quoted.
    #[error("the schema `{0}` is not allowed; use up to 40 lower-case letters, digits and _")]
    Schema(String),
    /// A number out of its range.
    #[error("postgres.{0} is {1}; choose {2}")]
    Range(&'static str, i64, &'static str),
    /// A file cannot be read.
    #[error("{} cannot be read: {cause}; make it readable for this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// TLS cannot start.
    #[error("TLS to PostgreSQL cannot start: {0}")]
    Tls(String),
}

impl Config {
    /// Looks for contradictions.
    ///
    /// # Errors
    /// The first one, with its cure.
    pub fn check(&self) -> Result<(), ConfigError> {
        let address = || ConfigError::Address(self.address.clone());
        if !self.address.starts_with('/') {
            let (host, port) = self.address.rsplit_once(':').ok_or_else(address)?;
            let port = port.parse::<u16>().map_err(|_| address())?;
            if host.is_empty() || port == 0 || host.contains(char::is_whitespace) {
                return Err(address());
            }
            let is_near = match host.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host == "localhost",
            };
            if !self.tls && !is_near {
                return Err(ConfigError::Readable(self.address.clone()));
            }
        }
        if self.tls != self.authorities.is_some() {
            return Err(ConfigError::Authorities);
        }
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let allowed = |letter: char| plain(letter) || letter == '_';
        let begins = self
            .schema
            .starts_with(|letter: char| !letter.is_ascii_digit());
        if !begins || self.schema.len() > 40 || !self.schema.chars().all(allowed) {
            return Err(ConfigError::Schema(self.schema.clone()));
        }
        if !(limits::ID_DAYS..=36_500).contains(&self.history_days) {
            let days = i64::from(self.history_days);
            return Err(ConfigError::Range("history_days", days, "8 to 36500"));
        }
        if !(1..=limits::CONNECTIONS_MAX).contains(&self.connections) {
            let connections = self.connections as i64;
            return Err(ConfigError::Range("connections", connections, "1 to 128"));
        }
        Ok(())
    }

    /// Settings of a connection, without the password.
    pub(super) fn connection(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match self.address.rsplit_once(':') {
            Some((host, port)) if !self.address.starts_with('/') => {
                config.host(host.trim_start_matches('[').trim_end_matches(']'));
                // `check` has refused anything else.
                config.port(port.parse().unwrap_or(5432));
            }
            _ => {
                config.host_path(&self.address);
            }
        }
        let (schema, statement_ms) = (&self.schema, limits::STATEMENT_TIME.as_millis());
        let lock_ms = limits::LOCK_TIME.as_millis();
        config
            .dbname(&self.database)
            .user(&self.user)
            .application_name("interlink")
            .options(format!(
                "-c search_path={schema} -c statement_timeout={statement_ms} \
                 -c lock_timeout={lock_ms} -c idle_in_transaction_session_timeout={statement_ms}"
            ))
            .connect_timeout(limits::CONNECT_TIME)
            .tcp_user_timeout(limits::PEER_SILENT)
            .keepalives_idle(limits::PEER_SILENT)
            .ssl_mode(match self.tls {
                true => SslMode::Require,
                false => SslMode::Disable,
            });
        config
    }

    /// The password, read now.
    pub(super) fn password(&self) -> Result<Option<String>, ConfigError> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.clone(),
            cause: error.to_string(),
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contradiction_is_refused_with_its_cure() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config
        };
        let cases = [
            (with(|c| c.address = "db".into()), "HOST:PORT"),
            (with(|c| c.address = "db:0".into()), "HOST:PORT"),
            (
                with(|c| c.address = "db.example:5432".into()),
                "postgres.tls",
            ),
            (with(|c| c.tls = true), "authorities"),
            (with(|c| c.authorities = Some("a".into())), "postgres.tls"),
            (with(|c| c.schema = "a-b".into()), "lower-case"),
            (with(|c| c.schema = String::new()), "lower-case"),
            (with(|c| c.history_days = 7), "8 to"),
            (with(|c| c.connections = 0), "1 to"),
        ];
        for (config, cure) in cases {
            let error = config.check().expect_err("a contradiction").to_string();
            assert!(error.contains(cure), "{error}");
        }
        assert!(with(|_| {}).check().is_ok());
        assert!(with(|c| c.address = "/run/postgresql".into())
            .check()
            .is_ok());
    }
}
