//! Programs that steps start: in the repository's folder, without standard input, with an end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{ensure, Context};

use crate::limits::STEP_TIME_MAX;

/// Where the repository lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect(".ci lies in the repository")
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A program of this workspace, built with the dev profile.
pub fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A program that is ended, with all that it started, when the time of a step is over.
pub fn bounded(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg("--kill-after=10")
        .arg(STEP_TIME_MAX.as_secs().to_string())
        .arg(program.as_ref())
        .current_dir(root())
        .stdin(Stdio::null());
    command
}

/// Runs a program that says itself what is wrong.
///
/// # Errors
/// When it does not start or does not end with success.
pub fn pass(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .context("timeout did not start; it is part of coreutils")?;
    ensure!(
        status.success(),
        "ended with {status}{}",
        cause(status.code())
    );
    Ok(())
}

/// Runs a program and hands over each line of its standard output; says whether it succeeded.
///
/// # Errors
/// When it does not start, or prints what is no text.
pub fn each_line(command: &mut Command, mut take: impl FnMut(&str)) -> anyhow::Result<bool> {
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.context("timeout did not start; it is part of coreutils")?;
    let output = child.stdout.take().context("the output is piped")?;
    for line in BufReader::new(output).lines() {
        take(&line?);
    }
    let status = child.wait()?;
    if !status.success() {
        println!("    ended with {status}{}", cause(status.code()));
    }
    Ok(status.success())
}

/// What a code of `timeout` means.
fn cause(code: Option<i32>) -> String {
    match code {
        Some(124 | 137) => format!(": it took more than {} s", STEP_TIME_MAX.as_secs()),
        _ => String::new(),
    }
}
