//! Checks between properties: what is right alone and wrong together, or unsafe.
//!
//! Runs on: the main thread, after every single value was accepted.

use interlink_relay::postgres;

use super::backbone::{archive_of, KafkaMechanism, RedisMode};
use super::error::ConfigError;
use super::sections::Tls;
use super::setting::{duration_text, ByteSize};
use super::{limits, Config};
use crate::auth::limits::ISSUERS_MAX;
use crate::auth::KeySource;
use crate::network::Network;
use crate::tls::limits::CERTIFICATES_MAX;

/// Runs every check and gathers what is wrong.
pub(super) fn all(config: &Config, errors: &mut Vec<ConfigError>) {
    let checks: [fn(&Config) -> Option<ConfigError>; 19] = [
        names_are_present,
        plaintext_stays_on_loopback,
        plaintext_of_the_api_stays_on_loopback,
        certificates_fit_tls,
        control_is_guarded_off_loopback,
        addresses_differ,
        path_is_absolute,
        origins_are_origins,
        proxies_are_networks,
        key_sets_can_be_fetched,
        rings_fit,
        sessions_fit,
        journal_fits,
        heartbeat_is_answerable,
        sync_order,
        namespaces_keep_promises,
        brokers_are_complete,
        passwords_stay_secret,
        archive_is_reachable,
    ];
    errors.extend(checks.iter().filter_map(|check| check(config)));
    errors.extend(histories_are_kept(config));
}

fn conflict(path: &'static str, problem: String, cure: impl Into<String>) -> Option<ConfigError> {
    Some(ConfigError::Conflict {
        path,
        problem,
        cure: cure.into(),
    })
}

fn names_are_present(config: &Config) -> Option<ConfigError> {
    let named = [
        ("node.name", &config.node.name),
        ("node.region", &config.node.region),
        ("auth.issuer", &config.auth.issuer),
        ("auth.audience", &config.auth.audience),
    ];
    let (path, _) = named.into_iter().find(|(_, value)| {
        value.is_empty() || value.len() > 255 || value.chars().any(char::is_control)
    })?;
    conflict(
        path,
        "a name needs 1 to 255 bytes and no control characters".to_owned(),
        "give it a name or remove the line to use the default",
    )
}

fn plaintext_stays_on_loopback(config: &Config) -> Option<ConfigError> {
    let address = config.listen.client_address;
    if address.ip().is_loopback() || config.listen.tls != Tls::Off {
        return None;
    }
    conflict(
        "listen.client_address",
        format!("{address} is not a loopback address and tokens would cross the network in clear"),
        "set listen.tls = \"on\" with tls.certificate and tls.key, or \"terminated-upstream\" when \
         a proxy in front of the node speaks TLS, or listen on 127.0.0.1",
    )
}

fn plaintext_of_the_api_stays_on_loopback(config: &Config) -> Option<ConfigError> {
    let address = config.listen.api_address;
    if address.ip().is_loopback() || config.listen.tls != Tls::Off {
        return None;
    }
    conflict(
        "listen.api_address",
        format!(
            "{address} is not a loopback address and tokens of services would cross the network \
             in clear"
        ),
        "set listen.tls = \"on\" with tls.certificate and tls.key, or \"terminated-upstream\" when \
         a proxy in front of the node speaks TLS, or listen on 127.0.0.1",
    )
}

fn certificates_fit_tls(config: &Config) -> Option<ConfigError> {
    let (certificates, keys) = (config.tls.certificate.len(), config.tls.key.len());
    if certificates != keys || certificates > CERTIFICATES_MAX {
        return conflict(
            "tls.certificate",
            format!("{certificates} certificates have {keys} keys"),
            format!("give each certificate its key in tls.key, at most {CERTIFICATES_MAX}"),
        );
    }
    match (config.listen.tls, certificates) {
        (Tls::On, 0) => conflict(
            "tls.certificate",
            "listen.tls is \"on\" and there is no certificate".to_owned(),
            "name the PEM files in tls.certificate and tls.key",
        ),
        (Tls::Off | Tls::TerminatedUpstream, 1..) => conflict(
            "listen.tls",
            "there are certificates in the section tls that would not be used".to_owned(),
            "set listen.tls = \"on\" or remove tls.certificate and tls.key",
        ),
        _ => None,
    }
}

fn control_is_guarded_off_loopback(config: &Config) -> Option<ConfigError> {
    let address = config.listen.control_address;
    if address.ip().is_loopback() || config.listen.control_token_file.is_some() {
        return None;
    }
    conflict(
        "listen.control_address",
        format!(
            "{address} is not a loopback address and the control endpoint has no authentication"
        ),
        "name a file with a token in listen.control_token_file, or use 127.0.0.1 and let an agent \
         on this host reach it",
    )
}

