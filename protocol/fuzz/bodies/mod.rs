//! Bodies of the fuzz targets: plain functions that panic when a property does not hold.
//!
//! The fuzz binaries and the corpus replay both include these files by path, so that a stable
//! compiler runs exactly what the fuzzer runs.

mod echo;
mod envelope;
mod frame;
mod handshake;
mod session;

/// A target: any bytes in, a panic when a property does not hold.
pub type Body = fn(&[u8]);

/// Each target by the name of its corpus folder.
pub const TARGETS: &[(&str, Body)] = &[
    ("echo", echo::run),
    ("envelope", envelope::run),
    ("frame", frame::run),
    ("handshake", handshake::run),
    ("session", session::run),
];
