//! A bridge between two regions as a process of its own: started, killed, started again.
//!
//! Invariants: it stands on the outside systems' core; it is killed when its value is dropped.
//! Runs on: the bench's main thread.

use super::site::Site;
use super::topics::find_tool;
use crate::scenarios::bench::Bench;
use crate::servers::certificates::replace;
use crate::stand::Parts;
use crate::sys;
use anyhow::{ensure, Context, Result};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running bridge.
pub struct Bridge {
    child: Child,
    tool: PathBuf,
    config: PathBuf,
    log: PathBuf,
    core: usize,
}

impl Bridge {
    /// Starts a bridge that carries what originates in one region to another.
    pub fn start(bench: &Bench, from: (&str, &Site), to: (&str, &Site)) -> Result<Self> {
        let config = bench
            .folder()
            .join(format!("bridge-{}-{}.toml", from.0, to.0));
        replace(
            &config,
            &settings((from.0, parts(from.1)?), (to.0, parts(to.1)?))?,
        )?;
        let (tool, core) = (find_tool(bench)?, bench.options.generator_core);
        let log = config.with_extension("log");
        let child = spawn(&tool, &config, &log, core)?;
        Ok(Self {
            child,
            tool,
            config,
            log,
            core,
        })
    }

    /// Kills the process without warning and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.ensure_runs()?;
        self.child.kill().context("killing a bridge")?;
        self.child.wait().context("waiting for a killed bridge")?;
        Ok(())
    }

    /// Starts the same bridge again.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.tool, &self.config, &self.log, self.core)?;
        Ok(())
    }

    /// Fails when the process has ended by itself.
    pub fn ensure_runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("watching a bridge")?;
        ensure!(
            ended.is_none(),
            "a bridge ended by itself:\n{}",
            std::fs::read_to_string(&self.log).unwrap_or_default()
        );
        Ok(())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(tool: &PathBuf, config: &PathBuf, log: &PathBuf, core: usize) -> Result<Child> {
    let errors = File::options().create(true).append(true).open(log);
    let errors = errors.with_context(|| format!("opening {}", log.display()))?;
    let mut command = Command::new(tool);
    command
        .args(["run", "bridge", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    sys::spawn_pinned(&mut command, core).context("starting a bridge")
}

fn parts(site: &Site) -> Result<&Parts> {
    let stand = site
        .stand
        .as_ref()
        .context("a region has no outside systems")?;
    Ok(&stand.parts)
}

/// The configuration of a bridge from one region to another.
fn settings(from: (&str, &Parts), to: (&str, &Parts)) -> Result<String> {
    let brokers = |parts: &Parts| {
        let brokers = parts.kafka.brokers.iter();
        let addresses: Vec<String> = brokers.map(|broker| broker.address.to_string()).collect();
        format!("brokers = {addresses:?}")
    };
    let redis = to.1.redis.single.as_ref();
    let redis = redis
        .context("the target has no Redis")?
        .address
        .to_string();
    Ok(format!(
        "[kafka]\n{}\n\n[bridge]\nregion = {:?}\ntarget = {:?}\n\n[bridge.kafka]\n{}\n\n\
         [bridge.redis]\nmode = \"single\"\naddresses = [{redis:?}]\n",
        brokers(from.1),
        from.0,
        to.0,
        brokers(to.1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::Server;

    #[test]
    fn a_bridge_reads_its_own_region_and_writes_to_the_other() {
        let server = |port| Server {
            name: "s".to_owned(),
            address: ([127, 0, 0, 1], port).into(),
            pid: 1,
        };
        let parts = |port| {
            let mut parts = Parts::default();
            parts.kafka.brokers = vec![server(port)];
            parts.redis.single = Some(server(port + 1));
            parts
        };
        let (eu, us) = (parts(10), parts(20));
        let text = settings(("eu", &eu), ("us", &us)).unwrap();
        assert!(
            text.starts_with("[kafka]\nbrokers = [\"127.0.0.1:10\"]\n"),
            "{text}"
        );
        assert!(text.contains("[bridge.kafka]\nbrokers = [\"127.0.0.1:20\"]\n"));
        assert!(text.contains("addresses = [\"127.0.0.1:21\"]"));
        assert!(text.contains("region = \"eu\"\ntarget = \"us\""));
        assert!(settings(("eu", &eu), ("us", &Parts::default())).is_err());
    }
}
