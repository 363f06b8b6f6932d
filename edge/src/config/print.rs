//! Shows the effective configuration with the origin of each value and the memory plan.
//!
//! The printed text is a valid configuration file again.
//! Runs on: the main thread.

use std::fmt::Write;

use super::property::Section;
use super::setting::ByteSize;
use super::{Config, MemoryPlan, Origin};

/// The effective values as TOML, each with its origin as a comment.
pub fn effective(config: &Config) -> String {
    let mut text = String::new();
    for section in config.sections() {
        print_section(&mut text, config, section.name(), section.name(), section);
    }
    for (name, settings) in &config.namespaces {
        let header = format!("namespaces.{}", table_key(name));
        print_section(
            &mut text,
            config,
            &header,
            &format!("namespaces.{name}"),
            settings,
        );
    }
    text
}

/// The memory plan as comment lines, so that the whole print stays valid TOML.
pub fn plan(plan: &MemoryPlan) -> String {
    let mut text = format!(
        "# Memory plan: at most {} on {} shard{}, with up to {} sessions on one of them.\n",
        readable(plan.bytes()),
        plan.shards,
        if plan.shards == 1 { "" } else { "s" },
        plan.sessions_per_shard,
    );
    for line in &plan.lines {
        let bytes = readable(line.bytes);
        let _ = writeln!(text, "#   {:<22} {bytes:>12}  {}", line.name, line.reason);
    }
    let bytes = readable(plan.bytes_per_shard());
    let _ = writeln!(text, "#   {:<22} {bytes:>12}", "one shard");
    let process = readable(super::plan::PROCESS_BYTES);
    let _ = writeln!(
        text,
        "#   {:<22} {process:>12}  program and allocator",
        "process"
    );
    text
}

fn print_section(
    text: &mut String,
    config: &Config,
    header: &str,
    path: &str,
    section: &dyn Section,
) {
    let _ = writeln!(text, "[{header}]");
    for (key, value) in section.show() {
        if value.is_empty() {
            continue;
        }
        let origin = origin_text(config.origin(&format!("{path}.{key}")));
        let assignment = format!("{key} = {value}");
        let _ = writeln!(text, "{assignment:<44} # {origin}");
    }
    text.push('\n');
}

fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File { path, line } => format!("{path}:{line}"),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Argument(name) => format!("argument {name}"),
    }
}

/// A name as a TOML key: bare where that is allowed, else in quotes.
pub(super) fn table_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(is_bare) {
        return name.to_owned();
    }
    super::setting::quoted(name)
}

/// Bytes for people, with one digit after the point.
pub fn readable(bytes: u64) -> String {
    const MIB: f64 = 1_048_576.0;
    if bytes < 1 << 20 {
        return ByteSize(bytes).text();
    }
    let mib = bytes as f64 / MIB;
    if mib < 1_024.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.1} GiB", mib / 1_024.0)
    }
}
