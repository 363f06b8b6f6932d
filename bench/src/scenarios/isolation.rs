//! `run isolation`: alerts (P0) beside chat at half load, without and with background traffic
//! (P3) that is always ready on many connections.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::groups::{self, P1};
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::{Route, Traffic};
use super::users::{UserMaker, Users};
use super::watch::Watch;
use crate::cli::Groups;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Fleet, Greeting};
use crate::limits::WINDOW_MAX;
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::EdgeServer;
use crate::stats::{paired_ratio, Series};
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
const UNFINISHED_MAX: u32 = 500;
const DRAIN_SECONDS: f64 = 10.0;
/// Back ends that publish alerts; each has a credit of its own.
const SERVICES: u32 = 4;
const P0: usize = 0;
const P3: usize = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Alerts a second.
    pub alerts: f64,
    /// Connections with P3 always ready.
    pub background: u32,
}

/// Numbers of the sources.
struct Sources {
    chat: usize,
    alerts: usize,
    background: usize,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, groups: &Groups, wanted: Wanted) -> Result<()> {
    groups::check(groups)?;
    let clients = groups.users + SERVICES + wanted.background;
    let edge = bench.start_edge(clients, None)?;
    let mut traffic = Traffic::new(users(bench, &edge, groups, wanted)?, bench.options.seed);
    let sources = Sources {
        chat: traffic.add_source(groups::routes(bench, groups)?),
        alerts: traffic.add_source(alerts(bench, groups)?),
        background: traffic.add_source(background(bench, groups, wanted)?),
    };
    let mut fleet = bench.fleet(
        edge.config.listen,
        Greeting::Session,
        clients,
        UNFINISHED_MAX,
    )?;
    connect_all(bench, &mut fleet, &mut traffic)?;
    let half = match groups.half_load {
        Some(rate) => rate,
        None => {
            let found =
                groups::capacity(bench, edge.pid(), &mut fleet, &mut traffic, sources.chat)?;
            bench.report.number("capacity_per_second", found.per_second);
            found.per_second / 2.0
        }
    };
    bench.report.number("half_load_per_second", half);
    let mut phases = [Phase::default(), Phase::default()];
    for _ in 0..bench.repeats(REPEATS) {
        for (phase, has_background) in phases.iter_mut().zip([false, true]) {
            let now_ns = crate::sys::monotonic_ns();
            traffic.open(sources.chat, half, now_ns);
            traffic.open(sources.alerts, wanted.alerts, now_ns);
            if has_background {
                traffic.keep_window(sources.background, WINDOW_MAX, fleet.link());
            }
            measure(bench, &edge, &mut fleet, &mut traffic, phase)?;
            traffic.pause();
            run_until(&mut fleet, &mut traffic, DRAIN_SECONDS, |traffic, _| {
                traffic.is_settled()
            })?;
        }
    }
    report(bench, &phases, &traffic)?;
    close_all(fleet)
}

fn users(bench: &Bench, edge: &EdgeServer, groups: &Groups, wanted: Wanted) -> Result<Users> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..groups.users {
        let alerts = format!("alert.{}", groups::names(groups, client).0);
        users.push(groups::user(groups, &mut maker, client)?.subscribe(alerts));
    }
    for service in 0..SERVICES {
        users.push(maker.user(&format!("service{service}"), &Grants::member(&["service"]))?);
    }
    for number in 0..wanted.background {
        users.push(maker.user(&format!("reporter{number}"), &Grants::member(&[]))?);
    }
    Ok(users)
}

/// One route for each user's alerts, spread over the services.
fn alerts(bench: &Bench, groups: &Groups) -> Result<Vec<Route>> {
    let payload = Payload::new("alert", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    (0..groups.users)
        .map(|client| {
            let channel = format!("alert.{}", groups::names(groups, client).0);
            let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
            let service = groups.users + client % SERVICES;
            Ok(Route::new(service, template, P0, client..client + 1))
        })
        .collect()
}

fn background(bench: &Bench, groups: &Groups, wanted: Wanted) -> Result<Vec<Route>> {
    let payload = Payload::new("usage", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    (0..wanted.background)
        .map(|number| {
            let channel = format!("usage.1.reporter{number}");
            let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
            let client = groups.users + SERVICES + number;
            Ok(Route::new(client, template, P3, 0..0))
        })
        .collect()
}

/// What the runs of one phase gave.
#[derive(Default)]
struct Phase {
    p0_p99_ms: Series,
    chat_p99_ms: Series,
    background_per_second: Series,
    generator_cpu: Series,
    core_busy: Series,
    alerts: Latency,
    limited_by: &'static str,
}

fn measure(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    phase: &mut Phase,
) -> Result<()> {
    run_for(fleet, traffic, bench.options.warm_up)?;
    traffic.reset();
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    run_for(fleet, traffic, bench.seconds(SECONDS))?;
    let usage = watch.end(fleet.link())?;
    let (p0, p1) = (&traffic.classes[P0].delivery, &traffic.classes[P1].delivery);
    ensure!(p0.count() > 0, "no alert was delivered");
    let background = traffic.classes[P3].accepted as f64 / usage.seconds;
    bench.progress.say(format!(
        "P0 p99 {:.3} ms, chat p99 {:.3} ms, P3 {background:.0}/s, edge core {:.0} %",
        p0.percentile_ms(99.0),
        p1.percentile_ms(99.0),
        usage.core_busy * 100.0
    ));
    phase.p0_p99_ms.push(p0.percentile_ms(99.0));
    phase.chat_p99_ms.push(p1.percentile_ms(99.0));
    phase.background_per_second.push(background);
    phase.generator_cpu.push(usage.generator.cpu);
    phase.core_busy.push(usage.core_busy);
    phase.alerts.add(p0);
    phase.limited_by = usage.limited_by();
    if let Some(reason) = usage.generator.void_reason(true) {
        bench.report.void(reason);
    }
    Ok(())
}

fn report(bench: &mut Bench, phases: &[Phase; 2], traffic: &Traffic) -> Result<()> {
    let [calm, loaded] = phases;
    let report = &mut bench.report;
    report.series(
        "p0_p99_ratio",
        &paired_ratio(&loaded.p0_p99_ms, &calm.p0_p99_ms),
    );
    report.goal("p0_p99_ratio", Goal::AtMost(1.2));
    report.count("p0_lost", traffic.classes[P0].missing());
    report.goal("p0_lost", Goal::Exactly(0.0));
    report.count("p0_refused", traffic.classes[P0].refused_in_all);
    report.series("p0_p99_ms_without_p3", &calm.p0_p99_ms);
    report.series("p0_p99_ms_with_p3", &loaded.p0_p99_ms);
    report.series("chat_p99_ms_without_p3", &calm.chat_p99_ms);
    report.series("chat_p99_ms_with_p3", &loaded.chat_p99_ms);
    report.series("p3_acks_per_second", &loaded.background_per_second);
    report.series("edge_core_busy_with_p3", &loaded.core_busy);
    report.series("generator_cpu", &loaded.generator_cpu);
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    report.number("wire_bytes_per_event", traffic.publish_bytes(0) as f64);
    report.text("limited_by", loaded.limited_by);
    let seconds = bench.seconds(SECONDS) * f64::from(bench.repeats(REPEATS));
    bench.latency("p0_without_p3", &calm.alerts, seconds)?;
    bench.latency("p0_with_p3", &loaded.alerts, seconds)
}
