//! Group chats: users, channels, and the search for their capacity.
//!
//! Capacity is the last step of an open loop, each x1.2 and 5 s long, in which 99 % of the
//! deliveries were made in time and their p99 was below 50 ms.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::settle::{run_for, run_until};
use super::traffic::{Route, Traffic};
use super::users::{User, UserMaker};
use super::watch::Watch;
use crate::cli::Groups;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::Fleet;
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;

/// Class of chat.
pub const P1: usize = 1;
/// First rate of the search.
const FIRST_RATE: f64 = 1_000.0;
const STEP_FACTOR: f64 = 1.2;
const STEP_SECONDS: f64 = 5.0;
const ACHIEVED_LEAST: f64 = 0.99;
const P99_MS_MAX: f64 = 50.0;
/// Steps at most; beyond x1.2^60 lies no machine.
const STEPS_MAX: u32 = 60;
const DRAIN_SECONDS: f64 = 10.0;

/// Name of a user and of the channel of its group.
pub fn names(groups: &Groups, client: u32) -> (String, String) {
    (
        format!("u{client}"),
        format!("chat.g{}", client / groups.members),
    )
}

/// The user of a client, subscribed to its group.
pub fn user(groups: &Groups, maker: &mut UserMaker<'_>, client: u32) -> Result<User> {
    let (name, channel) = names(groups, client);
    let signer = maker.signer;
    maker
        .user(&name, &Grants::member(&[]))?
        .subscribe_by_token(&channel, signer)
}

/// A route for each user: to the own group, the sender included.
pub fn routes(bench: &Bench, groups: &Groups) -> Result<Vec<Route>> {
    let payload = Payload::new("chat", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    let mut routes = Vec::new();
    for client in 0..groups.users {
        let (_, channel) = names(groups, client);
        let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
        let first = client / groups.members * groups.members;
        let receivers = first..(first + groups.members).min(groups.users);
        routes.push(Route::new(client, template, P1, receivers));
    }
    Ok(routes)
}

/// Checks the sizes.
pub fn check(groups: &Groups) -> Result<()> {
    ensure!(groups.members >= 1, "--members must be at least 1");
    ensure!(
        groups.users >= groups.members,
        "--users must be at least --members"
    );
    Ok(())
}

/// The highest rate that was carried, and what ended the search.
pub struct Capacity {
    /// Publishes a second.
    pub per_second: f64,
    /// What limited the step after it.
    pub limited_by: &'static str,
}

/// Searches the capacity of a source of routes of one class; `pid` is the server.
pub fn capacity(
    bench: &mut Bench,
    pid: u32,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    source: usize,
) -> Result<Capacity> {
    let seconds = bench.seconds(STEP_SECONDS).min(STEP_SECONDS);
    let mut rate = bench.options.rate.unwrap_or(FIRST_RATE);
    let mut last = None;
    for _ in 0..STEPS_MAX {
        traffic.reset();
        let watch = Watch::start(pid, bench.options.edge_core, fleet.link())?;
        traffic.open(source, rate, crate::sys::monotonic_ns());
        run_for(fleet, traffic, seconds)?;
        let usage = watch.end(fleet.link())?;
        let class = &traffic.classes[P1];
        let achieved = class.delivered as f64 / (class.offered as f64 * traffic.fan(source));
        let p99_ms = class.delivery.percentile_ms(99.0);
        bench.progress.say(format!(
            "capacity, {rate:.0}/s: {:.2} % delivered, p99 {p99_ms:.2} ms, edge core {:.0} %, \
             generator {:.0} %",
            achieved * 100.0,
            usage.core_busy * 100.0,
            usage.generator.cpu * 100.0
        ));
        traffic.pause();
        let is_settled = run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
            traffic.is_settled()
        })?;
        let is_carried = achieved >= ACHIEVED_LEAST && p99_ms < P99_MS_MAX && is_settled;
        if !is_carried {
            return Ok(Capacity {
                per_second: last.unwrap_or(rate / STEP_FACTOR),
                limited_by: usage.limited_by(),
            });
        }
        last = Some(rate);
        rate *= STEP_FACTOR;
    }
    Ok(Capacity {
        per_second: last.unwrap_or(FIRST_RATE),
        limited_by: "the end of the search",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_group_share_one_channel() {
        let groups = Groups {
            users: 40,
            members: 10,
            half_load: None,
        };
        assert_eq!(names(&groups, 9).1, names(&groups, 0).1);
        assert_ne!(names(&groups, 10).1, names(&groups, 9).1);
        assert!(check(&Groups {
            users: 5,
            members: 10,
            half_load: None
        })
        .is_err());
    }
}
