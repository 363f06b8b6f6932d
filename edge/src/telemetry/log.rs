//! Log lines on standard error, as text or JSON.
//!
//! Levels mean something to an operator: `error` asks for action, `warn` is coped
//! with, `info` is a change of state, `debug` is about single connections. Nothing is
//! logged per message. Tokens, keys and session ids are never logged.
//!
//! Runs on: any thread.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging for the whole process; later calls change nothing.
pub fn init(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_thread_names(true);
    // An error means that logging was started before, which only tests do.
    let _ = match log.format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
