//! The server API: how back ends publish and act on their users, over HTTP/1.1 with JSON.
//!
//! Purpose: an application's servers publish without a WebSocket session, with the promises of
//! one: an answer at the level of the channel, order on each channel, and an idempotency key that
//! is accepted once. They close connections, subscribe and unsubscribe users, revoke tokens, and
//! read channels and their history. `gateway` carries all of it into the shards.
//!
//! - `routes`: the table of routes; router and OpenAPI document come from it.
//! - `bodies`, `describe`: what requests and answers hold, declared once.
//! - `publish`, `orders`, `reads`: the handlers. `caller`: service tokens. `failure`: refusals as
//!   answers. `audit`: acts on users in the log. `counts`: the metrics.
//! - `serve`, `timely`: connections, TLS and their bounds.
//!
//! Invariants: nobody is served without a token of the role `service`; every refusal has a code
//! of the catalogue; the node's certificates are those of its clients, also after a change.
//! Limits: `limits.rs`. Runs on: the control thread.

mod audit;
mod bodies;
mod caller;
mod counts;
mod describe;
mod failure;
mod limits;
mod orders;
mod publish;
mod reads;
mod routes;
mod serve;
#[cfg(test)]
mod tests;
mod timely;

use std::sync::Arc;

use crate::auth::Revoker;
use crate::gateway::Gateway;
pub use caller::Callers;
pub use counts::{ApiCounts, METRICS};
pub use serve::{Api, ApiPlan, Bounds};

/// What the handlers share.
#[derive(Debug)]
pub struct ApiState {
    callers: Callers,
    gateway: Gateway,
    revoker: Revoker,
    counts: Arc<ApiCounts>,
    bounds: Bounds,
    room: Arc<tokio::sync::Semaphore>,
}
