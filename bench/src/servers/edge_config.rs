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

/// How a node of a cluster reaches Redis.
#[derive(Clone, Debug)]
pub enum RedisAt {
    /// One server.
    Single(SocketAddr),
    /// Sentinels that name the master.
    Sentinel {
        /// Name of the master.
        master: String,
        /// The Sentinels.
        sentinels: Vec<SocketAddr>,
    },
    /// Some nodes of a Redis Cluster.
    Cluster(Vec<SocketAddr>),
}

/// What makes an edge a node of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterPart {
    /// Name of the node.
    pub name: String,
    /// Region of the node.
    pub region: String,
    /// Redis.
    pub redis: RedisAt,
    /// Brokers of Kafka.
    pub brokers: Vec<SocketAddr>,
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
    /// The cluster of which it is a node; without one it stands alone.
    pub cluster: Option<ClusterPart>,
}

impl ClusterPart {
    /// Its sections (TOML).
    fn to_toml(&self) -> String {
        let mut text = String::from("[redis]\n");
        let mut line = |words: String| text.extend([words.as_str(), "\n"]);
        match &self.redis {
            RedisAt::Single(address) => {
                line("mode = \"single\"".to_owned());
                line(format!("addresses = {}", listed(&[*address])));
            }
            RedisAt::Sentinel { master, sentinels } => {
                line("mode = \"sentinel\"".to_owned());
                line(format!("addresses = {}", listed(sentinels)));
                line(format!("master = \"{master}\""));
            }
            RedisAt::Cluster(nodes) => {
                line("mode = \"cluster\"".to_owned());
                line(format!("addresses = {}", listed(nodes)));
            }
        }
        line("[kafka]".to_owned());
        line(format!("brokers = {}", listed(&self.brokers)));
        text
    }
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
        if let Some(cluster) = &self.cluster {
            line(format!("name = \"{}\"", cluster.name));
            line(format!("region = \"{}\"", cluster.region));
        }
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
        if let Some(cluster) = &self.cluster {
            text += &cluster.to_toml();
        }
        text
    }
}

/// Addresses as a TOML list.
fn listed(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<String> = addresses
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    format!("[{}]", quoted.join(", "))
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
            cluster: None,
        }
    }

    #[test]
    fn a_node_of_a_cluster_has_a_name_and_knows_the_outside_systems() {
        let mut config = config(2_000);
        assert!(!config.to_toml().contains("[redis]"));
        config.cluster = Some(ClusterPart {
            name: "node-2".to_owned(),
            region: "local".to_owned(),
            redis: RedisAt::Sentinel {
                master: "interlink".to_owned(),
                sentinels: vec!["127.0.0.1:7456".parse().unwrap()],
            },
            brokers: ["127.0.0.1:7490", "127.0.0.1:7491"]
                .map(|at| at.parse().unwrap())
                .into(),
        });
        let text = config.to_toml();
        assert!(text.starts_with("[node]\nname = \"node-2\"\nregion = \"local\"\n"));
        assert!(text.contains(
            "[redis]\nmode = \"sentinel\"\naddresses = [\"127.0.0.1:7456\"]\nmaster = \
             \"interlink\"\n[kafka]\nbrokers = [\"127.0.0.1:7490\", \"127.0.0.1:7491\"]\n"
        ));
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
