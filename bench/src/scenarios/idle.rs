//! `run idle`: memory of idle sessions, heartbeats, then one broadcast to all.
//!
//! The edge opens all its rings at the start, so that what it uses afterwards belongs to the
//! sessions. Each subscribes to its user, a class of 30 and the institution. With TLS the memory of
//! its sessions is in the sum.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::settle::{close_all, run_until, Counted};
use super::traffic::{Route, Traffic};
use super::transport::Transport;
use super::users::{UserMaker, Users};
use super::watch::Watch;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Fleet, Greeting};
use crate::limits::SLOTS_PER_RING;
use crate::measure::process::{anonymous_bytes, threads_off_core};
use crate::report::{Goal, Report};
use crate::servers::EdgeServer;
use anyhow::Result;
use interlink_uring::EdgeRing;

const SECONDS: f64 = 90.0;
const UNFINISHED_MAX: u32 = 2_000;
/// Students of a class.
const CLASS_SIZE: u32 = 30;
/// Longest set-up, for each 1,000 sessions, and at least.
const CONNECT_S_PER_THOUSAND: f64 = 1.0;
const CONNECT_S_LEAST: f64 = 30.0;
/// Wait for the broadcast to reach everybody.
const BROADCAST_SECONDS: f64 = 30.0;
/// Time between the edge being ready and the first look at its memory.
const REST_SECONDS: f64 = 2.0;
const CHANNEL: &str = "inst.1";
const P1: usize = 1;
/// User memory of a session, in plaintext and with TLS.
const BYTES_MAX: f64 = 512.0;
const BYTES_MAX_TLS: f64 = 6_144.0;

/// Runs the scenario.
pub fn run(bench: &mut Bench, sessions: u32, tls: bool) -> Result<()> {
    let rings = sessions.div_ceil(SLOTS_PER_RING) + 1;
    let transport = Transport::prepare(bench, tls)?;
    let edge = bench.start_edge_with(sessions, |config| {
        config.rings_at_start = Some(rings);
        config.tls = transport.files();
    })?;
    let mut traffic = traffic(bench, &edge, sessions)?;
    let mut fleet = bench.fleet_over(
        transport.client(),
        &[edge.config.listen],
        Greeting::Session,
        sessions,
        UNFINISHED_MAX,
    )?;
    run_until(&mut fleet, &mut traffic, REST_SECONDS, |_, _| false)?;
    let empty_bytes = anonymous_bytes(edge.pid())?;
    connect(bench, &mut fleet, &mut traffic, sessions)?;
    let live = fleet.link().live();
    let connected_bytes = anonymous_bytes(edge.pid())?;
    bench.progress.say(format!("{live} sessions are live"));

    let before = fleet.link().totals;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    let seconds = bench.seconds(SECONDS);
    run_until(&mut fleet, &mut traffic, seconds, |_, _| false)?;
    let usage = watch.end(fleet.link())?;
    let bytes = anonymous_bytes(edge.pid())?;
    let after = fleet.link().totals;
    let alive = fleet.link().live();

    let report = &mut bench.report;
    report.count("sessions", u64::from(live));
    report.goal("sessions", Goal::Exactly(f64::from(sessions)));
    let memory = [empty_bytes, connected_bytes, bytes];
    report_memory(report, memory, live, transport.is_secure());
    report.count("heartbeats_answered", after.heartbeats - before.heartbeats);
    report.number("edge_cpu_share_idle", usage.server.cpu_s() / usage.seconds);
    report.number("generator_cpu", usage.generator.cpu);
    report.text("limited_by", usage.limited_by());
    let (threads, off_core) = threads_off_core(edge.pid(), bench.options.edge_core)?;
    report.count("edge_threads", threads as u64);
    report.count("edge_threads_off_core", off_core as u64);

    broadcast(bench, &mut fleet, &mut traffic, sessions)?;
    let lost = u64::from(sessions - live.min(sessions)) + u64::from(live - alive);
    let lost = lost.max(traffic.ends().count);
    bench.report.count("lost_sessions", lost);
    bench.report.goal("lost_sessions", Goal::Exactly(0.0));
    if let Some(cause) = traffic.ends().first {
        bench
            .report
            .note(format!("the first session to end did so by {cause:?}"));
    }
    close_all(fleet)
}

