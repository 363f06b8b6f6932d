//! The declarations: every property of the configuration, once.
//!
//! A declaration's doc comment is its text in `interlink-edge config reference`.
//! Limits of the values, with their reasons, are in `limits.rs`.
//!
//! Runs on: the main thread; afterwards the values are read only, from any thread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use interlink_protocol::limits::WRITE_TIMEOUT_MS;

use super::limits;
use super::property::section;
use super::setting::{words, ByteSize};
use crate::tls::limits as tls_limits;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Loopback address with a port.
const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

words! {
    /// Who encrypts the traffic of clients.
    pub enum Tls {
        /// Nobody: only loopback addresses are allowed.
        Off = "off",
        /// This node, with the certificates of the section tls.
        On = "on",
        /// A proxy in front of this node.
        TerminatedUpstream = "terminated-upstream",
    }
}

words! {
    /// Least urgent level that is logged.
    pub enum LogLevel {
        /// Something is broken and an operator has to act.
        Error = "error",
        /// Something is wrong and the node copes with it.
        Warn = "warn",
        /// Starts, stops and changes of state.
        Info = "info",
        /// Decisions about single connections.
        Debug = "debug",
    }
}

words! {
    /// How log lines are written.
    pub enum LogFormat {
        /// One line of text each, with colours on a terminal.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

section! {
    /// Which node this is, where it keeps its data and how many cores it uses.
    pub struct Node = "node" {
        /// Name of the node. Clients see it in `Welcome`.
        name: String = "interlink".to_owned(),
        unit "", example "\"eu-edge-1\"";

        /// Region of the node, as clients see it in `Welcome`.
        region: String = "local".to_owned(),
        unit "", example "\"eu\"";

        /// Directory of journal, keys and lock. It is created with mode 0700 when it does
        /// not exist. A relative path starts at the working directory.
        data_directory: PathBuf = PathBuf::from("interlink-data"),
        unit "", example "\"/var/lib/interlink\"";

        /// Number of shard threads, each pinned to its own core. 0 means one for each core
        /// that the process may use.
        shards: u32 = 0,
        unit "threads", bounds 0..=limits::SHARDS_MAX, example "2";
    }
}

section! {
    /// Addresses on which the node listens and who may connect.
    pub struct Listen = "listen" {
        /// Address for clients. Port 0 takes a free port, which the ready line names.
        client_address: SocketAddr = loopback(8080),
        unit "", example "\"0.0.0.0:8080\"";

        /// Address for /metrics, /livez and /readyz. Without listen.control_token_file it has no
        /// authentication, so only a loopback address is accepted. Port 0 takes a free port.
        control_address: SocketAddr = loopback(8081),
        unit "", example "\"127.0.0.1:9081\"";

        /// File with the token that every request of the control address has to name, as
        /// "Authorization: Bearer TOKEN": 32 characters or more. It is read again when it changes.
        /// The token is sent in clear, so the address belongs into a network that is trusted.
        control_token_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/control.token\"";

        /// Address of the server API, for back ends with a token of the role service. It is
        /// encrypted as listen.tls says. Port 0 takes a free port.
        api_address: SocketAddr = loopback(8082),
        unit "", example "\"10.0.0.5:8082\"";

        /// Who encrypts the traffic of clients and of the server API. With "off" both addresses
        /// have to be loopback addresses; with "on" the node does it with tls.certificate and
        /// tls.key; with "terminated-upstream" a proxy in front of the node does it.
        tls: Tls = Tls::Off,
        unit "", example "\"terminated-upstream\"";

        /// Path of the WebSocket endpoint.
        path: String = "/v1/connect".to_owned(),
        unit "", example "\"/v1/connect\"";

        /// Origins from which browsers may connect, written as browsers send them. "*" is
        /// every origin. Clients that send no Origin header are not browsers and pass.
        allowed_origins: Vec<String> = vec!["*".to_owned()],
        unit "", example "[\"https://school.example\"]";

        /// Addresses and networks of proxies that name their clients by a header of the PROXY
        /// protocol, version 2, before anything else. From these the header is required, from all
        /// others it is refused. The named address then counts in the place of the proxy's.
        proxy_from: Vec<String> = Vec::new(),
        unit "", example "[\"10.0.0.0/8\", \"192.0.2.7\"]";

        /// Connections that the kernel holds until a shard accepts them.
        backlog: u32 = 4_096,
        unit "connections", bounds 1..=65_535, example "4096";
    }
}

section! {
    /// Certificates and session tickets of this node, used with listen.tls = "on". The files
    /// are read again within a second after they change, and on SIGHUP; open connections stay.
    pub struct TlsFiles = "tls" {
        /// PEM files with a certificate chain each, the node's own certificate first. A client
        /// gets the first whose names hold the name that it asks for, else the first of all.
        certificate: Vec<PathBuf> = Vec::new(),
        unit "", example "[\"/etc/interlink/edge.pem\"]";

        /// PEM files with the private key of each certificate, in the same order.
        key: Vec<PathBuf> = Vec::new(),
        unit "", example "[\"/etc/interlink/edge.key\"]";

        /// File with a secret of 32 bytes or more from which the keys of session tickets are
        /// derived. Nodes with the same secret resume each other's sessions. Without it each
        /// start makes its own, and clients of other nodes do full handshakes.
        ticket_secret_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/tickets.secret\"";

        /// Life of a ticket key. A ticket can be used for at least as long and at most twice
        /// as long. It has to be the same on all nodes, whose clocks have to agree.
        ticket_rotation: Duration = 6 * HOUR,
        unit "time", bounds tls_limits::TICKET_ROTATION_MIN..=tls_limits::TICKET_ROTATION_MAX,
        example "\"6h\"";
    }
}

section! {
    /// What the node and each client may use at most.
    pub struct Limits = "limits" {
        /// Most sessions on this node. Address space for them is reserved at the start;
        /// memory is used only as sessions come.
        max_sessions: u32 = 100_000,
        unit "sessions", bounds 1..=limits::SESSIONS_MAX, example "250000";

        /// Largest message that a client may send.
        frame_bytes: ByteSize = ByteSize::kib(64),
        unit "bytes",
        bounds ByteSize(limits::FRAME_BYTES_MIN)..=ByteSize(limits::FRAME_BYTES_MAX),
        example "\"32KiB\"";

        /// Most subscriptions of one session.
        subscriptions_per_session: u32 = limits::SUBSCRIPTIONS_MAX,
        unit "subscriptions", bounds 1..=limits::SUBSCRIPTIONS_MAX, example "64";

        /// Unacknowledged publishes of P1, P2 and P3 together that one connection may have.
        publish_credit: u32 = 64,
        unit "publishes", bounds 1..=limits::PUBLISH_CREDIT_MAX, example "128";

        /// The same for P0, which has its own credit.
        publish_credit_critical: u32 = 8,
        unit "publishes", bounds 1..=limits::PUBLISH_CREDIT_MAX, example "8";

        /// Longest HTTP upgrade request.
        handshake_bytes: ByteSize = ByteSize::kib(8),
        unit "bytes", bounds ByteSize::kib(1)..=ByteSize::kib(64), example "\"8KiB\"";

        /// Most header lines of the HTTP upgrade request.
        handshake_headers: u32 = 64,
        unit "headers", bounds 8..=256, example "64";

        /// Time from the accepted connection to the complete upgrade request.
        handshake_timeout: Duration = 5 * SECOND,
        unit "time", bounds 100 * MILLISECOND..=MINUTE, example "\"5s\"";

        /// Time from the upgrade to the complete `Hello`.
        hello_timeout: Duration = 5 * SECOND,
        unit "time", bounds 100 * MILLISECOND..=MINUTE, example "\"5s\"";

        /// Connections that have not finished `Hello`. At the limit nothing is accepted
        /// until one ends; new clients wait in the backlog.
        unfinished_handshakes: u32 = 4_096,
        unit "connections", bounds limits::UNFINISHED_HANDSHAKES_MIN..=65_536, example "4096";

        /// Connections that one address may open in a burst before it is authenticated. A
        /// whole school can sit behind one address. What comes beyond is closed at once.
        address_burst: u32 = 5_000,
        unit "connections", bounds 1..=1_000_000, example "5000";

        /// Connections a second that one address may open after its burst; those that are
        /// authenticated do not count. IPv6 addresses count by their first 64 bits. 0 is no
        /// limit.
        address_rate: u32 = 500,
        unit "connections/s", bounds 0..=1_000_000, example "500";

        /// Messages a second that one connection may send. What comes beyond is answered
        /// `rate_limited`, and a client that goes on is not read for up to a second. Back ends
        /// (role `service`) are free of it. 0 is no limit.
        connection_rate: u32 = 1_000,
        unit "messages/s", bounds 0..=1_000_000, example "200";

        /// Messages that one connection may send in a burst.
        connection_burst: u32 = 4_000,
        unit "messages", bounds limits::BURST_MIN..=1_000_000, example "1000";

        /// Messages a second of all connections of one user. Back ends (role `service`) are free
        /// of it. 0 is no limit.
        user_rate: u32 = 4_000,
        unit "messages/s", bounds 0..=1_000_000, example "500";

        /// Messages of all connections of one user in a burst.
        user_burst: u32 = 16_000,
        unit "messages", bounds limits::BURST_MIN..=1_000_000, example "2000";

        /// Messages a second of all users of one institution on this node. 0 is no limit.
        institution_rate: u32 = 200_000,
        unit "messages/s", bounds 0..=10_000_000, example "50000";

        /// Messages of all users of one institution in a burst.
        institution_burst: u32 = 400_000,
        unit "messages", bounds limits::BURST_MIN..=10_000_000, example "100000";

        /// A client that takes no byte for this long is closed as `slow_client` and may resume;
        /// it has one second more to take its close frame.
        write_timeout: Duration = Duration::from_millis(WRITE_TIMEOUT_MS as u64),
        unit "time", bounds SECOND..=10 * MINUTE, example "\"30s\"";

        /// Time within which a begun message has to be complete.
        message_timeout: Duration = 10 * SECOND,
        unit "time", bounds SECOND..=5 * MINUTE, example "\"10s\"";

        /// Memory of one shard for messages that have not arrived completely.
        partial_bytes_per_shard: ByteSize = ByteSize::mib(64),
        unit "bytes", bounds ByteSize::mib(1)..=ByteSize::gib(4), example "\"64MiB\"";

        /// Memory of one shard for the frames of channels with subscribers.
        channel_log_bytes_per_shard: ByteSize = ByteSize::mib(256),
        unit "bytes", bounds ByteSize::mib(8)..=ByteSize::gib(64), example "\"256MiB\"";

        /// Memory of one shard for the last value of each conflation key. When it is used up the
        /// values go first that were published longest ago.
        last_values_bytes_per_shard: ByteSize = ByteSize::mib(16),
        unit "bytes", bounds ByteSize::mib(1)..=ByteSize::gib(4), example "\"16MiB\"";

        /// Time after the loss of a connection in which its session can be resumed.
        resume_window: Duration = 2 * MINUTE,
        unit "time", bounds SECOND..=HOUR, example "\"2m\"";
    }
}

section! {
    /// The io_uring instances of each shard.
    pub struct Rings = "rings" {
        /// Rings that each shard opens at the start; more are opened as connections come.
        rings_at_start: u32 = 1,
        unit "rings", bounds 1..=limits::RINGS_MAX, example "6";

        /// Most rings of one shard.
        rings_max: u32 = limits::RINGS_MAX,
        unit "rings", bounds 1..=limits::RINGS_MAX, example "16";

        /// Connections of one ring. The process's limit of open files bounds it further.
        slots_per_ring: u32 = limits::SLOTS_PER_RING_MAX,
        unit "connections", bounds 64..=limits::SLOTS_PER_RING_MAX, example "20000";

        /// Receive buffers of 2 KiB of one ring. At least 80 are needed so that a full
        /// turn of receives never waits for a buffer.
        buffers: u32 = 128,
        unit "buffers", bounds 80..=4_096, example "128";

        /// Receive buffers of a shard's first ring, which carries the most traffic.
        first_ring_buffers: u32 = 256,
        unit "buffers", bounds 80..=4_096, example "512";
    }
}

section! {
    /// The journal: every durable event is on disk before it is acknowledged.
    pub struct Journal = "journal" {
        /// Disk space of the journal. P3 is refused at 70 percent of it, P2 at 80, P1 at 90.
        quota: ByteSize = ByteSize::gib(16),
        unit "bytes", bounds ByteSize::mib(64)..=ByteSize::gib(16_384), example "\"64GiB\"";

        /// Events are retained up to this size.
        retention_bytes: ByteSize = ByteSize::gib(8),
        unit "bytes", bounds ByteSize::mib(32)..=ByteSize::gib(16_384), example "\"32GiB\"";

        /// Events are retained up to this age.
        retention_age: Duration = 24 * HOUR,
        unit "time", bounds MINUTE..=365 * DAY, example "\"7d\"";

        /// Size of one file of the journal.
        segment_bytes: ByteSize = ByteSize::mib(64),
        unit "bytes",
        bounds ByteSize(limits::SEGMENT_BYTES_MIN)..=ByteSize(limits::SEGMENT_BYTES_MAX),
        example "\"64MiB\"";

        /// Longest wait of an urgent record (P0 to P2) before a sync starts.
        sync_interval: Duration = 2 * MILLISECOND,
        unit "time", bounds Duration::from_micros(100)..=100 * MILLISECOND, example "\"2ms\"";

        /// Longest wait of a background record (P3) before a sync starts.
        background_sync_interval: Duration = 100 * MILLISECOND,
        unit "time", bounds MILLISECOND..=5 * SECOND, example "\"100ms\"";
    }
}

section! {
    /// Who may connect: the keys and names with which tokens are checked.
    pub struct Auth = "auth" {
        /// Files with keys of the issuer: PEM (Ed25519 for EdDSA, P-256 for ES256, RSA of 2,048
        /// to 4,096 bits for RS256), JWK or JWK set, or one line of base64 that decodes to 32
        /// bytes or more (HS256). All are accepted, each for its own algorithm only; the first
        /// that holds a private key signs tokens of the `token` command. The files are read
        /// again within a second after they change, and on SIGHUP. Without a file and without
        /// auth.jwks the node makes a development key in its data directory.
        key_files: Vec<PathBuf> = Vec::new(),
        unit "", example "[\"/etc/interlink/token.pem\"]";

        /// Issuers whose keys are fetched, each "ISSUER URL": the value of `iss` in its tokens
        /// and the URL of its JWK set. Only https is allowed, and http to a loopback address.
        /// Exactly this URL is asked: redirects are not followed, and nothing in a token can
        /// name another. Shared secrets in such a set are ignored.
        jwks: Vec<String> = Vec::new(),
        unit "", example "[\"https://login.example https://login.example/jwks.json\"]";

        /// Time between two fetches of a key set.
        jwks_refresh: Duration = 5 * MINUTE,
        unit "time", bounds SECOND..=DAY, example "\"5m\"";

        /// Shortest time between two fetches of a key set, also when tokens name keys that it
        /// does not have or the source fails.
        jwks_cooldown: Duration = 30 * SECOND,
        unit "time", bounds SECOND..=HOUR, example "\"30s\"";

        /// Time for which fetched keys are used while their source cannot be reached.
        jwks_keep: Duration = DAY,
        unit "time", bounds SECOND..=30 * DAY, example "\"24h\"";

        /// File with revoked tokens and users, one a line: `token ID` ends the token with that
        /// `jti`, `user NAME SECONDS` all tokens of a user that were issued before that second
        /// since 1970. A line may end with an institution, whose tokens alone are meant then.
        /// Open connections end within a second after the file has changed. At most 100,000
        /// lines, together with what the server API has revoked.
        revocation_file: Option<PathBuf> = None,
        unit "", example "\"/etc/interlink/revoked\"";

        /// Value that the `iss` claim of a user token of the key files must have.
        issuer: String = "interlink".to_owned(),
        unit "", example "\"https://login.school.example\"";

        /// Value that the `aud` claim of a user token must have or contain.
        audience: String = "interlink".to_owned(),
        unit "", example "\"interlink\"";
    }
}

section! {
    /// What is noticed as an anomaly. Findings are counted, and told as events on `sys.security`.
    pub struct AnomalySettings = "anomalies" {
        /// Refused tokens of one address, or of one institution, that a minute may have. Expired
        /// tokens do not count. 0 finds none.
        failed_authentications: u32 = 50,
        unit "tokens", bounds 0..=1_000_000, example "20";

        /// Channels that may be refused to one user in a minute. 0 finds none.
        refused_channels: u32 = 60,
        unit "channels", bounds 0..=1_000_000, example "30";

        /// A client that publishes so many times its usual number in ten seconds has a spike.
        /// Back ends (role `service`) have none. 0 finds none.
        spike_factor: u32 = 10,
        unit "times", bounds 0..=1_000, example "5";

        /// Publishes in ten seconds that are never a spike.
        spike_publishes: u32 = 1_000,
        unit "publishes", bounds 1..=10_000_000, example "300";
    }
}

section! {
    /// How lost clients are noticed.
    pub struct Heartbeat = "heartbeat" {
        /// Time between two heartbeats to a client.
        interval: Duration = 30 * SECOND,
        unit "time", bounds SECOND..=40 * SECOND, example "\"30s\"";

        /// Time within which a client has to answer one.
        timeout: Duration = 5 * SECOND,
        unit "time", bounds 100 * MILLISECOND..=30 * SECOND, example "\"5s\"";
    }
}

section! {
    /// Who is present in a channel, where the namespace has presence and somebody asks.
    pub struct PresenceSettings = "presence" {
        /// How long a user who has lost the last device of a channel still counts as present.
        grace: Duration = 15 * SECOND,
        unit "time", bounds 100 * MILLISECOND..=5 * MINUTE, example "\"30s\"";

        /// For how long changes of a channel are gathered before they are told.
        change_interval: Duration = 500 * MILLISECOND,
        unit "time", bounds 10 * MILLISECOND..=MINUTE, example "\"1s\"";

        /// Memory of a shard for presence: half for channels that it owns, half for its own
        /// users. A user takes up to 300 bytes in the former, 360 in a cluster, and 100 in the
        /// latter, for each channel that somebody asks for; one without room is answered
        /// `overloaded`.
        bytes_per_shard: ByteSize = ByteSize::mib(64),
        unit "bytes", bounds ByteSize::mib(1)..=ByteSize::mib(4_096), example "\"256MiB\"";
    }
}

section! {
    /// How the node empties itself before it ends: on SIGTERM, on `POST /v1/drain`, and when
    /// another process takes over.
    pub struct Drain = "drain" {
        /// Clients that are sent away in a second, spread evenly. Whoever takes them has to
        /// bear so many handshakes; 100,000 clients go in about 21 s by default.
        reconnects_per_second: u32 = 5_000,
        unit "clients", bounds 1..=limits::RECONNECTS_MAX, example "2000";

        /// Longest wait until what was published is stored. New publishes are refused for
        /// now meanwhile.
        settlement: Duration = 10 * SECOND,
        unit "time", bounds 100 * MILLISECOND..=5 * MINUTE, example "\"10s\"";
    }
}

section! {
    /// What the node logs, on standard error.
    pub struct Log = "log" {
        /// Least urgent level that is logged.
        level: LogLevel = LogLevel::Info,
        unit "", example "\"debug\"";

        /// How log lines are written.
        format: LogFormat = LogFormat::Text,
        unit "", example "\"json\"";
    }
}
