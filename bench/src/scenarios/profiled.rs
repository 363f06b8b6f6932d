//! Profiles in results: how much of a server's CPU is cryptography.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use crate::measure::Profile;

/// Longest run of which a profile is taken, in seconds: 5,000 samples.
pub const SECONDS: f64 = 5.0;

/// Adds a profile to the result, or why there is none.
pub fn report(bench: &mut Bench, prefix: &str, profile: &Result<Profile, String>) {
    let profile = match profile {
        Ok(profile) => profile,
        Err(reason) => {
            bench.progress.say(format!("no profile: {reason}"));
            let words = format!("not taken: {reason}");
            bench.report.text(&format!("{prefix}profile"), words);
            return;
        }
    };
    bench.progress.say(format!(
        "{prefix}profile: cryptography {:.0} %, the rest of TLS {:.0} %, kernel {:.0} %",
        profile.crypto * 100.0,
        profile.tls * 100.0,
        profile.kernel * 100.0
    ));
    let report = &mut bench.report;
    for (name, share) in [
        ("crypto", profile.crypto),
        ("tls", profile.tls),
        ("kernel", profile.kernel),
        ("other", profile.other),
    ] {
        report.number(&format!("{prefix}profile_{name}_share"), share);
    }
    report.count(&format!("{prefix}profile_samples"), profile.samples);
}
