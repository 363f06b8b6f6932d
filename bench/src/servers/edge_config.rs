//! The configuration file of an edge under test.
//!
//! Invariant: beside addresses, paths, the number of shards, certificates and keys only rate
//! limits, connection and ring counts differ from the defaults. Nothing here can name a setting of
//! the journal: what is acknowledged is synced as in production.
//!
//! Runs on: the bench's main thread.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Sessions that any run may open beside those that it names: publishers and observers.
const SPARE_SESSIONS: u32 = 1_000;
/// Connections in one burst from one address: every client comes from this machine.
const ADDRESS_BURST: u32 = 1_000_000;
/// Default of the setting `limits.max_sessions`.
const SESSIONS_DEFAULT: u32 = 100_000;

/// Files of a certificate.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// Whose tokens the edge takes.
#[derive(Clone, Debug, Default)]
pub enum KeysOf {
    /// Those of the development key that it makes itself.
    #[default]
    Itself,
    /// Those of the keys in a file.
    File(PathBuf),
    /// Those of an issuer, whose keys it fetches.
    Issuer {
        /// Value of `iss`.
        name: String,
        /// Where the key set is.
        url: String,
    },
}

/// What a scenario asks of its edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where metrics and readiness are served.
    pub control: SocketAddr,
    /// Where the server API listens; `None` when nobody asks it.
    pub api: Option<SocketAddr>,
    /// Directory of journal and keys.
    pub data: PathBuf,
    /// Shard threads.
    pub shards: u32,
    /// Sessions of the scenario.
    pub sessions: u32,
    /// Rings opened at the start; `None` is the default.
    pub rings_at_start: Option<u32>,
    /// Clients that a drain sends away in a second; `None` is the default.
    pub reconnects_per_second: Option<u32>,
    /// The certificate to serve; without one clients speak plaintext.
    pub tls: Option<TlsFiles>,
    /// Whose tokens are taken.
    pub keys: KeysOf,
}

impl EdgeConfig {
    /// The settings as the edge reads them (TOML).
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{words}");
        };
        line("[node]".to_owned());
        line(format!("data_directory = {}", quoted(&self.data)));
        line(format!("shards = {}", self.shards));
        line("[listen]".to_owned());
        line(format!("client_address = \"{}\"", self.listen));
        line(format!("control_address = \"{}\"", self.control));
        // Where nobody asks it, a free port leaves others alone.
        let api = self
            .api
            .map_or("127.0.0.1:0".to_owned(), |api| api.to_string());
        line(format!("api_address = \"{api}\""));
        if let Some(tls) = &self.tls {
            line("tls = \"on\"".to_owned());
            line("[tls]".to_owned());
            line(format!("certificate = [{}]", quoted(&tls.certificate)));
            line(format!("key = [{}]", quoted(&tls.key)));
        }
        match &self.keys {
            KeysOf::Itself => {}
            KeysOf::File(path) => {
                line("[auth]".to_owned());
                line(format!("key_files = [{}]", quoted(path)));
            }
            KeysOf::Issuer { name, url } => {
                line("[auth]".to_owned());
                line(format!("jwks = [\"{name} {url}\"]"));
            }
        }
        line("[limits]".to_owned());
        line(format!("address_burst = {ADDRESS_BURST}"));
        for name in ["connection_rate", "user_rate", "institution_rate"] {
            // Few connections play the whole load of a scenario.
            line(format!("{name} = 0"));
        }
        if self.sessions + SPARE_SESSIONS > SESSIONS_DEFAULT {
            line(format!("max_sessions = {}", self.sessions + SPARE_SESSIONS));
        }
        if let Some(rings) = self.rings_at_start {
            line("[rings]".to_owned());
            line(format!("rings_at_start = {rings}"));
        }
        if let Some(reconnects) = self.reconnects_per_second {
            line("[drain]".to_owned());
            line(format!("reconnects_per_second = {reconnects}"));
        }
        text
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    let text = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sessions: u32) -> EdgeConfig {
        EdgeConfig {
            listen: "127.0.0.1:7400".parse().unwrap(),
            control: "127.0.0.1:7401".parse().unwrap(),
            api: None,
            data: PathBuf::from("/tmp/a \"b\""),
            shards: 1,
            sessions,
            rings_at_start: Some(6),
            reconnects_per_second: Some(100),
            tls: None,
            keys: KeysOf::Itself,
        }
    }

    #[test]
    fn a_run_cannot_touch_the_journal() {
        let text = config(500_000).to_toml();
        assert!(
            !text.contains("journal") && !text.contains("sync"),
            "{text}"
        );
        assert!(text.contains("max_sessions = 501000"));
    }

    #[test]
    fn small_runs_keep_the_default_of_sessions() {
        let text = config(2_000).to_toml();
        assert!(!text.contains("max_sessions"));
        assert!(text.contains("data_directory = \"/tmp/a \\\"b\\\"\""));
    }

    #[test]
    fn certificates_and_keys_stand_in_sections_of_their_own() {
        let mut config = config(2_000);
        let plain = config.to_toml();
        assert!(!plain.contains("[tls]") && !plain.contains("[auth]"));
        config.tls = Some(TlsFiles {
            certificate: PathBuf::from("/x/edge.pem"),
            key: PathBuf::from("/x/edge.key"),
        });
        config.keys = KeysOf::Issuer {
            name: "https://login.example.com".to_owned(),
            url: "http://127.0.0.1:7403/jwks.json".to_owned(),
        };
        let text = config.to_toml();
        let listen = text.split("[listen]").nth(1).unwrap();
        assert!(listen.split('[').next().unwrap().contains("tls = \"on\""));
        assert!(text.contains("[tls]\ncertificate = [\"/x/edge.pem\"]\nkey = [\"/x/edge.key\"]"));
        assert!(text.contains(
            "[auth]\njwks = [\"https://login.example.com http://127.0.0.1:7403/jwks.json\"]"
        ));
    }
}
