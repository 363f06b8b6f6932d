//! What is measured beside the traffic: CPU, memory, latency, and the generator itself.
//!
//! Runs on: the generator's thread, outside of its hot path (two samples a run).

pub mod core;
pub mod generator;
pub mod host;
pub mod latency;
pub mod process;
pub mod profile;
mod symbols;

pub use core::CoreSample;
pub use generator::{GeneratorGauge, GeneratorShare};
pub use latency::Latency;
pub use process::ProcessSample;
pub use profile::{Profile, Profiler};