fn addresses_differ(config: &Config) -> Option<ConfigError> {
    let listen = &config.listen;
    let used = [
        ("listen.client_address", listen.client_address.port()),
        ("listen.control_address", listen.control_address.port()),
        ("listen.api_address", listen.api_address.port()),
    ];
    let (path, port, other) = [(1, 0), (2, 0), (2, 1)]
        .into_iter()
        .map(|(later, earlier)| (used[later].0, used[later].1, used[earlier]))
        .find(|(_, port, other)| *port != 0 && *port == other.1)
        .map(|(path, port, other)| (path, port, other.0))?;
    conflict(
        path,
        format!("port {port} is also the port of {other}"),
        "choose another port for one of them",
    )
}

fn path_is_absolute(config: &Config) -> Option<ConfigError> {
    let path = &config.listen.path;
    let fits = path.starts_with('/')
        && path.len() <= 256
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if fits {
        return None;
    }
    conflict(
        "listen.path",
        format!("\"{path}\" is not the path of a URL"),
        "begin it with / and leave query, fragment and spaces out, such as \"/v1/connect\"",
    )
}

fn origins_are_origins(config: &Config) -> Option<ConfigError> {
    let is_origin = |origin: &String| {
        origin == "*"
            || origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains('/')
            })
    };
    let wrong = config
        .listen
        .allowed_origins
        .iter()
        .find(|origin| !is_origin(origin))?;
    conflict(
        "listen.allowed_origins",
        format!("\"{wrong}\" is not an origin"),
        "write scheme and host without a path, such as \"https://school.example\", or \"*\"",
    )
}

fn proxies_are_networks(config: &Config) -> Option<ConfigError> {
    let networks = &config.listen.proxy_from;
    if networks.len() > limits::PROXIES_MAX {
        return conflict(
            "listen.proxy_from",
            format!(
                "{} networks are more than {}",
                networks.len(),
                limits::PROXIES_MAX
            ),
            "name the network that they share",
        );
    }
    let (text, problem) = networks
        .iter()
        .find_map(|text| Some((text, Network::parse(text).err()?)))?;
    conflict(
        "listen.proxy_from",
        format!("\"{text}\" is no network: {problem}"),
        "write an address such as \"192.0.2.7\" or a network such as \"10.0.0.0/8\"",
    )
}

fn key_sets_can_be_fetched(config: &Config) -> Option<ConfigError> {
    let auth = &config.auth;
    if auth.jwks.len() > ISSUERS_MAX {
        return conflict(
            "auth.jwks",
            format!("{} issuers are more than {ISSUERS_MAX}", auth.jwks.len()),
            "remove issuers that are not used",
        );
    }
    let mut problems = auth.jwks.iter().filter_map(|text| {
        let problem = KeySource::parse(text).err()?;
        Some(format!("\"{text}\" cannot be used: {problem}"))
    });
    if let Some(problem) = problems.next() {
        return conflict(
            "auth.jwks",
            problem,
            "write issuer and https URL, such as \"https://login.example \
             https://login.example/jwks.json\"",
        );
    }
    if auth.jwks_refresh < auth.jwks_cooldown || auth.jwks_keep < auth.jwks_refresh {
        return conflict(
            "auth.jwks_refresh",
            format!(
                "{} does not lie between auth.jwks_cooldown = {} and auth.jwks_keep = {}",
                duration_text(auth.jwks_refresh),
                duration_text(auth.jwks_cooldown),
                duration_text(auth.jwks_keep)
            ),
            "make the cool-down the shortest and the keep time the longest of the three",
        );
    }
    None
}

fn rings_fit(config: &Config) -> Option<ConfigError> {
    let rings = &config.rings;
    if rings.rings_at_start <= rings.rings_max {
        return None;
    }
    conflict(
        "rings.rings_at_start",
        format!(
            "{} rings at the start are more than rings.rings_max = {}",
            rings.rings_at_start, rings.rings_max
        ),
        "raise rings.rings_max or lower rings.rings_at_start",
    )
}

fn sessions_fit(config: &Config) -> Option<ConfigError> {
    let slots = u64::from(config.rings.rings_max) * u64::from(config.rings.slots_per_ring);
    let room = slots * config.shard_count() as u64;
    let sessions = u64::from(config.limits.max_sessions);
    if sessions <= room {
        return None;
    }
    conflict(
        "limits.max_sessions",
        format!("{sessions} sessions do not fit into the {room} slots of all rings"),
        "raise rings.rings_max or rings.slots_per_ring, or lower limits.max_sessions",
    )
}

fn journal_fits(config: &Config) -> Option<ConfigError> {
    let journal = &config.journal;
    let shards = config.shard_count() as u64;
    let least = ByteSize(journal.segment_bytes.0 * limits::SEGMENTS_PER_SHARD_MIN * shards);
    if journal.quota < least {
        return conflict(
            "journal.quota",
            format!(
                "{} hold fewer than {} segments for each of {shards} shards",
                journal.quota.text(),
                limits::SEGMENTS_PER_SHARD_MIN
            ),
            format!(
                "raise it to {} or lower journal.segment_bytes",
                least.text()
            ),
        );
    }
    if journal.retention_bytes > journal.quota {
        return conflict(
            "journal.retention_bytes",
            format!(
                "{} are more than journal.quota = {}",
                journal.retention_bytes.text(),
                journal.quota.text()
            ),
            "raise journal.quota or lower journal.retention_bytes",
        );
    }
    None
}

