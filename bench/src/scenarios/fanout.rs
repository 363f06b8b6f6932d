//! `run fanout`: one channel with many subscribers.
//!
//! Part A publishes the next event when every subscriber has the last, so that each send carries
//! one frame, and compares sends for each CPU second with a loop of plain `send`. Part B doubles
//! the publish rate until deliveries grow by less than 5 %, so that frames coalesce, then
//! measures the best rate in repeated runs.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::push_load::PushLoad;
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::{Route, Traffic};
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Fleet, Greeting, Link};
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::http::metric;
use crate::servers::{BareServer, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
const UNFINISHED_MAX: u32 = 1_000;
const CHANNEL: &str = "inst.1";
/// Length of one step of part B.
const STEP_SECONDS: f64 = 5.0;
/// First publish rate of part B.
const FIRST_RATE: f64 = 10.0;
/// Growth below which part B ends.
const GROWTH_LEAST: f64 = 1.05;
/// Latency above which a rate of part B does not count, at p99.
const P99_MS_MAX: f64 = 1_000.0;
/// Metrics of the edge: events delivered, and sends that carried events.
const EVENTS_METRIC: &str = "interlink_edge_delivered_events_total";
const SENDS_METRIC: &str = "interlink_edge_fan_out_sends_total";
/// Wait for what is on its way after a step.
const DRAIN_SECONDS: f64 = 10.0;

/// Runs the scenario.
pub fn run(bench: &mut Bench, subscribers: u32) -> Result<()> {
    let edge = bench.start_edge(subscribers + 1, None)?;
    let mut generator = Series::default();
    part_a(bench, &edge, subscribers, &mut generator)?;
    part_b(bench, &edge, subscribers, &mut generator)?;
    bench.report.series("generator_cpu", &generator);
    Ok(())
}

/// Subscribers are clients 0 and up; the publisher comes last and does not subscribe.
fn traffic(bench: &Bench, edge: &EdgeServer, subscribers: u32) -> Result<Traffic> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..subscribers {
        let user = maker.user(&format!("u{client}"), &Grants::member(&[]))?;
        users.push(user.subscribe(CHANNEL));
    }
    users.push(maker.user("principal", &Grants::member(&["staff"]))?);
    let payload = Payload::new("inst", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    let template = Template::publish(&mut writer.encoder, CHANNEL, &payload)?;
    let mut traffic = Traffic::new(users, bench.options.seed);
    traffic.add_source([Route::new(subscribers, template, 1, 0..subscribers)]);
    Ok(traffic)
}

/// A slice of part A: sends, and what they cost.
struct Sends {
    usage: Usage,
    sends: u64,
    bytes_each: f64,
    publish_bytes: u32,
}

impl Sends {
    fn per_cpu_second(&self) -> f64 {
        self.sends as f64 / self.usage.server.cpu_s()
    }
}

fn part_a(
    bench: &mut Bench,
    edge: &EdgeServer,
    subscribers: u32,
    generator: &mut Series,
) -> Result<()> {
    let (mut ours, mut bare) = (Series::default(), Series::default());
    let mut wire_bytes = 0.0;
    for run in 1..=bench.repeats(REPEATS) {
        let sends = edge_sends(bench, edge, subscribers)?;
        wire_bytes = sends.bytes_each;
        let reference = bare_sends(bench, subscribers, &sends)?;
        bench.progress.say(format!(
            "A, run {run}: edge {:.0}, bare {:.0} sends for each CPU second",
            sends.per_cpu_second(),
            reference.per_cpu_second()
        ));
        ours.push(sends.per_cpu_second());
        bare.push(reference.per_cpu_second());
        for slice in [&sends, &reference] {
            generator.push(slice.usage.generator.cpu);
            if let Some(reason) = slice.usage.generator.void_reason(false) {
                bench.report.void(reason);
            }
        }
    }
    bench
        .report
        .series("ratio_to_bare_send", &paired_ratio(&ours, &bare));
    bench.report.goal("ratio_to_bare_send", Goal::AtLeast(0.95));
    bench.report.series("sends_per_cpu_second", &ours);
    bench.report.series("bare_sends_per_cpu_second", &bare);
    bench.report.number("wire_bytes_per_event", wire_bytes);
    Ok(())
}

fn edge_sends(bench: &mut Bench, edge: &EdgeServer, subscribers: u32) -> Result<Sends> {
    let mut traffic = traffic(bench, edge, subscribers)?;
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, subscribers + 1, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;
    let next = |traffic: &mut Traffic, link: &mut Link| {
        if traffic.is_settled() {
            traffic.offer_one(link, 0);
        }
        false
    };
    run_until(&mut fleet, &mut traffic, bench.options.warm_up, next)?;
    traffic.reset();
    let before = fleet.link().totals;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    run_until(&mut fleet, &mut traffic, bench.seconds(SECONDS), next)?;
    let usage = watch.end(fleet.link())?;
    let received = fleet.link().totals.received_bytes - before.received_bytes;
    let sends = traffic.classes[1].delivered;
    ensure!(
        sends > 0,
        "no event was delivered in {:.1} s; refusals by code: {}",
        usage.seconds,
        traffic.refusal_words()
    );
    ensure!(
        traffic.wrong == 0,
        "{} events came to the wrong client",
        traffic.wrong
    );
    let publish_bytes = traffic.publish_bytes(0) as u32;
    close_all(fleet)?;
    Ok(Sends {
        usage,
        sends,
        bytes_each: received as f64 / sends as f64,
        publish_bytes,
    })
}

fn bare_sends(bench: &mut Bench, subscribers: u32, sends: &Sends) -> Result<Sends> {
    let bytes_out = sends.bytes_each.round() as u32;
    let sockets = subscribers + 1;
    let (address, core) = (bench.bare_address(), bench.options.edge_core);
    let bare = BareServer::push(address, core, sockets, sends.publish_bytes, bytes_out)?;
    let mut fleet = bench.fleet(address, Greeting::Bare, sockets, UNFINISHED_MAX)?;
    let mut load = PushLoad::new(
        sends.publish_bytes,
        u64::from(bytes_out) * u64::from(sockets),
    );
    connect_all(bench, &mut fleet, &mut load)?;
    load.begin(fleet.link());
    run_for(&mut fleet, &mut load, bench.options.warm_up)?;
    load.rounds = 0;
    let watch = Watch::start(bare.pid(), core, fleet.link())?;
    run_for(&mut fleet, &mut load, bench.seconds(SECONDS))?;
    let usage = watch.end(fleet.link())?;
    let sends = Sends {
        usage,
        sends: load.rounds * u64::from(sockets),
        ..*sends
    };
    close_all(fleet)?;
    Ok(sends)
}

/// What one rate of part B gave.
struct Step {
    rate: f64,
    deliveries: f64,
    p99_ms: f64,
    frames_per_send: f64,
    usage: Usage,
    latency: Latency,
}

/// Events delivered and sends that carried them, as the edge counts them.
struct Carried {
    events: f64,
    sends: f64,
}

impl Carried {
    fn read(edge: &EdgeServer) -> Result<Self> {
        let text = edge.metrics()?;
        let read = |name| metric(&text, name).unwrap_or(0.0);
        Ok(Self {
            events: read(EVENTS_METRIC),
            sends: read(SENDS_METRIC),
        })
    }

    /// Frames of each send since `earlier`; not a number without sends.
    fn frames_per_send(&self, earlier: &Self) -> f64 {
        (self.events - earlier.events) / (self.sends - earlier.sends)
    }
}

fn part_b(
    bench: &mut Bench,
    edge: &EdgeServer,
    subscribers: u32,
    generator: &mut Series,
) -> Result<()> {
    let mut traffic = traffic(bench, edge, subscribers)?;
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, subscribers + 1, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;
    let step_seconds = bench.seconds(SECONDS).min(STEP_SECONDS);
    let mut steps: Vec<Step> = Vec::new();
    let mut rate = bench.options.rate.unwrap_or(FIRST_RATE);
    loop {
        let step = step(bench, edge, &mut fleet, &mut traffic, rate, step_seconds)?;
        let last = steps.last().map_or(0.0, |step| step.deliveries);
        let has_grown = step.deliveries >= last * GROWTH_LEAST;
        steps.push(step);
        if !has_grown {
            break;
        }
        rate *= 2.0;
    }
    let best = steps
        .iter()
        .filter(|step| step.p99_ms < P99_MS_MAX)
        .max_by(|first, second| first.deliveries.total_cmp(&second.deliveries))
        .map_or(FIRST_RATE, |step| step.rate);
    let mut runs = Vec::new();
    for _ in 0..bench.repeats(REPEATS) {
        let seconds = bench.seconds(SECONDS);
        runs.push(self::step(
            bench,
            edge,
            &mut fleet,
            &mut traffic,
            best,
            seconds,
        )?);
    }
    close_all(fleet)?;
    report_b(bench, &traffic, &runs, generator)
}

fn step(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    rate: f64,
    seconds: f64,
) -> Result<Step> {
    traffic.reset();
    let before = Carried::read(edge)?;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    traffic.open(0, rate, crate::sys::monotonic_ns());
    run_for(fleet, traffic, seconds)?;
    let usage = watch.end(fleet.link())?;
    let deliveries = traffic.classes[1].delivered as f64 / usage.seconds;
    traffic.pause();
    run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    let carried = Carried::read(edge)?;
    let latency = traffic.classes[1].delivery.clone();
    let step = Step {
        rate,
        deliveries,
        p99_ms: latency.percentile_ms(99.0),
        frames_per_send: carried.frames_per_send(&before),
        usage,
        latency,
    };
    bench.progress.say(format!(
        "B, {rate:.0} publishes/s: {deliveries:.0} deliveries/s, p99 {:.1} ms, {:.1} frames a \
         send, edge core {:.0} %, generator {:.0} %",
        step.p99_ms,
        step.frames_per_send,
        usage.core_busy * 100.0,
        usage.generator.cpu * 100.0
    ));
    Ok(step)
}

fn report_b(
    bench: &mut Bench,
    traffic: &Traffic,
    runs: &[Step],
    generator: &mut Series,
) -> Result<()> {
    let pick = |value: fn(&Step) -> f64| runs.iter().map(value).collect::<Series>();
    let deliveries = pick(|step| step.deliveries);
    bench.report.series("deliveries_per_second", &deliveries);
    bench
        .report
        .goal("deliveries_per_second", Goal::AtLeast(1_000_000.0));
    bench.report.series("p99_ms", &pick(|step| step.p99_ms));
    bench.report.goal("p99_ms", Goal::Below(P99_MS_MAX));
    bench
        .report
        .series("frames_per_send", &pick(|step| step.frames_per_send));
    bench.report.number(
        "publishes_per_second_offered",
        runs.last().map_or(0.0, |step| step.rate),
    );
    let totals = traffic.totals();
    bench.report.count("lost", traffic.classes[1].missing());
    bench.report.count("duplicated", totals.duplicated);
    bench.report.count("reordered", totals.reordered);
    let mut latency = Latency::new();
    for step in runs {
        latency.add(&step.latency);
        generator.push(step.usage.generator.cpu);
        if let Some(reason) = step.usage.generator.void_reason(false) {
            bench.report.void(format!("B: {reason}"));
        }
    }
    let limited_by = runs
        .last()
        .map_or("nothing", |step| step.usage.limited_by());
    bench.report.text("limited_by", limited_by);
    bench.latency("delivery", &latency, bench.seconds(SECONDS))
}
