//! `run fanout`: one channel with many subscribers.
//!
//! Part A publishes the next event when every subscriber has the last, and after a rest that
//! keeps the generator below its limit (see `rounds`), so that each send carries
//! one frame, and compares sends for each CPU second with a loop of plain `send`. Part B doubles
//! the publish rate until deliveries grow by less than 5 %, so that frames coalesce, then
//! measures the best rate in repeated runs.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::fanout_ramp;
use super::push_load::PushLoad;
use super::rounds::Rounds;
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::{Route, Traffic};
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Greeting, Link};
use crate::report::Goal;
use crate::servers::{BareServer, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{ensure, Result};

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
/// Clients between first byte and live at once.
pub const UNFINISHED_MAX: u32 = 1_000;
const CHANNEL: &str = "inst.1";

/// Runs the scenario.
pub fn run(bench: &mut Bench, subscribers: u32) -> Result<()> {
    let edge = bench.start_edge(subscribers + 1, None)?;
    let mut generator = Series::default();
    part_a(bench, &edge, subscribers, &mut generator)?;
    fanout_ramp::run(bench, &edge, subscribers, &mut generator)?;
    bench.report.series("generator_cpu", &generator);
    Ok(())
}

/// Subscribers are clients 0 and up; the publisher comes last and does not subscribe.
pub fn traffic(bench: &Bench, edge: &EdgeServer, subscribers: u32) -> Result<Traffic> {
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
    let mut rounds = Rounds::default();
    let mut next = |traffic: &mut Traffic, link: &mut Link| {
        if traffic.is_settled() && rounds.may_begin(link.now_ns) {
            traffic.offer_one(link, 0);
            rounds.begin(link.now_ns);
        }
        false
    };
    run_until(&mut fleet, &mut traffic, bench.options.warm_up, &mut next)?;
    traffic.reset();
    let before = fleet.link().totals;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    run_until(&mut fleet, &mut traffic, bench.seconds(SECONDS), &mut next)?;
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
