//! What the kernel tells about the node's process.

use std::fs;

/// Resident bytes of a process, `VmRSS` of proc(5).
pub fn resident_bytes(process: u32) -> u64 {
    status_bytes(process, "VmRSS:")
}

/// Resident bytes of a process that belong to no file, `RssAnon` of proc(5).
pub fn anonymous_bytes(process: u32) -> u64 {
    status_bytes(process, "RssAnon:")
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .map(str::trim);
    let kib: u64 = kib
        .and_then(|kib| kib.parse().ok())
        .expect("a process has resident memory");
    kib * 1024
}
