//! `run echo`: CPU of an echoed message, beside a bare ring that moves the same bytes.
//!
//! Two paths are measured, each interleaved with its own baseline: the codec path (WebSocket
//! echo) and the full path (a publish to the own ephemeral channel and its event back). The bare
//! ring gets as many bytes in and sends as many bytes out as the edge did.
//!
//! Each connection has one message under way. A first closed loop shows what a message costs the
//! generator and how many a second each server takes; all measured runs, edge and bare, are then
//! paced so that all three keep a part of their core free. A generator at its limit would be what
//! is measured, and a server at its limit has every connection waiting, so that each message
//! finds its socket in no cache, while the other server's are still there.
//!
//! With TLS both paths are sealed and the bare ring moves as many bytes as the records have; a last
//! run of each path, beside those that count, is profiled.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::echo_load::{Drive, EchoLoad, Path};
use super::profiled;
use super::settle::{close_all, connect_all, run_for};
use super::transport::Transport;
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::bare::Script;
use crate::engine::payload::Payload;
use crate::engine::schedule::Schedule;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::Greeting;
use crate::measure::{Latency, Profile, Profiler};
use crate::report::Goal;
use crate::servers::{BareServer, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{ensure, Result};
use std::net::SocketAddr;

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
const UNFINISHED_MAX: u32 = 1_000;
/// Length of the closed loop that finds the pace.
const CALIBRATION_SECONDS: f64 = 3.0;
/// Share of its core that the generator may use in measured runs.
const GENERATOR_SHARE: f64 = 0.80;
/// Share of the slower server's closed loop at which both are measured.
const SERVER_SHARE: f64 = 0.75;

/// A server and how it is spoken to.
#[derive(Clone, Copy)]
struct Target<'a> {
    transport: Option<&'a Transport>,
    address: SocketAddr,
    pid: u32,
    greeting: Greeting,
    connections: u32,
}

/// How messages of a slice are driven, before its time is known.
#[derive(Clone, Copy)]
enum Pace {
    Closed,
    Paced(f64),
    Open(f64),
}

impl Pace {
    fn start(self) -> Drive {
        let now_ns = crate::sys::monotonic_ns();
        match self {
            Self::Closed => Drive::Closed,
            Self::Paced(rate) => Drive::Paced(Schedule::new(now_ns, rate)),
            Self::Open(rate) => Drive::Open(Schedule::new(now_ns, rate)),
        }
    }
}

/// What the closed loop showed.
struct Calibrated {
    pace: Pace,
    /// Messages a second of the edge.
    of_edge: f64,
    /// Messages a second of the bare ring.
    of_bare: f64,
}

/// One measured slice.
struct Slice {
    usage: Usage,
    messages: u64,
    latency: Latency,
    bytes_out: f64,
    bytes_back: f64,
    refused: u64,
    /// Where the server's CPU went, if that was wanted.
    profile: Option<Result<Profile, String>>,
}

/// What is gathered over the runs of one path.
#[derive(Default)]
struct Gathered {
    cpu_us: Series,
    core_us: Series,
    bare_cpu_us: Series,
    bare_core_us: Series,
    per_second: Series,
    latency: Latency,
    generator_cpu: Series,
    wire_bytes: f64,
    refused: u64,
    limited_by: &'static str,
    /// Messages a second of edge and bare ring in the closed loop.
    closed_loop: Option<(f64, f64)>,
    profile: Option<Result<Profile, String>>,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, connections: u32, tls: bool) -> Result<()> {
    let transport = Transport::prepare(bench, tls)?;
    let mut edge = bench.start_conformance(transport.files())?;
    let target = target(&edge, &transport, Greeting::WebSocket, connections);
    let codec = measure(bench, target, |bench| {
        Ok(Path::Codec(Template::message(bench.options.payload)))
    })?;
    edge.stop();
    drop(edge);
    report(bench, "codec_", &codec);
    let edge = bench.start_edge_with(connections, |config| config.tls = transport.files())?;
    let target = self::target(&edge, &transport, Greeting::Session, connections);
    let full = measure(bench, target, |bench| full_path(bench, &edge, connections))?;
    report(bench, "", &full);
    if !tls {
        // They are what WebSocket and sessions may cost beside the kernel's work.
        let report = &mut bench.report;
        report.goal("codec_cpu_ratio_to_bare_ring", Goal::AtMost(1.15));
        report.goal("cpu_ratio_to_bare_ring", Goal::AtMost(1.30));
    }
    bench.report.number("wire_bytes_per_event", full.wire_bytes);
    bench.report.text("limited_by", full.limited_by);
    Ok(())
}

