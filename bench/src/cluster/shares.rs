//! CPU time of everything that carries a cluster's events: nodes, Redis, Kafka.
//!
//! Purpose: user and system time by process, so that a rate names what limits it.
//! Limits: a process that ends between two samples takes its time with it; groups of processes
//! count their children that were waited for.
//!
//! Runs on: the bench's main thread, twice a run.

use crate::report::Report;
use crate::stand::Parts;
use crate::sys;
use anyhow::Result;
use std::collections::BTreeMap;

/// Kernel ticks a second of `/proc/PID/stat`; fixed on Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processes by what they are.
#[derive(Clone, Debug, Default)]
pub struct Groups(BTreeMap<&'static str, Vec<u32>>);

/// CPU seconds of each group since its processes began.
#[derive(Clone, Debug)]
pub struct Sample {
    taken_ns: u64,
    seconds: BTreeMap<&'static str, f64>,
}

/// CPU seconds of each group between two samples.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Length in seconds.
    pub wall_s: f64,
    /// CPU seconds by group.
    pub cpu_s: BTreeMap<&'static str, f64>,
}

impl Groups {
    /// The nodes and the stand's servers, replicas and Sentinels included.
    pub fn new(edges: Vec<u32>, parts: &Parts) -> Self {
        let mut groups = BTreeMap::from([("edge", edges)]);
        let redis = &parts.redis;
        let mut servers: Vec<_> = redis.single.iter().collect();
        if let Some(sentinel) = &redis.sentinel {
            servers.extend(sentinel.nodes.iter().chain(&sentinel.sentinels));
        }
        servers.extend(redis.cluster.iter().flat_map(|cluster| &cluster.nodes));
        groups.insert("redis", servers.iter().map(|server| server.pid).collect());
        let brokers = parts.kafka.brokers.iter();
        groups.insert("kafka", brokers.map(|broker| broker.pid).collect());
        Self(groups)
    }

    /// Adds processes of another kind.
    #[cfg(test)]
    fn add(&mut self, name: &'static str, pids: Vec<u32>) {
        self.0.insert(name, pids);
    }

    /// Reads all clocks.
    pub fn sample(&self) -> Result<Sample> {
        let parents = parents()?;
        let seconds = self.0.iter().map(|(&name, pids)| {
            let sum = pids.iter().map(|&pid| seconds_of(pid, &parents)).sum();
            (name, sum)
        });
        Ok(Sample {
            taken_ns: sys::monotonic_ns(),
            seconds: seconds.collect(),
        })
    }
}

impl Sample {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Shares {
        let used = self.seconds.iter().map(|(&name, &now)| {
            let before = earlier.seconds.get(name).copied().unwrap_or(0.0);
            (name, (now - before).max(0.0))
        });
        Shares {
            wall_s: (self.taken_ns - earlier.taken_ns) as f64 / 1e9,
            cpu_s: used.collect(),
        }
    }
}

impl Shares {
    /// Adds the share of a core of each group, and its CPU seconds for a million events.
    pub fn report(&self, report: &mut Report, events: u64) {
        let millions = events as f64 / 1e6;
        for (name, &seconds) in &self.cpu_s {
            report.number(&format!("{name}_cpu_share"), seconds / self.wall_s);
            report.number(&format!("{name}_cpu_s_per_million"), seconds / millions);
        }
    }

    /// The shares in words, largest first.
    pub fn words(&self) -> String {
        let mut shares: Vec<_> = self.cpu_s.iter().collect();
        shares.sort_by(|one, two| two.1.total_cmp(one.1));
        let words: Vec<String> = shares
            .iter()
            .map(|(name, &seconds)| format!("{name} {:.0} %", seconds / self.wall_s * 100.0))
            .collect();
        words.join(", ")
    }
}

/// CPU seconds of a process, its living children, and those that it waited for. The process clock
/// is exact; children are counted in ticks.
fn seconds_of(pid: u32, parents: &[(u32, u32)]) -> f64 {
    let own = sys::process_cpu_ns(pid).unwrap_or(0) as f64 / 1e9;
    let gone = stat(pid).map_or(0, |stat| stat.children_ticks);
    let living = parents.iter().filter(|(_, parent)| *parent == pid);
    let living: f64 = living.map(|(child, _)| seconds_of(*child, parents)).sum();
    own + gone as f64 / TICKS_PER_SECOND + living
}

struct Stat {
    parent: u32,
    /// User and system time of children that were waited for.
    children_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 4, 16 and 17 (proc_pid_stat(5)); the command name before them may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        parent: number(1)? as u32,
        children_ticks: number(13)? + number(14)?,
    })
}

/// Every process with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end between listing and reading; then it no longer matters.
        parents.extend(stat(pid).map(|stat| (pid, stat.parent)));
    }
    Ok(parents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_times_of_children_are_read_behind_any_name() {
        let text = "7 (a ) b) S 3 7 7 0 -1 4194304 1 2 3 4 50 60 70 80 20 0 1 0 99 0 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.children_ticks), (3, 150));
    }

    #[test]
    fn a_group_counts_its_children_also_when_they_have_ended() {
        let busy = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done";
        let mut child = std::process::Command::new("sh")
            .args(["-c", busy])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let mut groups = Groups::default();
        groups.add("own", vec![std::process::id()]);
        groups.add("ended", vec![child.id()]);
        let sample = groups.sample().unwrap();
        let alone = sys::own_cpu_ns() as f64 / 1e9;
        assert_eq!(sample.seconds["ended"], 0.0);
        assert!(sample.seconds["own"] > alone, "{sample:?}");
        let shares = sample.since(&sample);
        assert!(shares.cpu_s["own"] == 0.0 && shares.words().contains("own"));
    }
}
