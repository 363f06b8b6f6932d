//! `run mixed`: all four priorities at once, at the sustained and at the peak rate.
//!
//! Each user has one channel of each class with one subscriber: alerts to the user from a back
//! end (P0, 1 %), a direct chat to the next user (P1, 60 %), own activity (P2, 29 %), and usage
//! samples that the next user reads (P3, 10 %).
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::{ClassCounts, Route, Traffic, CLASSES};
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Fleet, Greeting};
use crate::report::Goal;
use crate::servers::EdgeServer;
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;

const SECONDS: f64 = 60.0;
const UNFINISHED_MAX: u32 = 500;
const DRAIN_SECONDS: f64 = 20.0;
/// Back ends that publish alerts; each has a credit of its own.
const SERVICES: u32 = 16;
/// Share of each class.
const SHARES: [f64; CLASSES] = [0.01, 0.60, 0.29, 0.10];
/// Name of the rate that a node has to hold.
const SUSTAINED: &str = "50k";
/// Offered rates: sustained and peak.
const RATES: [(f64, &str); 2] = [(50_000.0, SUSTAINED), (200_000.0, "200k")];
/// What the mission allows for each class, in milliseconds.
const CLASS_MS: [f64; CLASSES] = [100.0, 500.0, 2_000.0, 300_000.0];
/// Percentiles with what the mission allows for all real-time traffic, in milliseconds.
const PERCENTILE_MS: [(f64, f64, &str); 3] = [
    (95.0, 100.0, "p95"),
    (99.0, 200.0, "p99"),
    (99.9, 500.0, "p999"),
];

/// Runs the scenario.
pub fn run(bench: &mut Bench, count: u32) -> Result<()> {
    ensure!(count >= 2, "--users must be at least 2");
    let edge = bench.start_edge(count + SERVICES, None)?;
    let mut traffic = Traffic::new(users(bench, &edge, count)?, bench.options.seed);
    for class in 0..CLASSES {
        traffic.add_source(routes(bench, count, class)?);
    }
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, count + SERVICES, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;
    let single = bench.options.rate.map(|rate| (rate, "at_rate"));
    let rates: Vec<(f64, &str)> = single.map_or(RATES.to_vec(), |rate| vec![rate]);
    for (rate, name) in rates {
        measure(bench, &edge, &mut fleet, &mut traffic, rate, name)?;
    }
    let report = &mut bench.report;
    report.count("p0_lost", traffic.classes[0].missing());
    report.goal("p0_lost", Goal::Exactly(0.0));
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    report.count("wrong_receiver", traffic.wrong);
    report.count("skipped_announced", traffic.skipped);
    close_all(fleet)
}

fn users(bench: &Bench, edge: &EdgeServer, count: u32) -> Result<Users> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..count {
        let before = (client + count - 1) % count;
        let user = maker
            .user(&format!("u{client}"), &Grants::member(&["teacher"]))?
            .subscribe(channel(count, 0, client))
            .subscribe(channel(count, 1, before))
            .subscribe(channel(count, 2, client))
            .subscribe(channel(count, 3, before));
        users.push(user);
    }
    for service in 0..SERVICES {
        users.push(maker.user(&format!("service{service}"), &Grants::member(&["service"]))?);
    }
    Ok(users)
}

/// The channel of a class on which a user publishes, or a back end for the user.
fn channel(count: u32, class: usize, client: u32) -> String {
    match class {
        0 => format!("alert.u{client}"),
        1 => format!("chat.u{client}~u{}", (client + 1) % count),
        2 => format!("activity.u{client}"),
        _ => format!("usage.1.u{client}"),
    }
}