fn heartbeat_is_answerable(config: &Config) -> Option<ConfigError> {
    let heartbeat = &config.heartbeat;
    if heartbeat.timeout < heartbeat.interval {
        return None;
    }
    conflict(
        "heartbeat.timeout",
        format!(
            "{} is not shorter than heartbeat.interval = {}",
            duration_text(heartbeat.timeout),
            duration_text(heartbeat.interval)
        ),
        "lower the timeout or raise the interval",
    )
}

fn sync_order(config: &Config) -> Option<ConfigError> {
    let journal = &config.journal;
    if journal.sync_interval <= journal.background_sync_interval {
        return None;
    }
    conflict(
        "journal.sync_interval",
        "urgent records would wait longer than background records".to_owned(),
        "make it at most journal.background_sync_interval",
    )
}

/// History of a namespace beyond what the journal retains would be an empty promise.
fn histories_are_kept(config: &Config) -> Vec<ConfigError> {
    let retained = config.journal.retention_age;
    if config.has_archive() {
        // What is older is asked of the archive, whose retention is a matter of the workers.
        return Vec::new();
    }
    let too_old = |(name, settings): (&String, &super::NamespaceSettings)| {
        let age = settings.history_age.filter(|age| *age > retained)?;
        conflict(
            "journal.retention_age",
            format!(
                "namespaces.{name}.history_age = {} is longer than the {} that are retained",
                duration_text(age),
                duration_text(retained)
            ),
            "raise journal.retention_age or lower the history age",
        )
    };
    config.namespaces.iter().filter_map(too_old).collect()
}

fn namespaces_keep_promises(config: &Config) -> Option<ConfigError> {
    let error = config.namespace_policies().err()?;
    conflict(
        "namespaces",
        error.to_string(),
        "interlink-edge config reference explains what can be overridden",
    )
}

/// A cluster needs both brokers, and a node alone neither.
fn brokers_are_complete(config: &Config) -> Option<ConfigError> {
    let named = !config.redis.addresses.is_empty();
    match (config.redis.mode, named, config.kafka.brokers.is_empty()) {
        (RedisMode::Off, true, _) => conflict(
            "redis.mode",
            "there are addresses of Redis that would not be used".to_owned(),
            "set redis.mode to \"single\", \"sentinel\" or \"cluster\", or remove redis.addresses",
        ),
        (RedisMode::Off, false, false) => conflict(
            "kafka.brokers",
            "there are brokers of Kafka and no Redis".to_owned(),
            "a cluster needs both: set redis.mode and redis.addresses, or remove kafka.brokers",
        ),
        (RedisMode::Off, false, true) => None,
        (_, false, _) => conflict(
            "redis.addresses",
            "redis.mode names a cluster and there is no address".to_owned(),
            "name the servers in redis.addresses, for example [\"10.0.0.7:6379\"]",
        ),
        (_, true, true) => conflict(
            "kafka.brokers",
            "a cluster keeps its events in Kafka and there is no broker".to_owned(),
            "name some brokers in kafka.brokers, for example [\"10.0.0.4:9092\"]",
        ),
        (_, true, false) => None,
    }
}

/// A password that crosses a network in clear is none.
fn passwords_stay_secret(config: &Config) -> Option<ConfigError> {
    let kafka = &config.kafka;
    let proves = kafka.mechanism != KafkaMechanism::None;
    if proves && (kafka.username.is_none() || kafka.password_file.is_none()) {
        return conflict(
            "kafka.mechanism",
            "there is a mechanism and no kafka.username or kafka.password_file".to_owned(),
            "name both, or set kafka.mechanism = \"none\"",
        );
    }
    if kafka.mechanism == KafkaMechanism::Plain && !kafka.tls {
        return conflict(
            "kafka.tls",
            "the password would cross the network in clear".to_owned(),
            "set kafka.tls = true, or kafka.mechanism to \"scram-sha-512\"",
        );
    }
    None
}

/// An archive is part of a cluster, and is reached as the workers reach it.
fn archive_is_reachable(config: &Config) -> Option<ConfigError> {
    let archive = archive_of(config)?;
    if !config.is_clustered() {
        return conflict(
            "postgres.address",
            "there is an archive and no cluster; a node alone reads history from its journal"
                .to_owned(),
            "set redis.mode, redis.addresses and kafka.brokers, or remove postgres.address",
        );
    }
    let error = archive.check().err()?;
    let path = match error {
        postgres::ConfigError::Authorities => "postgres.tls",
        postgres::ConfigError::Schema(_) => "postgres.schema",
        postgres::ConfigError::Range(..) => "postgres.connections",
        _ => "postgres.address",
    };
    let text = error.to_string();
    let (problem, cure) = text.split_once("; ").unwrap_or((&text, "see the message"));
    conflict(path, problem.to_owned(), cure)
}
