//! Where a process spends its CPU: cryptography, TLS, kernel, the rest.
//!
//! `perf record` samples the process by the CPU clock, from outside and in runs of their own, so
//! that no measured run pays for it; `perf report` names the functions; the binary's symbol table
//! says which of them are machine code of aws-lc ([`super::symbols`]).
//!
//! Invariant: a profile that cannot be taken says why and stops nothing.
//! Limits: [`SAMPLES_PER_SECOND`]; profiles with fewer than [`SAMPLES_MIN`] samples say nothing.
//!
//! Runs on: the bench's main thread; perf is a process of its own on the generator's core.

use super::symbols;
use crate::sys;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Odd, so that it beats with nothing periodic, and too few to be felt.
const SAMPLES_PER_SECOND: &str = "997";
/// A share of 10 % is then known to about 3 %.
const SAMPLES_MIN: u64 = 100;
/// Time for perf to attach, and to write its file at the end.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Separates the columns of the report; no name of a function holds it.
const SEPARATOR: char = '\u{1f}';

/// Shares of the CPU time of a process; together they are 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Profile {
    /// Samples that were taken.
    pub samples: u64,
    /// Cryptography: aws-lc and its Rust interface.
    pub crypto: f64,
    /// The rest of TLS: rustls.
    pub tls: f64,
    /// The kernel.
    pub kernel: f64,
    /// Everything else.
    pub other: f64,
}

/// A profile that is being taken.
pub struct Profiler {
    perf: Child,
    data: PathBuf,
    log: PathBuf,
    binary: PathBuf,
}

impl Profiler {
    /// Starts to sample process `pid`, and returns when samples are taken.
    ///
    /// # Errors
    /// Why there is no profile.
    pub fn start(pid: u32, folder: &Path) -> Result<Self, String> {
        let data = folder.join("perf.data");
        let log = folder.join("perf.log");
        // The file of an earlier profile would look like the beginning of this one.
        let _ = std::fs::remove_file(&data);
        let errors = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let binary = std::fs::read_link(format!("/proc/{pid}/exe"))
            .map_err(|error| format!("/proc/{pid}/exe: {error}"))?;
        let perf = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock"])
            .args(["--freq", SAMPLES_PER_SECOND, "--pid", &pid.to_string()])
            .arg("--output")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "perf is not installed; Debian has it in the package linux-perf".to_owned()
                }
                _ => format!("perf did not start: {error}"),
            })?;
        let mut profiler = Self {
            perf,
            data,
            log,
            binary,
        };
        // The file gets its header once perf has attached.
        let is_attached = |path: &Path| std::fs::metadata(path).is_ok_and(|data| data.len() > 0);
        let start = Instant::now();
        while !is_attached(&profiler.data) {
            let has_ended = !matches!(profiler.perf.try_wait(), Ok(None));
            if has_ended || start.elapsed() > PATIENCE {
                return Err(format!("perf record: {}", profiler.complaint()));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(profiler)
    }

    /// Ends the sampling and says where the time went.
    ///
    /// # Errors
    /// Why there is no profile.
    pub fn finish(mut self) -> Result<Profile, String> {
        // Asked to end, perf writes what it has.
        sys::signal(self.perf.id(), libc::SIGINT).map_err(|error| format!("perf: {error}"))?;
        let start = Instant::now();
        while matches!(self.perf.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                return Err("perf did not end".to_owned());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let output = Command::new("perf")
            .args(["report", "--stdio", "--quiet", "--no-children"])
            .args(["--sort", "dso,sym", "--fields", "sample,dso,sym"])
            .args(["--field-separator", &SEPARATOR.to_string()])
            .arg("--input")
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("perf report: {error}"))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("perf report: {}", one_line(&words)));
        }
        let crypto = symbols::of_aws_lc(&self.binary)?;
        let profile = shares(&String::from_utf8_lossy(&output.stdout), &crypto);
        if profile.samples < SAMPLES_MIN {
            return Err(format!(
                "{} samples are too few, the run was too short",
                profile.samples
            ));
        }
        Ok(profile)
    }

    /// What perf says about its failure.
    fn complaint(&self) -> String {
        let words = std::fs::read_to_string(&self.log).unwrap_or_default();
        match one_line(&words) {
            words if words.is_empty() => "it gave no reason".to_owned(),
            words => words,
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // Either it has ended, or nobody wants its samples.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A part of the CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Crypto,
    Tls,
    Kernel,
    Other,
}

/// Sums the lines of a report: samples, binary, function.
fn shares(report: &str, crypto: &HashSet<String>) -> Profile {
    let mut counts = [0_u64; 4];
    for line in report.lines() {
        let mut columns = line.split(SEPARATOR).map(str::trim);
        let samples = columns.next().and_then(|text| text.parse::<u64>().ok());
        let (Some(samples), Some(_), Some(function)) = (samples, columns.next(), columns.next())
        else {
            continue;
        };
        counts[part_of(function, crypto) as usize] += samples;
    }
    let samples: u64 = counts.iter().sum();
    let share = |part: Part| counts[part as usize] as f64 / samples.max(1) as f64;
    Profile {
        samples,
        crypto: share(Part::Crypto),
        tls: share(Part::Tls),
        kernel: share(Part::Kernel),
        other: share(Part::Other),
    }
}

/// The part of a function as perf prints it: `[k]` or `[.]` for kernel or not, and its name.
fn part_of(function: &str, crypto: &HashSet<String>) -> Part {
    let Some((level, name)) = function.split_once(' ') else {
        return Part::Other;
    };
    let name = name.trim();
    if level == "[k]" {
        Part::Kernel
    } else if crypto.contains(name) || name.contains("aws_lc") {
        Part::Crypto
    } else if name.contains("rustls") {
        Part::Tls
    } else {
        Part::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_part() {
        let crypto = HashSet::from(["aead_aes_gcm_seal_scatter".to_owned()]);
        let lines = [
            ("30", "[kernel.kallsyms]", "[k] tcp_sendmsg_locked"),
            ("20", "interlink-edge", "[.] aws_lc_0_47_0_gcm_ghash_clmul"),
            ("15", "interlink-edge", "[.] aead_aes_gcm_seal_scatter"),
            ("5", "interlink-edge", "[.] aws_lc_rs::aead::seal"),
            (
                "10",
                "interlink-edge",
                "[.] rustls::record_layer::RecordLayer::encrypt",
            ),
            (
                "20",
                "interlink-edge",
                "[.] interlink_edge::shard::turn::<impl>::turn",
            ),
        ];
        let report: String = lines
            .iter()
            .map(|(count, dso, name)| format!("{count:>8}{SEPARATOR}{dso:<20}{SEPARATOR}{name}\n"))
            .collect();
        let profile = shares(&format!("\n# a comment\n{report}\n"), &crypto);
        let wanted = Profile {
            samples: 100,
            crypto: 0.4,
            tls: 0.1,
            kernel: 0.3,
            other: 0.2,
        };
        assert_eq!(profile, wanted);
    }

    #[test]
    fn a_process_that_does_not_exist_gives_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let result = Profiler::start(u32::MAX, folder.path());
        assert!(result.is_err_and(|words| words.contains("/proc/")));
    }
}