fn routes(bench: &Bench, count: u32, class: usize) -> Result<Vec<Route>> {
    let namespace = ["alert", "chat", "activity", "usage"][class];
    let payload = Payload::new(namespace, bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    (0..count)
        .map(|client| {
            let channel = channel(count, class, client);
            let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
            let publisher = if class == 0 {
                count + client % SERVICES
            } else {
                client
            };
            let receiver = match class {
                0 | 2 => client,
                _ => (client + 1) % count,
            };
            Ok(Route::new(
                publisher,
                template,
                class,
                receiver..receiver + 1,
            ))
        })
        .collect()
}

fn measure(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    rate: f64,
    name: &str,
) -> Result<()> {
    let now_ns = crate::sys::monotonic_ns();
    for (class, share) in SHARES.iter().enumerate() {
        traffic.open(class, rate * share, now_ns);
    }
    run_for(fleet, traffic, bench.options.warm_up)?;
    traffic.reset();
    let before = fleet.link().totals;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    run_for(fleet, traffic, bench.seconds(SECONDS))?;
    let usage = watch.end(fleet.link())?;
    let after = fleet.link().totals;
    let bytes = after.received_bytes - before.received_bytes + after.sent_bytes - before.sent_bytes;
    report(bench, traffic, &usage, name, bytes)?;
    traffic.pause();
    run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    Ok(())
}

fn report(
    bench: &mut Bench,
    traffic: &Traffic,
    usage: &Usage,
    name: &str,
    bytes: u64,
) -> Result<()> {
    let seconds = usage.seconds;
    let is_sustained = name == SUSTAINED;
    let mut delivered = 0;
    for (number, class) in traffic.classes.iter().enumerate() {
        delivered += class.delivered;
        report_class(bench, (number, class), seconds, name)?;
    }
    let report = &mut bench.report;
    report.number(
        &format!("delivered_per_second_{name}"),
        per(delivered, seconds),
    );
    report.number(
        &format!("wire_bytes_per_event_{name}"),
        bytes as f64 / delivered as f64,
    );
    report.number("wire_bytes_per_event", bytes as f64 / delivered as f64);
    report.number(&format!("generator_cpu_{name}"), usage.generator.cpu);
    report.number("generator_cpu", usage.generator.cpu);
    report.number(&format!("edge_core_busy_{name}"), usage.core_busy);
    report.text(&format!("limited_by_{name}"), usage.limited_by());
    report.text("limited_by", usage.limited_by());
    report.text(&format!("refusals_by_code_{name}"), traffic.refusal_words());
    if let Some(reason) = usage.generator.void_reason(is_sustained) {
        // The peak is reported with what limits it, which may be the generator.
        if is_sustained {
            report.void(format!("{name}: {reason}"));
        } else {
            report.note(format!("{name}: {reason}"));
        }
    }
    bench.progress.say(format!(
        "{name}: {:.0} deliveries/s, edge core {:.0} %, generator {:.0} %",
        per(delivered, seconds),
        usage.core_busy * 100.0,
        usage.generator.cpu * 100.0
    ));
    Ok(())
}

/// Reports one class: its percentiles with their bounds, its rates and its refusals.
fn report_class(
    bench: &mut Bench,
    (number, class): (usize, &ClassCounts),
    seconds: f64,
    name: &str,
) -> Result<()> {
    let report = &mut bench.report;
    for (percentile, bound_ms, short) in PERCENTILE_MS {
        let field = format!("p{number}_{short}_ms_{name}");
        report.number(&field, class.delivery.percentile_ms(percentile));
        // P3 is no real-time traffic: only its own bound holds.
        let bound_ms = if number == 3 {
            CLASS_MS[3]
        } else {
            bound_ms.min(CLASS_MS[number])
        };
        if name == SUSTAINED {
            report.goal(&field, Goal::Below(bound_ms));
        }
    }
    report.number(
        &format!("p{number}_offered_per_second_{name}"),
        per(class.offered, seconds),
    );
    report.number(
        &format!("p{number}_delivered_per_second_{name}"),
        per(class.delivered, seconds),
    );
    report.count(
        &format!("p{number}_refused_{name}"),
        class.refused + class.given_up,
    );
    bench.latency(
        &format!("p{number}_delivery_{name}"),
        &class.delivery,
        seconds,
    )
}

fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole() {
        assert!((SHARES.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn every_channel_belongs_to_one_user() {
        let mut seen = std::collections::HashSet::new();
        for class in 0..CLASSES {
            for client in 0..50 {
                assert!(seen.insert(channel(50, class, client)));
            }
        }
    }
}
