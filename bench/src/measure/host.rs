//! What the numbers were measured on: commit, kernel, processor, file system; and the port range.
//!
//! Runs on: the main thread at start.

use crate::sys;
use std::path::Path;
use std::process::Command;

/// Ephemeral ports that the bench wants, so that listeners below 10000 are never taken.
const PORT_RANGE: &str = "10000\t65535";
const PORT_RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Facts about the machine and the build.
#[derive(Clone, Debug)]
pub struct Host {
    /// Commit of the working tree, `-dirty` when it differs; `unknown` outside of one.
    pub commit: String,
    /// Kernel release and machine.
    pub kernel: String,
    /// Processor model and count.
    pub processor: String,
}

impl Host {
    /// Reads the facts; what cannot be read is `unknown`.
    pub fn read() -> Self {
        Self {
            commit: commit(),
            kernel: kernel(),
            processor: processor(),
        }
    }
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

fn kernel() -> String {
    format!(
        "Linux {} {}",
        first_line("/proc/sys/kernel/osrelease"),
        std::env::consts::ARCH
    )
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = || text.lines().filter(|line| line.starts_with("model name"));
    let model = names()
        .next()
        .and_then(|line| line.split_once(':'))
        .map_or("unknown", |pair| pair.1);
    format!("{} x {}", names().count(), model.trim())
}

/// Name of the file system that holds `path`; acknowledged means synced only on a real disk.
pub fn file_system(path: &Path) -> String {
    match sys::file_system_type(path) {
        Ok(0xEF53) => "ext4".to_owned(),
        Ok(0x5846_5342) => "xfs".to_owned(),
        Ok(0x9123_683E) => "btrfs".to_owned(),
        Ok(0x0102_1994) => "tmpfs (memory: nothing is ever synced)".to_owned(),
        Ok(0x794C_7630) => "overlay".to_owned(),
        Ok(other) => format!("type {other:#x}"),
        Err(error) => format!("unknown: {error}"),
    }
}

/// Widens the ephemeral port range where permitted and says what was done.
pub fn prepare_ports() -> String {
    let now = first_line(PORT_RANGE_FILE);
    if now == PORT_RANGE {
        return "ephemeral ports are 10000-65535 already".to_owned();
    }
    match std::fs::write(PORT_RANGE_FILE, "10000 65535") {
        Ok(()) => format!(
            "ephemeral ports set to 10000-65535 (were {})",
            now.replace('\t', "-")
        ),
        Err(error) => format!(
            "ephemeral ports stay {} ({error}); as root: sysctl -w \
             net.ipv4.ip_local_port_range='10000 65535'",
            now.replace('\t', "-")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_named() {
        let host = Host::read();
        assert!(
            host.kernel.starts_with("Linux ") && host.kernel.len() > 10,
            "{}",
            host.kernel
        );
        assert!(!host.processor.is_empty() && !host.commit.is_empty());
    }
}
