//! The server API: how back ends publish, over HTTP/1.1 with JSON.
//!
//! Purpose: an application's servers publish without a WebSocket session, with the promises of
//! one: an answer at the level of the channel, order on each channel, and an idempotency key that
//! is accepted once. `gateway` carries the publishes into the shards.
//!
//! - `routes`: the table of routes; router and OpenAPI document come from it.
//! - `bodies`, `describe`: what requests and answers hold, declared once.
//! - `publish`: the handlers. `caller`: service tokens. `failure`: refusals as answers.
//! - `serve`: connections, TLS and their bounds.
//!
//! Invariants: nobody is served without a token of the role `service`; every refusal has a code
//! of the catalogue; the node's certificates are those of its clients, also after a change.
//! Limits: `limits.rs`. Runs on: the control thread.

mod bodies;
mod caller;
mod describe;
mod failure;
mod limits;
mod publish;
mod routes;
mod serve;

use crate::gateway::Gateway;
pub use caller::Callers;
pub use serve::{Api, ApiPlan};

/// What the handlers share.
#[derive(Debug)]
pub struct ApiState {
    callers: Callers,
    gateway: Gateway,
    room: tokio::sync::Semaphore,
}
