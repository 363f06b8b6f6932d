//! Phases that scenarios have in options: connecting a fleet, running for a time, closing.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use crate::engine::{EndCause, Fleet, Link, Workload};
use crate::sys;
use anyhow::{bail, Result};
use interlink_uring::Kernel;

/// Longest time in which a fleet has to be live, for each 1,000 clients, and at least.
const CONNECT_S_PER_THOUSAND: f64 = 1.0;
const CONNECT_S_LEAST: f64 = 30.0;
/// Longest wait for connections to be closed; afterwards the ring's own end closes them.
const CLOSE_S: f64 = 5.0;

/// Why connections ended, for workloads that want none to end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Connections that ended unasked.
    pub count: u64,
    /// Why the first one did.
    pub first: Option<EndCause>,
}

impl Ends {
    /// Notes an end.
    pub fn note(&mut self, cause: EndCause) {
        self.count += 1;
        self.first.get_or_insert(cause);
    }
}

/// A workload that tells which connections it lost.
pub trait Counted: Workload {
    /// Connections that ended unasked.
    fn ends(&self) -> &Ends;
}

/// Connects every client and waits until all are live.
pub fn connect_all<K: Kernel, W: Counted>(
    bench: &mut Bench,
    fleet: &mut Fleet<K>,
    workload: &mut W,
) -> Result<()> {
    let clients = fleet.link().clients();
    (0..clients).for_each(|client| fleet.link().connect(client));
    let seconds = CONNECT_S_LEAST.max(f64::from(clients) / 1000.0 * CONNECT_S_PER_THOUSAND);
    let end_ns = sys::monotonic_ns() + (seconds * 1e9) as u64;
    let mut shown = 0;
    fleet.run(workload, |workload, link| {
        if link.live() >= shown + 1000 {
            shown = link.live();
            bench.progress.update(format!("{shown} of {clients} live"));
        }
        link.live() == clients || workload.ends().count > 0 || link.now_ns > end_ns
    })?;
    let live = fleet.link().live();
    if let Some(cause) = workload.ends().first {
        bail!("{live} of {clients} clients were live when one ended: {cause:?}");
    }
    if live < clients {
        let phases = fleet.link().phases();
        bail!("not every client was live after {seconds:.0} s: {phases}");
    }
    Ok(())
}

/// Runs for so many seconds. An ended connection ends the run with an error.
pub fn run_for<K: Kernel, W: Counted>(
    fleet: &mut Fleet<K>,
    workload: &mut W,
    seconds: f64,
) -> Result<()> {
    let end_ns = sys::monotonic_ns() + (seconds * 1e9) as u64;
    fleet.run(workload, |workload, link| {
        link.now_ns >= end_ns || workload.ends().count > 0
    })?;
    match workload.ends().first {
        Some(cause) => bail!("a connection ended during the run: {cause:?}"),
        None => Ok(()),
    }
}

/// Runs until `is_done`, at most so many seconds; true when it was.
pub fn run_until<K: Kernel, W: Workload>(
    fleet: &mut Fleet<K>,
    workload: &mut W,
    seconds: f64,
    mut is_done: impl FnMut(&mut W, &mut Link) -> bool,
) -> Result<bool> {
    let end_ns = sys::monotonic_ns() + (seconds * 1e9) as u64;
    let mut done = false;
    fleet.run(workload, |workload, link| {
        done = is_done(workload, link);
        done || link.now_ns >= end_ns
    })?;
    Ok(done)
}

/// Closes every connection, so that the next fleet finds the machine at rest.
pub fn close_all<K: Kernel>(mut fleet: Fleet<K>) -> Result<()> {
    let clients = fleet.link().clients();
    (0..clients).for_each(|client| fleet.link().disconnect(client));
    run_until(&mut fleet, &mut Silence, CLOSE_S, |_, link| {
        link.open() == 0
    })?;
    Ok(())
}

/// Sends nothing and minds nothing.
pub struct Silence;

impl Workload for Silence {
    fn on_turn(&mut self, _: &mut Link) -> u64 {
        u64::MAX
    }

    fn on_end(&mut self, _: &mut Link, _: u32, _: EndCause) {}
}