fn target<'a>(
    edge: &EdgeServer,
    transport: &'a Transport,
    greeting: Greeting,
    connections: u32,
) -> Target<'a> {
    Target {
        transport: Some(transport),
        address: edge.config.listen,
        pid: edge.pid(),
        greeting,
        connections,
    }
}

fn full_path(bench: &Bench, edge: &EdgeServer, connections: u32) -> Result<Path> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut writer = FrameWriter::new(bench.options.seed);
    let payload = Payload::new("activity", bench.options.payload)?;
    let mut users = Users::default();
    let mut templates = Vec::new();
    for client in 0..connections {
        let name = format!("u{client}");
        let channel = format!("activity.{name}");
        templates.push(Template::publish(&mut writer.encoder, &channel, &payload)?);
        users.push(maker.user(&name, &Grants::member(&[]))?.subscribe(channel));
    }
    Ok(Path::Full { templates, users })
}

/// Runs one path and its baseline in turns; with TLS once more, profiled.
fn measure(
    bench: &mut Bench,
    target: Target<'_>,
    path: impl Fn(&Bench) -> Result<Path>,
) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let Target {
        greeting,
        connections,
        ..
    } = target;
    let seconds = bench.seconds(SECONDS);
    let pace = match bench.options.rate {
        Some(rate) => Pace::Open(rate),
        None => {
            let first = path(bench)?;
            let found = calibrate(bench, target, first, seconds.min(CALIBRATION_SECONDS))?;
            gathered.closed_loop = Some((found.of_edge, found.of_bare));
            found.pace
        }
    };
    for run in 1..=bench.repeats(REPEATS) {
        let slice = self::slice(bench, target, path(bench)?, pace, seconds, false)?;
        gathered.wire_bytes = slice.bytes_out + slice.bytes_back;
        let bare = bare_slice(bench, connections, &slice, pace, seconds)?;
        let is_full = greeting == Greeting::Session;
        bench.progress.say(format!(
            "{} path, run {run}: edge {:.2} us, bare {:.2} us CPU a message, {:.0}/s, generator \
             {:.0} and {:.0} %",
            if is_full { "full" } else { "codec" },
            slice.usage.cpu_us_each(slice.messages),
            bare.usage.cpu_us_each(bare.messages),
            slice.messages as f64 / slice.usage.seconds,
            slice.usage.generator.cpu * 100.0,
            bare.usage.generator.cpu * 100.0
        ));
        note(bench, &mut gathered, &slice, &bare);
    }
    if target.transport.is_some_and(Transport::is_secure) {
        let seconds = seconds.min(profiled::SECONDS);
        let slice = self::slice(bench, target, path(bench)?, pace, seconds, true)?;
        gathered.profile = slice.profile;
    }
    Ok(gathered)
}

/// The pace at which neither generator nor edge nor bare ring is at its limit.
fn calibrate(
    bench: &mut Bench,
    target: Target<'_>,
    path: Path,
    seconds: f64,
) -> Result<Calibrated> {
    let edge = slice(bench, target, path, Pace::Closed, seconds, false)?;
    let bare = bare_slice(bench, target.connections, &edge, Pace::Closed, seconds)?;
    let cost =
        |slice: &Slice| slice.usage.generator.cpu * slice.usage.seconds / slice.messages as f64;
    let per_second = |slice: &Slice| slice.messages as f64 / slice.usage.seconds;
    let (of_edge, of_bare) = (per_second(&edge), per_second(&bare));
    let rate = (GENERATOR_SHARE / cost(&edge).max(cost(&bare)))
        .min(SERVER_SHARE * of_edge)
        .min(SERVER_SHARE * of_bare);
    bench.progress.say(format!(
        "closed loop: edge {of_edge:.0}/s, bare {of_bare:.0}/s; measured runs are paced at \
         {rate:.0}/s at most"
    ));
    Ok(Calibrated {
        pace: Pace::Paced(rate),
        of_edge,
        of_bare,
    })
}

