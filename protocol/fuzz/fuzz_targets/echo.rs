//! Fuzz target `echo`; the body and its properties are in `bodies/echo.rs`.
#![no_main]

#[path = "../bodies/echo.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
