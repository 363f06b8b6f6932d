//! Processor time and memory of the own process, from `/proc` (proc(5)).
//!
//! Runs on: the control thread.

use super::counters::Kind::{Counter, Gauge};
use super::exposition::Exposition;
use super::metric::Metric;
use super::names;

/// Ticks of the times in `/proc/self/stat` a second; Linux shows 100 on every platform
/// that this program runs on (time(7), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics of the process, in the order of their values.
pub const METRICS: [Metric; 10] = [
    Metric::number(
        names::PROCESS_CPU_SECONDS,
        "Time of the process on processors.",
        Counter,
        "its rate near the number of cores",
    ),
    Metric::number(
        names::PROCESS_CPU_USER_SECONDS,
        "The part of it in the program.",
        Counter,
        "",
    ),
    Metric::number(
        names::PROCESS_CPU_SYSTEM_SECONDS,
        "The part of it in the kernel.",
        Counter,
        "",
    ),
    Metric::number(
        names::PROCESS_RESIDENT_BYTES,
        "Memory of the process that is in use.",
        Gauge,
        "above the memory plan",
    ),
    Metric::number(
        names::PROCESS_ANONYMOUS_BYTES,
        "The part of it that belongs to no file.",
        Gauge,
        "above the memory plan",
    ),
    Metric::number(
        names::PROCESS_VIRTUAL_BYTES,
        "Address space of the process; tables are reserved at the start.",
        Gauge,
        "",
    ),
    Metric::number(
        names::PROCESS_THREADS,
        "Threads of the process.",
        Gauge,
        "it grows",
    ),
    Metric::number(
        names::PROCESS_OPEN_FDS,
        "Open descriptors of the process; sockets of sessions have none.",
        Gauge,
        "near the maximum",
    ),
    Metric::number(
        names::PROCESS_MAX_FDS,
        "Most open descriptors of the process.",
        Gauge,
        "",
    ),
    Metric::number(
        names::PROCESS_START_SECONDS,
        "When the process was started, in seconds since 1970.",
        Gauge,
        "it changes unplanned",
    ),
];

/// What the kernel says about the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStatus {
    /// Seconds in the program.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
    /// Bytes in memory.
    pub resident: u64,
    /// Bytes in memory that belong to no file.
    pub anonymous: u64,
    /// Bytes of address space.
    pub virtual_size: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// Most open descriptors.
    pub max_fds: u64,
    /// When the process was started, in seconds since 1970.
    pub start_s: f64,
}

impl ProcessStatus {
    /// Reads the present values; what the kernel does not show is zero.
    pub fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut status = Self::default();
        status.take_stat(&read("/proc/self/stat"), &read("/proc/stat"));
        status.take_status(&read("/proc/self/status"));
        status.take_limits(&read("/proc/self/limits"));
        let directory = std::fs::read_dir("/proc/self/fd");
        // The listing itself has one descriptor open.
        status.open_fds = directory.map_or(0, |entries| entries.count() as u64 - 1);
        status
    }

    fn take_stat(&mut self, stat: &str, system: &str) {
        // The name in parentheses may hold spaces, so the fields are counted after it.
        let Some((_, fields)) = stat.rsplit_once(") ") else {
            return;
        };
        let ticks = |field: usize| -> f64 {
            let text = fields.split(' ').nth(field - 3);
            text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
        };
        self.user_s = ticks(14) / TICKS_PER_SECOND;
        self.system_s = ticks(15) / TICKS_PER_SECOND;
        let boot_s: f64 = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0.0);
        self.start_s = boot_s + ticks(22) / TICKS_PER_SECOND;
    }

    fn take_status(&mut self, status: &str) {
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let text = line.and_then(|line| line.split_whitespace().next());
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        self.resident = number("VmRSS:") * 1_024;
        self.anonymous = number("RssAnon:") * 1_024;
        self.virtual_size = number("VmSize:") * 1_024;
        self.threads = number("Threads:");
    }

    fn take_limits(&mut self, limits: &str) {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let text = line.and_then(|line| line.split_whitespace().next());
        self.max_fds = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    }

    /// Adds the values to an exposition.
    pub fn expose(&self, exposition: &mut Exposition) {
        let values = [
            self.user_s + self.system_s,
            self.user_s,
            self.system_s,
            self.resident as f64,
            self.anonymous as f64,
            self.virtual_size as f64,
            self.threads as f64,
            self.open_fds as f64,
            self.max_fds as f64,
            self.start_s,
        ];
        for (metric, value) in METRICS.iter().zip(values) {
            exposition.number(metric, value);
        }
    }
}
