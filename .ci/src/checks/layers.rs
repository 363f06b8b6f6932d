//! Which crate may depend on which, and which must not reach a runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context};
use serde_json::Value;

use super::{Found, Violation};
use crate::repository::Repository;

/// The crates of this workspace that a crate may depend on; in the order of the layers.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("interlink-wire", &[]),
    ("interlink-uring", &[]),
    ("interlink-ci", &[]),
    ("interlink-protocol", &["interlink-wire"]),
    (
        "interlink-client",
        &["interlink-protocol", "interlink-wire"],
    ),
    ("interlink-relay", &["interlink-protocol", "interlink-wire"]),
    (
        "interlink-workers",
        &["interlink-protocol", "interlink-relay"],
    ),
    // It speaks the wire as any client does: never edge or relay.
    (
        "interlink-bench",
        &[
            "interlink-client",
            "interlink-protocol",
            "interlink-uring",
            "interlink-wire",
        ],
    ),
    (
        "interlink-edge",
        &[
            "interlink-client",
            "interlink-protocol",
            "interlink-relay",
            "interlink-uring",
            "interlink-wire",
        ],
    ),
];

/// Crates whose logic any loop must be able to drive.
const WITHOUT_RUNTIME: [&str; 3] = ["interlink-wire", "interlink-protocol", "interlink-uring"];

/// Runtimes.
const RUNTIMES: [&str; 2] = ["glommio", "tokio"];

/// Libraries of cryptography other than the one that the node is built on: two of them would be
/// two sets of faults to follow. OpenSSL itself is linked, since the client of Kafka knows no other
/// TLS; no code of ours may reach it, for which it would need the crate `openssl`.
const OTHER_CRYPTOGRAPHY: [&str; 4] = ["ring", "openssl", "native-tls", "mbedtls"];

/// Crates depend downwards only.
pub fn directions(repository: &Repository) -> Found {
    let metadata = metadata(&repository.root)?;
    let mut found = Vec::new();
    let members = members(&metadata)?;
    for (name, dependencies) in &members {
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| crate_name == name) else {
            let message = "add it to the layers in .ci/src/checks/layers.rs and ARCHITECTURE.md";
            found.push(Violation::of(*name, message));
            continue;
        };
        let own = dependencies
            .iter()
            .filter(|dependency| members.contains_key(*dependency));
        for dependency in own.filter(|dependency| !allowed.contains(dependency)) {
            let allowed = if allowed.is_empty() {
                "none".to_owned()
            } else {
                allowed.join(", ")
            };
            let message = format!(
                "depends on {dependency}, which is not below it; allowed: {allowed}. Move what is \
                 needed down, or hand it in as a value"
            );
            found.push(Violation::of(*name, message));
        }
    }
    Ok(found)
}

/// Pure crates reach no runtime, not even through a dependency.
pub fn runtimes(repository: &Repository) -> Found {
    let metadata = metadata(&repository.root)?;
    let names = package_names(&metadata)?;
    let edges = edges(&metadata)?;
    let mut found = Vec::new();
    for (id, name) in &names {
        if !WITHOUT_RUNTIME.contains(name) {
            continue;
        }
        let mut seen = BTreeSet::from([*id]);
        let mut open = vec![*id];
        while let Some(next) = open.pop() {
            let below = edges.get(next).into_iter().flatten();
            open.extend(below.copied().filter(|id| seen.insert(*id)));
        }
        for runtime in seen.iter().filter_map(|id| names.get(id)) {
            if RUNTIMES.contains(runtime) {
                let message = format!("reaches {runtime}; take time and bytes as arguments");
                found.push(Violation::of(*name, message));
            }
        }
    }
    Ok(found)
}

/// One library of cryptography is linked. Asked of `cargo tree`, since the metadata name optional
/// packages that no feature asks for.
pub fn cryptography(repository: &Repository) -> Found {
    let linked = cargo(
        &repository.root,
        &[
            "tree",
            "--workspace",
            "--locked",
            "--edges=normal,build",
            "--target=x86_64-unknown-linux-gnu",
            "--prefix=none",
            "--format={p}",
        ],
    )?;
    let linked = String::from_utf8(linked)?;
    let others: BTreeSet<&str> = linked
        .lines()
        .filter_map(|package| package.split(' ').next())
        .filter(|name| OTHER_CRYPTOGRAPHY.contains(name))
        .collect();
    let message = "is linked beside aws-lc-rs; choose the features of whoever asks for it \
                   (`cargo tree -i` tells)";
    Ok(others
        .into_iter()
        .map(|name| Violation::of(name, message))
        .collect())
}

/// What a command of cargo prints.
fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(arguments)
        .output()
        .context("cargo did not start")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo {} failed: {}",
        arguments[0],
        error.trim()
    );
    Ok(output.stdout)
}

/// What cargo knows about the workspace.
fn metadata(root: &Path) -> anyhow::Result<Value> {
    let target = "--filter-platform=x86_64-unknown-linux-gnu";
    let arguments = ["metadata", "--format-version=1", "--locked", target];
    Ok(serde_json::from_slice(&cargo(root, &arguments)?)?)
}

/// The workspace's crates and the names that each depends on, tests and build scripts included.
fn members(metadata: &Value) -> anyhow::Result<BTreeMap<&str, BTreeSet<&str>>> {
    let ids: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
    let mut members = BTreeMap::new();
    for package in metadata["packages"].as_array().context("packages")? {
        if package["id"].as_str().is_some_and(|id| ids.contains(id)) {
            let dependencies = package["dependencies"].as_array().context("dependencies")?;
            let names = dependencies
                .iter()
                .filter_map(|entry| entry["name"].as_str());
            members.insert(package["name"].as_str().context("name")?, names.collect());
        }
    }
    Ok(members)
}

/// Names of all packages by id.
fn package_names(metadata: &Value) -> anyhow::Result<BTreeMap<&str, &str>> {
    let packages = metadata["packages"].as_array().context("packages")?;
    let pairs = packages
        .iter()
        .map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)));
    pairs
        .collect::<Option<_>>()
        .context("a package without a name")
}

/// What each package links; what only tests need is left out.
fn edges(metadata: &Value) -> anyhow::Result<BTreeMap<&str, Vec<&str>>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("resolve")?;
    let mut edges = BTreeMap::new();
    for node in nodes {
        let linked = node["deps"]
            .as_array()
            .context("deps")?
            .iter()
            .filter(|dependency| {
                let kinds = dependency["dep_kinds"].as_array();
                kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
            });
        let ids = linked
            .filter_map(|dependency| dependency["pkg"].as_str())
            .collect();
        edges.insert(node["id"].as_str().context("id")?, ids);
    }
    Ok(edges)
}

/// The texts of a list.
fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
