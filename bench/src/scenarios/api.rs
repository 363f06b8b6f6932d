//! `run api`: events of back ends over the server API in batches, to users who check their order.
//!
//! Each connection of the API has users of its own and sends the next batch when the last is
//! answered, as a back end does that keeps the order of a user. Every event has an idempotency
//! key; what is refused for now is sent again, first.
//!
//! Runs on: the bench's main thread; each API connection on a thread of its own, on the same core.

use super::api_caller::{Caller, CallerPlan, Outcome};
use super::api_load::ApiLoad;
use super::bench::Bench;
use super::settle::{close_all, connect_all, run_until};
use super::users::{UserMaker, Users};
use super::watch::Watch;
use crate::cli::ApiPlan;
use crate::engine::payload::Payload;
use crate::engine::token::Grants;
use crate::engine::Greeting;
use crate::report::Goal;
use anyhow::{ensure, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

const UNFINISHED_MAX: u32 = 500;
/// Longest time for all events, for each 10,000, and at least.
const SECONDS_PER_TEN_THOUSAND: f64 = 10.0;
const SECONDS_LEAST: f64 = 60.0;

/// Runs the scenario.
pub fn run(bench: &mut Bench, plan: ApiPlan) -> Result<()> {
    ensure!(
        (1..=1_000).contains(&plan.batch),
        "--batch must be 1 to 1000, what a request may hold"
    );
    ensure!(
        (1..=plan.users).contains(&plan.callers),
        "--callers must be 1 to the number of users"
    );
    let address = bench.bare_address();
    let edge = bench.start_edge_with(plan.users, |config| config.api = Some(address))?;
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for user in 0..plan.users {
        let name = name_of(user);
        let inbox = format!("user.{name}");
        users.push(maker.user(&name, &Grants::member(&[]))?.subscribe(inbox));
    }
    let mut load = ApiLoad::new(users);
    let listen = edge.config.listen;
    let mut fleet = bench.fleet(listen, Greeting::Session, plan.users, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut load)?;

    let token = signer.user("bench", &Grants::member(&["service"]))?;
    let payload = Payload::new("user", bench.options.payload)?;
    let answered = Arc::new(AtomicU64::new(0));
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    let callers: Vec<Caller> = (0..plan.callers)
        .map(|number| {
            Caller::start(CallerPlan {
                address,
                token: token.clone(),
                payload: payload.clone(),
                users: (number..plan.users)
                    .step_by(plan.callers as usize)
                    .collect(),
                events: share(plan.events, plan.callers, number),
                batch: plan.batch,
                answered: Arc::clone(&answered),
            })
        })
        .collect();
    let longest = SECONDS_LEAST.max(f64::from(plan.events) / 1e4 * SECONDS_PER_TEN_THOUSAND);
    run_until(&mut fleet, &mut load, longest, |load, _| {
        // In this order: who has ended has counted before.
        let ended = callers.iter().all(Caller::has_ended);
        let all_accepted = answered.load(Ordering::Relaxed) == u64::from(plan.events);
        let all_delivered = load.delivered() == u64::from(plan.events);
        (all_accepted && all_delivered) || (ended && !all_accepted)
    })?;
    let usage = watch.end(fleet.link())?;
    let mut sum = Outcome::default();
    for caller in callers {
        sum.add(&caller.end()?);
    }
    close_all(fleet)?;
    report(bench, plan, &load, &sum);
    let report = &mut bench.report;
    let cpu_us = usage.cpu_us_each(sum.accepted);
    report.number("server_cpu_us_per_event", cpu_us);
    report.number("generator_cpu", usage.generator.cpu);
    report.text("limited_by", usage.limited_by());
    if let Some(reason) = usage.generator.void_reason(false) {
        bench.report.void(reason);
    }
    bench.latency("request", &sum.requests, usage.seconds)?;
    bench.latency("delivery", &load.delivery, usage.seconds)
}

fn report(bench: &mut Bench, plan: ApiPlan, load: &ApiLoad, sum: &Outcome) {
    let per_second = sum.accepted as f64 / sum.seconds();
    bench.progress.say(format!(
        "{} of {} events in {:.2} s: {per_second:.0}/s, request p99 {:.1} ms",
        sum.accepted,
        plan.events,
        sum.seconds(),
        sum.requests.percentile_ms(99.0)
    ));
    let totals = load.totals();
    let report = &mut bench.report;
    report.count("events", u64::from(plan.events));
    report.count("accepted", sum.accepted);
    report.goal("accepted", Goal::Exactly(f64::from(plan.events)));
    report.number("events_per_second", per_second);
    report.number("p99_ms", sum.requests.percentile_ms(99.0));
    report.count("requests", sum.requests.count());
    report.count("sent_again", sum.sent_again);
    report.count("delivered", totals.delivered);
    report.goal("delivered", Goal::Exactly(f64::from(plan.events)));
    report.count("lost", sum.accepted.saturating_sub(totals.delivered));
    report.goal("lost", Goal::Exactly(0.0));
    report.count("order_violations", totals.reordered);
    report.goal("order_violations", Goal::Exactly(0.0));
    report.count("duplicates", totals.duplicated + load.misdelivered);
    report.goal("duplicates", Goal::Exactly(0.0));
}

/// Name of a user.
pub fn name_of(user: u32) -> String {
    format!("a{user}")
}

/// Events of one caller; the first ones get what cannot be divided.
fn share(events: u32, callers: u32, number: u32) -> u32 {
    events / callers + u32::from(number < events % callers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (events, callers) in [(50_000, 4), (7, 3), (2, 4)] {
            let sum: u32 = (0..callers).map(|at| share(events, callers, at)).sum();
            assert_eq!(sum, events);
        }
    }
}
