//! How much clients offer where the wanted rate may be more than all parts carry.
//!
//! Purpose: with more than that each event waits for the ones before it, and how long a fault holds
//! events up cannot be seen. So the wanted rate is offered first; when it is not carried, half of
//! what was carried is offered afterwards, and the result names what was the limit.
//!
//! Runs on: the bench's main thread, before the first fault.

use super::load::Load;
use crate::cluster::shares::Groups;
use crate::limits::SERVER_SATURATED;
use crate::measure::CoreSample;
use crate::sys;
use anyhow::{ensure, Result};

/// Seconds in which it is seen what is carried.
const LOOK_S: f64 = 4.0;
/// A rate of which so much is acknowledged is carried.
const CARRIED: f64 = 0.95;
/// Of what is carried, so much is offered: a failed part leaves a backlog, which others carry too.
const OFFERED: f64 = 0.5;
/// Longest wait for what was offered too much.
const SETTLE_S: f64 = 60.0;

/// More was wanted than all parts carry.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Events a second that were acknowledged.
    pub per_second: f64,
    /// What kept them from being more.
    pub limited_by: String,
}

/// Looks what is carried of `rate`, which is on offer, and goes down to half of it when that is
/// less; what is offered from then on, and the capacity if it is the limit.
///
/// # Errors
/// When nothing is carried, or what was offered does not settle.
pub fn find(
    load: &Load,
    rate: f64,
    groups: &Groups,
    cores: impl Fn() -> Result<[CoreSample; 2]>,
) -> Result<(f64, Option<Capacity>)> {
    let (usage, before) = (groups.sample()?, cores()?);
    let (acked, start_ns) = (load.tally().acked, sys::monotonic_ns());
    load.run_for(LOOK_S);
    let passed_s = (sys::monotonic_ns() - start_ns) as f64 / 1e9;
    let per_second = (load.tally().acked - acked) as f64 / passed_s;
    let after = cores()?;
    if per_second >= rate * CARRIED {
        return Ok((rate, None));
    }
    ensure!(per_second > 0.0, "no event is acknowledged");
    let busy = [0, 1].map(|core| after[core].busy_since(&before[core]));
    let limited_by = named(busy, &groups.sample()?.since(&usage).words());
    load.offer(0.0);
    ensure!(
        load.wait_settled(SETTLE_S).is_some(),
        "what was offered before the first fault does not settle within {SETTLE_S} s"
    );
    let share = per_second / rate * OFFERED;
    load.offer(share);
    let capacity = Capacity {
        per_second,
        limited_by,
    };
    Ok((rate * share, Some(capacity)))
}

/// What limits a rate: the core of nodes, or that of everybody else, if one has no time left.
pub fn named([edge, other]: [f64; 2], shares: &str) -> String {
    if other > SERVER_SATURATED {
        return format!("CPU of the core of clients and stand ({shares})");
    }
    if edge > SERVER_SATURATED {
        return "CPU of the nodes' core".to_owned();
    }
    format!(
        "waiting: nodes' core {:.0} %, the other {:.0} %",
        edge * 100.0,
        other * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_core_that_has_no_time_left() {
        assert!(named([0.5, 0.99], "redis 40 %").contains("stand (redis 40 %)"));
        assert!(named([0.99, 0.5], "").contains("nodes' core"));
        assert!(named([0.5, 0.6], "").starts_with("waiting"));
    }
}
