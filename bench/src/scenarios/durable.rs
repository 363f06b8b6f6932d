//! `run durable`: publishes that are on disk before their ack.
//!
//! First every connection keeps its window full, which gives the rate; then an open loop at a
//! fixed rate gives the latency of an ack. Nobody subscribes. What the disk alone would let a
//! record wait is measured at the end.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::{Route, Traffic};
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::bare::disk;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::Greeting;
use crate::limits::WINDOW_MAX;
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::EdgeServer;
use crate::stats::Series;
use anyhow::{ensure, Result};

const RATE_SECONDS: f64 = 30.0;
const LATENCY_SECONDS: f64 = 60.0;
/// How long the disk is asked alone afterwards.
const DISK_SECONDS: f64 = 30.0;
const OPEN_RATE: f64 = 50_000.0;
/// Both parts are cut into slices of this length, which give lowest and highest.
const SLICE_SECONDS: f64 = 10.0;
const UNFINISHED_MAX: u32 = 500;
const DRAIN_SECONDS: f64 = 10.0;
/// Class of the traffic.
const P1: usize = 1;

/// Runs the scenario.
pub fn run(bench: &mut Bench, connections: u32, window: u32) -> Result<()> {
    ensure!(
        (1..=WINDOW_MAX).contains(&window),
        "--window must be 1 to {WINDOW_MAX}, the credit of a connection"
    );
    let edge = bench.start_edge(connections, None)?;
    let mut traffic = traffic(bench, &edge, connections)?;
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, connections, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;

    traffic.keep_window(0, window, fleet.link());
    run_for(&mut fleet, &mut traffic, bench.options.warm_up)?;
    let mut rates = Slices::default();
    let before = fleet.link().totals;
    for seconds in slices(bench.seconds(RATE_SECONDS)) {
        traffic.reset();
        let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
        run_for(&mut fleet, &mut traffic, seconds)?;
        rates.note(bench, watch.end(fleet.link())?, &traffic, "windows full");
    }
    let after = fleet.link().totals;
    traffic.pause();
    run_until(&mut fleet, &mut traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;

    let rate = bench.options.rate.unwrap_or(OPEN_RATE);
    traffic.open(0, rate, crate::sys::monotonic_ns());
    run_for(&mut fleet, &mut traffic, bench.options.warm_up)?;
    let mut steady = Slices::default();
    for seconds in slices(bench.seconds(LATENCY_SECONDS)) {
        traffic.reset();
        let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
        run_for(&mut fleet, &mut traffic, seconds)?;
        steady.note(bench, watch.end(fleet.link())?, &traffic, "open loop");
    }
    let bytes = after.sent_bytes - before.sent_bytes + after.received_bytes - before.received_bytes;
    bench
        .report
        .number("wire_bytes_per_event", bytes as f64 / rates.accepted as f64);
    report(bench, &rates, &steady, &traffic.refusal_words())?;
    close_all(fleet)?;
    drop(edge);
    bench.progress.say("the disk alone");
    let disk = disk::waits(bench.folder(), bench.seconds(DISK_SECONDS))?;
    bench.latency("bare_disk", &disk, DISK_SECONDS)
}

fn traffic(bench: &Bench, edge: &EdgeServer, connections: u32) -> Result<Traffic> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let payload = Payload::new("chat", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    let mut users = Users::default();
    let mut routes = Vec::new();
    for client in 0..connections {
        users.push(maker.user(&format!("a{client}"), &Grants::member(&[]))?);
        let channel = format!("chat.a{client}~b{client}");
        let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
        routes.push(Route::new(client, template, P1, 0..0));
    }
    let mut traffic = Traffic::new(users, bench.options.seed);
    traffic.add_source(routes);
    Ok(traffic)
}

/// Slices of a part, of ten seconds or what is left.
fn slices(seconds: f64) -> Vec<f64> {
    let whole = (seconds / SLICE_SECONDS).floor() as usize;
    let rest = seconds - whole as f64 * SLICE_SECONDS;
    let mut slices = vec![SLICE_SECONDS; whole];
    if rest > 0.01 || slices.is_empty() {
        slices.push(rest.max(0.01));
    }
    slices
}

/// What the slices of one part gave.
#[derive(Default)]
struct Slices {
    per_second: Series,
    p99_ms: Series,
    generator_cpu: Series,
    server_cpu_us: Series,
    ack: Latency,
    accepted: u64,
    refused: u64,
    last: Option<Usage>,
    voids: Vec<(bool, String)>,
}

impl Slices {
    fn note(&mut self, bench: &mut Bench, usage: Usage, traffic: &Traffic, part: &str) {
        let class = &traffic.classes[P1];
        let per_second = class.accepted as f64 / usage.seconds;
        bench.progress.say(format!(
            "{part}: {per_second:.0} acks/s, p99 {:.2} ms, edge core {:.0} %, generator {:.0} %",
            class.ack.percentile_ms(99.0),
            usage.core_busy * 100.0,
            usage.generator.cpu * 100.0
        ));
        self.per_second.push(per_second);
        self.p99_ms.push(class.ack.percentile_ms(99.0));
        self.generator_cpu.push(usage.generator.cpu);
        self.server_cpu_us.push(usage.cpu_us_each(class.accepted));
        self.ack.add(&class.ack);
        self.accepted += class.accepted;
        self.refused += class.refused + class.given_up;
        let is_latency_run = part == "open loop";
        if let Some(reason) = usage.generator.void_reason(is_latency_run) {
            self.voids.push((is_latency_run, reason));
        }
        self.last = Some(usage);
    }
}

fn report(bench: &mut Bench, rates: &Slices, steady: &Slices, refusals: &str) -> Result<()> {
    ensure!(
        rates.accepted > 0,
        "no publish was acknowledged; refusals by code: {refusals}"
    );
    let report = &mut bench.report;
    report.series("publish_ack_per_second", &rates.per_second);
    report.goal("publish_ack_per_second", Goal::AtLeast(200_000.0));
    report.number("ack_p99_ms_at_50k", steady.ack.percentile_ms(99.0));
    report.goal("ack_p99_ms_at_50k", Goal::Below(20.0));
    report.series("ack_p99_ms_at_50k_slices", &steady.p99_ms);
    report.series("acks_per_second_at_50k", &steady.per_second);
    report.series("cpu_us_per_publish", &rates.server_cpu_us);
    report.series("generator_cpu", &rates.generator_cpu);
    report.series("generator_cpu_at_50k", &steady.generator_cpu);
    report.text("refusals_by_code", refusals);
    report.count("refused", rates.refused + steady.refused);
    report.text(
        "limited_by",
        rates.last.map_or("nothing", |usage| usage.limited_by()),
    );
    for (is_latency_run, reason) in rates.voids.iter().chain(&steady.voids) {
        let part = if *is_latency_run {
            "open loop"
        } else {
            "windows full"
        };
        report.void(format!("{part}: {reason}"));
    }
    bench.latency("ack_windows_full", &rates.ack, RATE_SECONDS)?;
    bench.latency("ack_at_50k", &steady.ack, LATENCY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_whole_time() {
        assert_eq!(slices(30.0), [10.0, 10.0, 10.0]);
        assert_eq!(slices(25.0), [10.0, 10.0, 5.0]);
        assert_eq!(slices(1.0), [1.0]);
    }
}