/// Adds the server's memory without sessions, when they are live, and after the rest.
fn report_memory(report: &mut Report, memory: [u64; 3], live: u32, is_secure: bool) {
    let [empty, connected, rested] = memory;
    let each = |bytes: u64| (bytes as f64 - empty as f64) / f64::from(live.max(1));
    report.number("server_user_bytes_per_session", each(rested));
    let most = if is_secure { BYTES_MAX_TLS } else { BYTES_MAX };
    report.goal("server_user_bytes_per_session", Goal::AtMost(most));
    report.number("server_user_bytes_per_session_at_once", each(connected));
    report.count("server_user_bytes_without_sessions", empty);
}

/// Client 0 is the member of staff who broadcasts.
fn traffic(bench: &Bench, edge: &EdgeServer, sessions: u32) -> Result<Traffic> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..sessions {
        let class = format!("c{}", client / CLASS_SIZE);
        let roles: &[&str] = if client == 0 { &["staff"] } else { &[] };
        let grants = Grants {
            classes: vec![class.clone()],
            ..Grants::member(roles)
        };
        let name = format!("u{client}");
        let user = maker
            .user(&name, &grants)?
            .subscribe(format!("user.{name}"))
            .subscribe(format!("class.{class}"))
            .subscribe(CHANNEL);
        users.push(user);
    }
    let payload = Payload::new("inst", bench.options.payload)?;
    let mut writer = FrameWriter::new(bench.options.seed);
    let template = Template::publish(&mut writer.encoder, CHANNEL, &payload)?;
    let mut traffic = Traffic::new(users, bench.options.seed);
    traffic.add_source([Route::new(0, template, P1, 0..sessions)]);
    Ok(traffic)
}

/// Connects everybody; those that fail are lost, which is a result and no error.
fn connect(
    bench: &mut Bench,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    sessions: u32,
) -> Result<()> {
    (0..sessions).for_each(|client| fleet.link().connect(client));
    let seconds = CONNECT_S_LEAST.max(f64::from(sessions) / 1000.0 * CONNECT_S_PER_THOUSAND);
    let mut shown = 0;
    run_until(fleet, traffic, seconds, |traffic, link| {
        if link.live() >= shown + 5_000 {
            shown = link.live();
            bench.progress.update(format!("{shown} of {sessions} live"));
        }
        u64::from(link.live()) + traffic.ends().count >= u64::from(sessions)
    })?;
    Ok(())
}

fn broadcast(
    bench: &mut Bench,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    sessions: u32,
) -> Result<()> {
    traffic.reset();
    let before = fleet.link().totals;
    traffic.offer_one(fleet.link(), 0);
    run_until(fleet, traffic, BROADCAST_SECONDS, |traffic, _| {
        traffic.classes[P1].delivered >= u64::from(sessions)
    })?;
    let received = fleet.link().totals.received_bytes - before.received_bytes;
    let class = &traffic.classes[P1];
    let missed = u64::from(sessions).saturating_sub(class.delivered);
    bench.report.count("broadcast_missed", missed);
    bench.report.goal("broadcast_missed", Goal::Exactly(0.0));
    bench
        .report
        .count("broadcast_duplicated", traffic.totals().duplicated);
    bench
        .report
        .number("broadcast_ms", class.delivery.percentile_ms(100.0));
    bench.report.number(
        "wire_bytes_per_event",
        received as f64 / class.delivered.max(1) as f64,
    );
    let latency = class.delivery.clone();
    bench.latency("broadcast", &latency, BROADCAST_SECONDS)
}
