//! The Interlink edge server: a node that accepts clients, journals and delivers.
//!
//! The binary `interlink-edge` is a thin shell around this library. Threads: the main
//! thread reads the configuration, starts the others and waits for signals; each shard
//! has a thread of its own; control (metrics and health) has one.

pub mod anomaly;
pub mod api;
pub mod auth;
pub mod backbone;
pub mod cli;
pub mod commands;
pub mod config;
pub mod conformance;
pub mod control;
pub mod data_dir;
pub mod exit;
pub mod files_thread;
pub mod gateway;
pub mod hand_over;
pub mod lanes;
pub mod memory;
pub mod network;
pub mod rates;
pub mod server;
pub mod shard;
pub mod telemetry;
pub mod tls;
pub mod watched;
pub mod wheel;
