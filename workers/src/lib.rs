//! The slower tiers of Interlink: what reads that which nodes feed to Kafka.
//!
//! - [`cli`], [`commands`], [`config`], [`exit`]: arguments, configuration, exit codes.
//! - [`topics`]: the topics of the log, as they should be and as they are.
//! - [`roles`]: what a process does with records; each role is a folder.
//! - [`ingress`]: what back ends want published, from a topic of Kafka; part of a role.
//! - [`outbox`]: the same, from a table in a back end's own database.
//! - [`stored`]: consumer groups whose offsets are in the database, beside their effect.
//! - [`edge_api`]: the server API of edges, as a caller.
//! - [`transit`]: one batch of the log on its way through a backplane.
//! - [`unleased`]: places what nodes have fed that have no lease; part of a role.
//!
//! Invariants: an unknown key of a configuration is refused; what decides has no clock, socket
//! or runtime and is tested without a server.
//! Runs on: a tokio runtime of several threads; consumers have a thread of their own.

#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod config;
pub mod edge_api;
pub mod exit;
pub mod ingress;
pub mod outbox;
pub mod roles;
pub mod stored;
#[cfg(test)]
mod testing;
pub mod topics;
pub mod transit;
pub mod unleased;
