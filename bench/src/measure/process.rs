//! CPU time, anonymous memory and threads of one process, from its clock and `/proc`.
//!
//! Total CPU comes from the process clock (nanoseconds); the split into user and system from
//! `/proc/PID/stat` (ticks of 10 ms), which is meaningful for runs of several seconds only.
//!
//! Runs on: the generator's thread.

use crate::sys;
use anyhow::{Context, Result};

/// Kernel ticks a second of `/proc/PID/stat`; fixed on Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessSample {
    /// Nanoseconds of all threads, user and system.
    pub cpu_ns: u64,
    /// Seconds in user mode.
    pub user_s: f64,
    /// Seconds in kernel mode.
    pub system_s: f64,
}

impl ProcessSample {
    /// Reads the clocks of process `pid`.
    pub fn take(pid: u32) -> Result<Self> {
        let cpu_ns = sys::process_cpu_ns(pid)
            .with_context(|| format!("reading the CPU clock of process {pid}: has it ended?"))?;
        let text = read(pid, "stat")?;
        let (user, system) = parse_stat(&text)
            .with_context(|| format!("/proc/{pid}/stat has an unknown form: {text}"))?;
        Ok(Self {
            cpu_ns,
            user_s: user as f64 / TICKS_PER_SECOND,
            system_s: system as f64 / TICKS_PER_SECOND,
        })
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
        }
    }

    /// CPU seconds.
    pub fn cpu_s(&self) -> f64 {
        self.cpu_ns as f64 / 1e9
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("reading /proc/{pid}/{file}: has the process ended?"))
}

/// User and system ticks, fields 14 and 15; the command name before them may hold anything, so
/// that counting starts behind its last parenthesis.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Anonymous resident memory of a process in bytes.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let text = read(pid, "status")?;
    parse_status_kib(&text, "RssAnon:")
        .map(|kib| kib * 1024)
        .with_context(|| format!("/proc/{pid}/status has no RssAnon line"))
}

fn parse_status_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Threads of a process and how many of them last ran on another core than `core`.
pub fn threads_off_core(pid: u32, core: usize) -> Result<(usize, usize)> {
    let mut threads = 0;
    let mut off = 0;
    let folder = format!("/proc/{pid}/task");
    for entry in std::fs::read_dir(&folder).with_context(|| format!("listing {folder}"))? {
        // A thread may end between listing and reading; then it no longer matters.
        let Ok(text) = std::fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        threads += 1;
        // Field 39 (processor), that is the 37th behind the command name.
        let place = text
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(36));
        if place.and_then(|field| field.parse().ok()) != Some(core) {
            off += 1;
        }
    }
    Ok((threads, off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_spaces_and_parentheses_is_skipped() {
        let text = "12 (a b) c) S 1 12 12 0 -1 4194560 100 0 0 0 77 33 0 0 20 0 5 0 9";
        assert_eq!(parse_stat(text), Some((77, 33)));
    }

    #[test]
    fn anonymous_memory_is_read_in_kibibytes() {
        let text = "Name:\tx\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n";
        assert_eq!(parse_status_kib(text, "RssAnon:"), Some(2048));
    }

    #[test]
    fn own_process_can_be_sampled() {
        let pid = std::process::id();
        let first = ProcessSample::take(pid).unwrap();
        let buffer = vec![1_u8; 8 << 20];
        assert!(anonymous_bytes(pid).unwrap() > buffer.len() as u64);
        let used = ProcessSample::take(pid).unwrap().since(&first);
        assert!(used.cpu_ns > 0 && used.cpu_s() < 10.0);
        assert!(threads_off_core(pid, 0).unwrap().0 >= 1);
    }
}
