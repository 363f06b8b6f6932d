//! What ties the project to one machine or one network: paths of a disk, hosts, registries.

use super::{Found, Violation};
use crate::repository::{File, Repository};

/// Paths of a developer's machine; joined here so that this file does not contain them.
const PATHS: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/opt/", "flatc"),
    concat!("/tmp/", "target"),
    concat!("/tmp/", "plan"),
    concat!("../", "shared"),
    concat!(".lib", "rary"),
];

/// Hosts that addresses may name, with the names that are reserved for examples.
const HOSTS: [&str; 12] = [
    "127.0.0.1",
    "a",
    "apache.org",
    "b",
    "crates.io",
    "docs.rs",
    "example.com",
    "example.org",
    "flatbuffers.dev",
    "github.com",
    "localhost",
    "rfc-editor.org",
];

/// Where every package of `Cargo.lock` comes from.
const PACKAGE_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// No file names a path of one machine or a host that readers do not know.
pub fn strangers(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository
        .files
        .iter()
        .filter(|file| !file.path.ends_with("Cargo.lock"))
    {
        for (number, line) in file.lines() {
            if let Some(path) = PATHS.iter().find(|path| line.contains(*path)) {
                let message = format!("'{path}' exists on one machine; say it without the path");
                found.push(Violation::at(file, number, message));
            }
            for host in hosts(line).filter(|host| !is_known(host)) {
                found.push(unknown_host(file, number, host));
            }
        }
    }
    Ok(found)
}

fn unknown_host(file: &File, line: usize, host: &str) -> Violation {
    let message = format!(
        "host '{host}' is not one that a reader can rely on; use example.com in examples, or add \
         a public source of knowledge to .ci/src/checks/strangers.rs"
    );
    Violation::at(file, line, message)
}

/// Hosts of the addresses in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let schemes = ["http://", "https://"];
    let rests = schemes
        .into_iter()
        .flat_map(move |scheme| line.split(scheme).skip(1));
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && !".-".contains(letter);
    let hosts = rests.map(move |rest| rest.split(ends).next().unwrap_or(rest));
    hosts
        .map(|host| host.trim_end_matches('.'))
        .filter(|host| !host.is_empty())
}

/// Whether a host, or the domain above it, may be named.
fn is_known(host: &str) -> bool {
    let reserved = host.ends_with(".example");
    let listed = |known: &&str| {
        host.strip_suffix(*known)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    reserved || HOSTS.iter().any(listed)
}

/// Packages come from the public registry, none from a mirror or a repository.
pub fn package_sources(repository: &Repository) -> Found {
    let mut found = Vec::new();
    for file in repository
        .files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.lock"))
    {
        for (number, line) in file.lines() {
            let Some(source) = line.strip_prefix("source = ") else {
                continue;
            };
            if source.trim_matches('"') != PACKAGE_SOURCE {
                let message = "comes from another place than crates.io; remove the mirror from \
                               cargo's configuration and lock again";
                found.push(Violation::at(file, number, message));
            }
        }
    }
    Ok(found)
}
