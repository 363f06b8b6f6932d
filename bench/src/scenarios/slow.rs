//! `run slow`: chat at half load beside channels of all classes that are busy, without and with
//! clients that subscribe to these and stop reading; then they read again.
//!
//! The busy channels are published to in both phases, so that only those who do not read make the
//! difference. A stalled client misses more than sockets and logs hold and less than history
//! keeps. After the last phase they stay stalled until the node has closed them.
//!
//! Runs on: the bench's main thread; slow clients read on a thread of their own.

use super::bench::Bench;
use super::groups::{self, P1};
use super::settle::{close_all, connect_all, run_for, run_until};
use super::slow_reader::{Findings, Followed, SlowReader};
use super::traffic::{Route, Traffic};
use super::users::{UserMaker, Users};
use super::watch::Watch;
use crate::cli::Groups;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::{Grants, Signer};
use crate::engine::{Fleet, Greeting};
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::{http, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{anyhow, ensure, Result};
use interlink_protocol::ids::InstanceId;
use interlink_uring::EdgeRing;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
const UNFINISHED_MAX: u32 = 500;
const DRAIN_SECONDS: f64 = 10.0;
/// Longest wait until the node has closed those who do not read: two of its write timeouts and a
/// half, since a probe of a closed window may find room once more.
const CUT_SECONDS: f64 = 75.0;
/// Back ends that publish alerts and reports.
const SERVICES: u32 = 4;
/// Connections of one user that stall.
const CONNECTIONS_EACH: u32 = 20;
/// Events of a busy channel in one phase: three times what a log keeps, and less than history.
const EVENTS: f64 = 800.0;
/// Payload of the busy channels, in bytes: sockets hold about a hundred such events.
const BUSY_BYTES: usize = 2_048;
/// Payload of the conflated channel, below what its namespace allows.
const CURSOR_BYTES: usize = 900;
/// Conflation keys of the conflated channel.
const KEYS: usize = 10;
const BUSY: &str = "busy";
const CHAT: &str = "chat.busy~slow";
const ACTIVITY: &str = "activity.busy";
const AWARENESS: &str = "collab-awareness.slow";
const REPORT: &str = "report.1.slow";

/// Sources of the load, and what each offers in a second.
struct Sources {
    chat: usize,
    busy: Vec<(usize, f64)>,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, groups: &Groups, stalled: u32) -> Result<()> {
    groups::check(groups)?;
    ensure!(stalled >= 1, "--stalled must be at least 1");
    let clients = groups.users + SERVICES + 1;
    let edge = bench.start_edge(clients + 2 * stalled, None)?;
    let signer = edge.signer()?;
    let users = users(bench, &signer, groups)?;
    let mut traffic = Traffic::new(users, bench.options.seed);
    let sources = sources(bench, &mut traffic, groups, stalled)?;
    let listen = edge.config.listen;
    let mut fleet = bench.fleet(listen, Greeting::Session, clients, UNFINISHED_MAX)?;
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
    let mut readers = readers(bench, &edge, &signer, stalled)?;
    let mut phases = [Phase::default(), Phase::default()];
    let mut memory = Memory::default();
    let repeats = bench.repeats(REPEATS);
    for repeat in 1..=repeats {
        for (phase, is_stalled) in phases.iter_mut().zip([false, true]) {
            if is_stalled {
                readers = aside(&mut fleet, &mut traffic, readers, SlowReader::begin)?;
            }
            let now_ns = crate::sys::monotonic_ns();
            traffic.open(sources.chat, half, now_ns);
            for (source, rate) in &sources.busy {
                traffic.open(*source, *rate, now_ns);
            }
            measure(bench, &edge, &mut fleet, &mut traffic, phase)?;
            memory.look(&edge)?;
            traffic.pause();
            run_until(&mut fleet, &mut traffic, DRAIN_SECONDS, |traffic, _| {
                traffic.is_settled()
            })?;
            if is_stalled {
                if repeat == repeats {
                    wait_for_cut(bench, &edge, &mut fleet, &mut traffic, stalled)?;
                    memory.look(&edge)?;
                }
                readers = aside(&mut fleet, &mut traffic, readers, SlowReader::read_again)?;
            }
        }
    }
    report(bench, &phases, &traffic, &memory)?;
    let mut findings = Findings::default();
    readers
        .iter()
        .for_each(|reader| reader.add_to(&mut findings));
    report_slow(bench, &edge, &findings)?;
    close_all(fleet)
}

/// Lets `act` run for all slow clients on a thread, while the fleet is served.
fn aside(
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    mut readers: Vec<SlowReader>,
    act: fn(&mut SlowReader) -> Result<()>,
) -> Result<Vec<SlowReader>> {
    let thread = std::thread::spawn(move || {
        let done = readers.iter_mut().try_for_each(act);
        done.map(|()| readers)
    });
    fleet.run(traffic, |_, _| thread.is_finished())?;
    let ended = thread.join();
    ended.map_err(|_| anyhow!("the thread of the slow clients has panicked"))?
}

fn users(bench: &Bench, signer: &Signer, groups: &Groups) -> Result<Users> {
    let mut maker = UserMaker::new(signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..groups.users {
        users.push(groups::user(groups, &mut maker, client)?);
    }
    for service in 0..SERVICES {
        users.push(maker.user(&format!("service{service}"), &Grants::member(&["service"]))?);
    }
    // Who publishes by a subscription token has to subscribe.
    let busy = maker.user(BUSY, &Grants::member(&[]))?;
    users.push(busy.subscribe_by_token(AWARENESS, signer)?);
    Ok(users)
}

/// The chat, and one source for each busy channel, or for all inboxes.
fn sources(bench: &Bench, traffic: &mut Traffic, groups: &Groups, stalled: u32) -> Result<Sources> {
    let seconds = bench.options.warm_up + bench.seconds(SECONDS);
    let rate = EVENTS / seconds.max(0.1);
    let mut writer = FrameWriter::new(bench.options.seed);
    let mut route = |publisher: u32, channel: &str, class: usize| {
        let namespace = channel.split('.').next().unwrap_or_default();
        let payload = Payload::new(namespace, BUSY_BYTES)?;
        let template = Template::publish(&mut writer.encoder, channel, &payload)?;
        anyhow::Ok(Route::new(publisher, template, class, 0..0))
    };
    let (service, busy) = (groups.users, groups.users + SERVICES);
    let owners = stalled.div_ceil(CONNECTIONS_EACH);
    let alerts: Result<Vec<Route>> = (0..owners)
        .map(|owner| {
            route(
                service + owner % SERVICES,
                &format!("alert.{}", name(owner)),
                0,
            )
        })
        .collect();
    let chat = traffic.add_source(groups::routes(bench, groups)?);
    let alerts = traffic.add_source(alerts?);
    let single = [
        route(busy, CHAT, 1)?,
        route(busy, ACTIVITY, 2)?,
        route(service, REPORT, 3)?,
    ];
    let single = single.map(|route| traffic.add_source([route]));
    let cursors = traffic.add_source(cursors(bench, busy)?);
    let mut all = vec![(alerts, rate * f64::from(owners)), (cursors, rate)];
    all.extend(single.map(|source| (source, rate)));
    Ok(Sources { chat, busy: all })
}

/// One route for each conflation key; their publisher gets the events, too.
fn cursors(bench: &Bench, busy: u32) -> Result<Vec<Route>> {
    let mut writer = FrameWriter::new(bench.options.seed);
    let payload = Payload {
        event_type: 0,
        ..Payload::new("chat", CURSOR_BYTES)?
    };
    (0..KEYS)
        .map(|key| {
            let key = format!("cursor {key}");
            let encoder = &mut writer.encoder;
            let template = Template::publish_keyed(encoder, AWARENESS, &payload, Some(&key))?;
            Ok(Route::new(busy, template, 2, busy..busy + 1))
        })
        .collect()
}

fn name(owner: u32) -> String {
    format!("slow{owner}")
}

fn readers(
    bench: &Bench,
    edge: &EdgeServer,
    signer: &Signer,
    stalled: u32,
) -> Result<Vec<SlowReader>> {
    let mut instances = StdRng::seed_from_u64(bench.options.seed ^ crate::sys::monotonic_ns());
    (0..stalled)
        .map(|number| {
            let user = name(number / CONNECTIONS_EACH);
            let by_token = |channel: &str, class| {
                let token = signer.subscription(&user, channel)?;
                anyhow::Ok(Followed::new(channel, class, Some(token)))
            };
            let channels = vec![
                Followed::new(format!("alert.{user}"), 0, None),
                by_token(CHAT, 1)?,
                by_token(ACTIVITY, 2)?,
                by_token(AWARENESS, 2)?,
                Followed::new(REPORT, 3, None),
            ];
            let token = signer.user(&user, &Grants::member(&["staff"]))?;
            let instance = InstanceId(instances.random());
            Ok(SlowReader::new(
                edge.config.listen,
                token,
                instance,
                channels,
            ))
        })
        .collect()
}

/// Waits until the node has closed every stalled client.
fn wait_for_cut(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    stalled: u32,
) -> Result<()> {
    let mut closed = 0.0;
    let started_ns = crate::sys::monotonic_ns();
    while closed < f64::from(stalled) {
        let waited_s = (crate::sys::monotonic_ns() - started_ns) as f64 / 1e9;
        if waited_s > CUT_SECONDS {
            break;
        }
        run_for(fleet, traffic, 0.5)?;
        closed = slow_closes(&edge.metrics()?);
        bench
            .progress
            .update(format!("{closed:.0} of {stalled} closed"));
    }
    bench.report.number("cut_off", closed);
    Ok(())
}

fn slow_closes(metrics: &str) -> f64 {
    let lines = metrics.lines();
    let slow = lines.filter(|line| {
        line.starts_with("interlink_edge_close_frames_total{") && line.contains("\"slow_client\"")
    });
    slow.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Memory of the node against its plan, at the end of each phase.
#[derive(Default)]
struct Memory {
    most: f64,
    plan: f64,
    blocked: f64,
    /// The last metrics text.
    text: String,
}

impl Memory {
    fn look(&mut self, edge: &EdgeServer) -> Result<()> {
        self.text = edge.metrics()?;
        let value = |name| http::metric(&self.text, name).unwrap_or(f64::NAN);
        let used = value("process_resident_anonymous_memory_bytes");
        // A number that is missing is no proof.
        self.most = if used.is_nan() {
            used
        } else {
            self.most.max(used)
        };
        self.plan = value("interlink_edge_memory_plan_bytes");
        self.blocked = self
            .blocked
            .max(value("interlink_edge_connections_blocked"));
        Ok(())
    }
}

/// What the runs of one phase gave.
#[derive(Default)]
struct Phase {
    p99_ms: Series,
    generator_cpu: Series,
    core_busy: Series,
    chat: Latency,
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
    let chat = &traffic.classes[P1].delivery;
    ensure!(chat.count() > 0, "no chat message was delivered");
    bench.progress.say(format!(
        "chat p99 {:.3} ms, edge core {:.0} %",
        chat.percentile_ms(99.0),
        usage.core_busy * 100.0
    ));
    phase.p99_ms.push(chat.percentile_ms(99.0));
    phase.generator_cpu.push(usage.generator.cpu);
    phase.core_busy.push(usage.core_busy);
    phase.chat.add(chat);
    phase.limited_by = usage.limited_by();
    if let Some(reason) = usage.generator.void_reason(true) {
        bench.report.void(reason);
    }
    Ok(())
}

fn report(
    bench: &mut Bench,
    phases: &[Phase; 2],
    traffic: &Traffic,
    memory: &Memory,
) -> Result<()> {
    let [calm, stalled] = phases;
    let report = &mut bench.report;
    let ratio = paired_ratio(&stalled.p99_ms, &calm.p99_ms);
    report.series("others_p99_ratio", &ratio);
    report.goal("others_p99_ratio", Goal::AtMost(1.2));
    let is_within = memory.most <= memory.plan;
    report.count("memory_within_plan", u64::from(is_within));
    report.goal("memory_within_plan", Goal::Exactly(1.0));
    report.number("memory_bytes", memory.most);
    report.number("memory_plan_bytes", memory.plan);
    report.number("blocked_connections_max", memory.blocked);
    report.series("others_p99_ms_without_stalled", &calm.p99_ms);
    report.series("others_p99_ms_with_stalled", &stalled.p99_ms);
    report.count("others_lost", traffic.classes[P1].missing());
    report.series("edge_core_busy_without_stalled", &calm.core_busy);
    report.series("edge_core_busy_with_stalled", &stalled.core_busy);
    report.series("generator_cpu", &stalled.generator_cpu);
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    report.number("wire_bytes_per_event", traffic.publish_bytes(0) as f64);
    report.text("limited_by", stalled.limited_by);
    let seconds = bench.seconds(SECONDS) * f64::from(bench.repeats(REPEATS));
    bench.latency("others_without_stalled", &calm.chat, seconds)?;
    bench.latency("others_with_stalled", &stalled.chat, seconds)
}

fn report_slow(bench: &mut Bench, edge: &EdgeServer, found: &Findings) -> Result<()> {
    let metrics = edge.metrics()?;
    let report = &mut bench.report;
    report.count("durable_lost", found.durable_lost);
    report.goal("durable_lost", Goal::Exactly(0.0));
    report.count("unreported_gaps", found.unreported_gaps);
    report.goal("unreported_gaps", Goal::Exactly(0.0));
    report.count("duplicates_in_session", found.duplicates);
    report.count("resumed", found.resumed);
    report.count("not_continued", found.not_continued);
    for class in 0..4 {
        report.count(&format!("p{class}_received"), found.received[class]);
        report.count(&format!("p{class}_counted"), found.announced[class]);
    }
    for (name, metric) in [
        ("overruns", "interlink_edge_overruns_total"),
        ("conflated_events", "interlink_edge_conflated_events_total"),
        ("skipped_events", "interlink_edge_skipped_events_total"),
        ("closes_unsent", "interlink_edge_close_frames_unsent_total"),
    ] {
        report.number(name, http::metric(&metrics, metric).unwrap_or(f64::NAN));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_of_slow_clients_are_counted_alone() {
        let text = "# TYPE interlink_edge_close_frames_total counter\n\
            interlink_edge_close_frames_total{shard=\"0\",code=\"slow_client\"} 3\n\
            interlink_edge_close_frames_total{shard=\"1\",code=\"slow_client\"} 4\n\
            interlink_edge_close_frames_total{shard=\"0\",code=\"draining\"} 9\n";
        assert_eq!(slow_closes(text), 7.0);
    }
}
