//! What happens when a thread panics: the process ends at once.
//!
//! A panic means that an invariant does not hold. A node that went on could
//! acknowledge what it does not have; one that ends loses nothing that it
//! acknowledged, since the journal is on disk and clients resume.
//!
//! Runs on: the thread that panicked.

use std::panic::PanicHookInfo;

/// Installs the policy. To be called once, by `main`.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        report(info);
        std::process::abort();
    }));
}

fn report(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed").to_owned();
    // Standard error directly: the logging may be what panicked.
    eprintln!("panic on thread {name} at {place}: {message}");
    eprintln!("The process ends now; nothing acknowledged is lost. Please report this line.");
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        eprintln!("{backtrace}");
    }
}
