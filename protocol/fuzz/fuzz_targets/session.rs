//! Fuzz target `session`; the body and its properties are in `bodies/session.rs`.
#![no_main]

#[path = "../bodies/session.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
