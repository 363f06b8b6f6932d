//! The processes under test: the edge, and the bare baselines; and what the edge is given to work
//! with, certificates, key sets and paths that fail.
//!
//! Invariants: every server is pinned to its core before its first instruction, so that all its
//! threads inherit that; it is killed when its value is dropped, and by the kernel when the bench
//! dies.
//!
//! Runs on: the bench's main thread.

pub mod bare;
pub mod certificates;
pub mod edge;
pub mod edge_config;
pub mod fault_proxy;
pub mod http;
pub mod key_server;

pub use bare::BareServer;
pub use certificates::Certificates;
pub use edge::EdgeServer;
pub use edge_config::{ClusterPart, EdgeConfig, KeysOf, RedisAt, TlsFiles};
pub use fault_proxy::FaultProxy;
pub use key_server::KeyServer;

use std::process::Child;
use std::time::{Duration, Instant};

/// Interval at which a starting or stopping process is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for the end of a process; false when it still runs after `patience`.
fn wait_for_end(child: &mut Child, patience: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < patience {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => return true,
            Ok(None) => std::thread::sleep(LOOK_INTERVAL),
        }
    }
    false
}