fn note(bench: &mut Bench, gathered: &mut Gathered, slice: &Slice, bare: &Slice) {
    gathered
        .cpu_us
        .push(slice.usage.cpu_us_each(slice.messages));
    gathered
        .core_us
        .push(slice.usage.core_us_each(slice.messages));
    gathered
        .bare_cpu_us
        .push(bare.usage.cpu_us_each(bare.messages));
    gathered
        .bare_core_us
        .push(bare.usage.core_us_each(bare.messages));
    gathered
        .per_second
        .push(slice.messages as f64 / slice.usage.seconds);
    gathered.generator_cpu.push(slice.usage.generator.cpu);
    gathered.latency.add(&slice.latency);
    gathered.refused += slice.refused;
    gathered.limited_by = slice.usage.limited_by();
    for (usage, who) in [(&slice.usage, "edge"), (&bare.usage, "bare")] {
        if let Some(reason) = usage.generator.void_reason(bench.options.rate.is_some()) {
            bench.report.void(format!("{who} run: {reason}"));
        }
    }
}

fn bare_slice(
    bench: &mut Bench,
    connections: u32,
    slice: &Slice,
    pace: Pace,
    seconds: f64,
) -> Result<Slice> {
    let bytes_out = slice.bytes_out.round() as u32;
    let bytes_back = slice.bytes_back.round() as u32;
    let script = Script::repeated(bytes_out, bytes_back);
    let bare = BareServer::exchange(bench.bare_address(), bench.options.edge_core, &script)?;
    let (address, pid) = (bare.address, bare.pid());
    let target = Target {
        transport: None,
        address,
        pid,
        greeting: Greeting::Bare,
        connections,
    };
    let path = Path::Bare {
        bytes_out: bytes_out as usize,
        bytes_back,
    };
    self::slice(bench, target, path, pace, seconds, false)
}

/// Connects, warms up, measures and closes.
fn slice(
    bench: &mut Bench,
    target: Target<'_>,
    path: Path,
    pace: Pace,
    seconds: f64,
    is_profiled: bool,
) -> Result<Slice> {
    let connections = target.connections;
    let mut fleet = bench.fleet_over(
        target.transport.and_then(Transport::client),
        &[target.address],
        target.greeting,
        connections,
        UNFINISHED_MAX,
    )?;
    let mut load = EchoLoad::new(path, connections);
    connect_all(bench, &mut fleet, &mut load)?;
    let profiler = is_profiled.then(|| Profiler::start(target.pid, bench.folder()));
    load.begin(fleet.link(), pace.start());
    run_for(&mut fleet, &mut load, bench.options.warm_up)?;
    load.reset();
    let before = fleet.link().totals;
    let watch = Watch::start(target.pid, bench.options.edge_core, fleet.link())?;
    run_for(&mut fleet, &mut load, seconds)?;
    let usage = watch.end(fleet.link())?;
    let profile = profiler.map(|started| started.and_then(Profiler::finish));
    let after = fleet.link().totals;
    ensure!(
        load.done > 0,
        "no message came back within {:.1} s",
        usage.seconds
    );
    ensure!(
        load.wrong == 0,
        "{} answers were not those that were due",
        load.wrong
    );
    let slice = Slice {
        usage,
        messages: load.done,
        latency: load.latency,
        bytes_out: (after.sent_bytes - before.sent_bytes) as f64 / load.done as f64,
        bytes_back: (after.received_bytes - before.received_bytes) as f64 / load.done as f64,
        refused: load.refused,
        profile,
    };
    close_all(fleet)?;
    Ok(slice)
}

fn report(bench: &mut Bench, prefix: &str, gathered: &Gathered) {
    let report = &mut bench.report;
    let name = |words: &str| format!("{prefix}{words}");
    let ratio = paired_ratio(&gathered.cpu_us, &gathered.bare_cpu_us);
    report.series(&name("cpu_ratio_to_bare_ring"), &ratio);
    let core_ratio = paired_ratio(&gathered.core_us, &gathered.bare_core_us);
    report.series(&name("core_ratio_to_bare_ring"), &core_ratio);
    report.series(&name("cpu_us_per_message"), &gathered.cpu_us);
    report.series(&name("bare_cpu_us_per_message"), &gathered.bare_cpu_us);
    report.series(&name("messages_per_second"), &gathered.per_second);
    if let Some((of_edge, of_bare)) = gathered.closed_loop {
        report.number(&name("closed_loop_per_second"), of_edge);
        report.number(&name("bare_closed_loop_per_second"), of_bare);
    }
    report.series(&name("generator_cpu"), &gathered.generator_cpu);
    report.latency(&name("round_trip"), &gathered.latency);
    if gathered.refused > 0 {
        report.note(format!("{} publishes were refused", gathered.refused));
    }
    if let Some(profile) = &gathered.profile {
        profiled::report(bench, prefix, profile);
    }
}
