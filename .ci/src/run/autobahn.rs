//! RFC 6455 conformance: the Autobahn cases, driven by kosoku against the codec and the ring of
//! the real edge.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{ensure, Context};
use serde_json::Value;

use super::command::{bounded, pass, target};
use super::counts::Counts;
use super::edge::Edge;
use crate::limits::{AUTOBAHN_CASES, AUTOBAHN_NON_STRICT_MAX};

/// Runs all cases but compression, which the server does not offer.
///
/// # Errors
/// When a program does not start, a case is missing, or the server ended.
pub fn run() -> anyhow::Result<Counts> {
    drive(Edge::conformance(None)?, None, "autobahn")
}

/// Runs the same cases through TLS, which stunnel speaks for kosoku.
///
/// # Errors
/// As [`run`].
pub fn run_tls() -> anyhow::Result<Counts> {
    let folder = target().join("autobahn-tls");
    std::fs::create_dir_all(&folder)?;
    let (certificate, key) = (folder.join("edge.pem"), folder.join("edge.key"));
    let mut openssl = bounded("openssl");
    openssl
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '))
        .args("-days 2 -subj /CN=edge -addext subjectAltName=IP:127.0.0.1".split(' '))
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key);
    openssl.stderr(std::process::Stdio::null());
    pass(&mut openssl).context("openssl made no certificate; .ci/setup installs it")?;
    let edge = Edge::conformance(Some((&certificate, &key)))?;
    let tunnel = Edge::tunnel(edge.address, &certificate)?;
    drive(edge, Some(tunnel), "autobahn-tls")
}

/// Lets kosoku try all cases on a server, through a tunnel if there is one.
fn drive(mut edge: Edge, tunnel: Option<Edge>, report: &str) -> anyhow::Result<Counts> {
    let report = target().join(report);
    let address = tunnel.as_ref().unwrap_or(&edge).address;
    let program = target().join("python/bin/kosoku");
    let mut kosoku = bounded(program);
    kosoku
        .args(["-x", "12.*", "-x", "13.*", "-o"])
        .arg(&report)
        .arg(address.to_string());
    kosoku.stdout(std::process::Stdio::null());
    // Its exit code tells of failed cases too; the report says which.
    let ended = pass(&mut kosoku);
    edge.expect_alive()?;
    let cases = cases(&report.join("index.json")).context(match ended {
        Ok(()) => "kosoku wrote no report".to_owned(),
        Err(error) => format!("kosoku {error:#}; .ci/setup installs it"),
    })?;
    judge(&cases)
}

/// Behaviour of each case.
fn cases(index: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let index: Value = serde_json::from_str(&std::fs::read_to_string(index)?)?;
    let servers = index.as_object().context("an object of servers")?;
    let mut cases = BTreeMap::new();
    for (name, case) in servers.values().filter_map(Value::as_object).flatten() {
        // How the connection was closed is judged apart from what was answered.
        let worse = ["behavior", "behaviorClose"].map(|key| case[key].as_str().unwrap_or("none"));
        let behaviour = worse
            .into_iter()
            .max_by_key(|word| rank(word))
            .unwrap_or("none");
        cases.insert(name.clone(), behaviour.to_owned());
    }
    Ok(cases)
}

/// How bad a behaviour is: 0 passed, 1 is allowed but not strict, 2 failed.
fn rank(behaviour: &str) -> u8 {
    match behaviour {
        "OK" | "INFORMATIONAL" => 0,
        "NON-STRICT" => 1,
        _ => 2,
    }
}

/// Counts the cases and names what is not strict or failed.
fn judge(cases: &BTreeMap<String, String>) -> anyhow::Result<Counts> {
    let of_rank = |wanted| {
        cases
            .iter()
            .filter(move |(_, behaviour)| rank(behaviour) == wanted)
    };
    for (name, behaviour) in of_rank(1).chain(of_rank(2)) {
        println!("    case {name}: {behaviour}");
    }
    let (non_strict, failed) = (of_rank(1).count(), of_rank(2).count());
    let passed = cases.len() - failed;
    println!(
        "    {passed} of {} cases passed, {non_strict} of them non-strict",
        cases.len()
    );
    ensure!(
        cases.len() == AUTOBAHN_CASES,
        "{AUTOBAHN_CASES} cases were expected"
    );
    ensure!(
        non_strict <= AUTOBAHN_NON_STRICT_MAX,
        "at most {AUTOBAHN_NON_STRICT_MAX} cases may be non-strict"
    );
    Ok(Counts { passed, failed })
}
