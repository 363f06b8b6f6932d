//! What the configuration means for one shard.
//!
//! Thread: read by the shard, made by the main thread.

use std::time::Duration;

use interlink_protocol::websocket::{handshake::HandshakeLimits, Limits};

use crate::config::Config;
use crate::network::Network;

/// Bounds and times of a shard, in the units of its clock.
#[derive(Debug, Clone)]
pub struct ShardLimits {
    /// Name of the node.
    pub node: String,
    /// Region of the node.
    pub region: String,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// Origins that may connect; "*" is every one.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies that name their clients.
    pub proxies: Vec<Network>,
    /// Most connections of this shard.
    pub max_sessions: usize,
    /// Most unfinished handshakes of the process.
    pub unfinished_handshakes: usize,
    /// Bounds of the HTTP request.
    pub handshake: HandshakeLimits,
    /// Time for the HTTP request.
    pub handshake_timeout_ms: u32,
    /// Time for the `Hello`.
    pub hello_timeout_ms: u32,
    /// Bounds of frames and messages.
    pub websocket: Limits,
    /// Time for a whole message.
    pub message_timeout_ms: u32,
    /// Time for a full socket to take bytes.
    pub write_timeout_ms: u32,
    /// Time in which a session can be resumed.
    pub resume_window_ms: u32,
    /// Most subscriptions of a session.
    pub subscriptions_per_session: u32,
    /// Interval of heartbeats.
    pub heartbeat_ms: u32,
    /// Time for their answers.
    pub heartbeat_timeout_ms: u32,
    /// Time after the last `Reconnect` for what is left.
    pub stop_ms: u32,
}

/// Time that a shard gives the last of its clients to read their close frames.
const STOP_MS: u32 = 3_000;

impl ShardLimits {
    /// The limits of each shard of a node with this configuration.
    pub fn of(config: &Config) -> Self {
        let frame_bytes = config.limits.frame_bytes.0.min(u64::from(u32::MAX)) as u32;
        Self {
            node: config.node.name.clone(),
            region: config.node.region.clone(),
            path: config.listen.path.clone(),
            allowed_origins: config.listen.allowed_origins.clone(),
            proxies: config.proxies(),
            // A shard may get more than its share of users, so each takes the whole number;
            // tables are touched only as far as they are used.
            max_sessions: config.limits.max_sessions as usize,
            unfinished_handshakes: config.limits.unfinished_handshakes as usize,
            handshake: HandshakeLimits {
                header_bytes: config.limits.handshake_bytes.0 as usize,
                headers: config.limits.handshake_headers as usize,
            },
            handshake_timeout_ms: ms(config.limits.handshake_timeout),
            hello_timeout_ms: ms(config.limits.hello_timeout),
            websocket: Limits {
                frame_bytes,
                message_bytes: frame_bytes,
                ..Limits::SESSION
            },
            message_timeout_ms: ms(config.limits.message_timeout),
            write_timeout_ms: ms(config.limits.write_timeout),
            resume_window_ms: ms(config.limits.resume_window),
            subscriptions_per_session: config.limits.subscriptions_per_session,
            heartbeat_ms: ms(config.heartbeat.interval),
            heartbeat_timeout_ms: ms(config.heartbeat.timeout),
            stop_ms: STOP_MS,
        }
    }

    /// Whether a browser of this origin may connect; other clients send none.
    pub fn origin_allowed(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        self.allowed_origins
            .iter()
            .any(|allowed| allowed == "*" || allowed == origin)
    }
}

fn ms(duration: Duration) -> u32 {
    duration.as_millis().min(u128::from(u32::MAX)) as u32
}
