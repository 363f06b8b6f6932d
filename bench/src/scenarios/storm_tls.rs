//! `run storm --tls`: set-ups with full TLS handshakes, and with handshakes that continue a session
//! by its ticket.
//!
//! Rounds of both kinds take turns. A full round leaves one ticket for each client, and a round
//! that continues sessions uses each once. At the end one round of each kind is profiled, beside
//! those that count.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::issuer::Issuer;
use super::profiled;
use super::storm::{round, users, Plan, Round, Target, ROUNDS, ROUND_SECONDS};
use super::storm_load::StormLoad;
use super::transport::Secure;
use crate::engine::token::Signer;
use crate::measure::Latency;
use crate::servers::http;
use crate::stats::Series;
use anyhow::Result;

/// Counts handshakes of the edge by kind, full ones first.
const HANDSHAKES: [&str; 2] = [
    "interlink_edge_tls_full_handshakes_total",
    "interlink_edge_tls_resumed_handshakes_total",
];

/// What is gathered of the rounds of one kind.
#[derive(Default)]
struct Kind {
    per_second: Series,
    cpu_us: Series,
    core_us: Series,
    generator: Series,
    setup: Latency,
    wire_bytes: f64,
    limited_by: &'static str,
}

impl Kind {
    fn note(&mut self, bench: &mut Bench, round: &Round, sessions: u32) {
        self.per_second.push(round.per_second);
        self.cpu_us.push(round.cpu_us_each);
        let core_us = round.usage.core_us_each(u64::from(sessions));
        self.core_us.push(core_us);
        self.generator.push(round.usage.generator.cpu);
        self.setup.add(&round.setup);
        self.wire_bytes = f64::from(round.bytes.total());
        self.limited_by = round.usage.limited_by();
        if let Some(reason) = round.usage.generator.void_reason(false) {
            bench.report.void(reason);
        }
    }

    fn report(&self, bench: &mut Bench, name: &str) -> Result<()> {
        let report = &mut bench.report;
        report.series(&format!("{name}_handshakes_per_second"), &self.per_second);
        report.series(&format!("{name}_cpu_us_per_session"), &self.cpu_us);
        report.series(&format!("{name}_core_us_per_session"), &self.core_us);
        report.series(&format!("{name}_generator_cpu"), &self.generator);
        report.number(&format!("{name}_wire_bytes"), self.wire_bytes);
        bench.latency(&format!("{name}_setup"), &self.setup, ROUND_SECONDS)
    }
}

/// Who takes part in every round.
struct Stage<'a> {
    plan: Plan,
    secure: Secure,
    target: Target,
    signer: &'a Signer,
}

impl Stage<'_> {
    /// One round; its handshakes are all of the wanted kind, or the result is void.
    fn round(&self, bench: &mut Bench, is_resumed: bool, is_profiled: bool) -> Result<Round> {
        let sessions = self.plan.sessions;
        self.secure.tickets.set_used(is_resumed);
        let load = StormLoad::sessions(users(bench, self.signer, sessions)?);
        let target = Target {
            is_profiled,
            ..self.target.clone()
        };
        let round = round(bench, &target, load, self.plan.unfinished)?;
        let wanted = if is_resumed { sessions } else { 0 };
        if round.resumed != wanted {
            let resumed = round.resumed;
            bench.report.void(format!(
                "{resumed} of {sessions} handshakes continued a session, {wanted} were wanted"
            ));
        }
        Ok(round)
    }
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, plan: Plan, issuer: &Issuer) -> Result<()> {
    let sessions = plan.sessions;
    let secure = Secure::prepare(bench, 1, sessions as usize)?;
    let rounds = bench.repeats(ROUNDS);
    // A session outlives its connection, so every round's sessions exist at the end.
    let mut edge = bench.start_edge_with(sessions * 2 * (rounds + 1), |config| {
        config.tls = Some(secure.certificates.files());
        config.keys = issuer.keys();
    })?;
    let signer = issuer.signer(&mut edge)?;
    let target = Target {
        tls: Some(secure.client.clone()),
        ..Target::of(&edge)
    };
    let stage = Stage {
        plan,
        secure,
        target,
        signer: &signer,
    };
    let (mut full, mut resumed) = (Kind::default(), Kind::default());
    for number in 1..=rounds {
        for (kind, is_resumed) in [(&mut full, false), (&mut resumed, true)] {
            let round = stage.round(bench, is_resumed, false)?;
            bench.progress.say(format!(
                "round {number}, {}: {:.0} sessions/s, {:.1} us CPU each, generator {:.0} %",
                if is_resumed { "resumed" } else { "full" },
                round.per_second,
                round.cpu_us_each,
                round.usage.generator.cpu * 100.0
            ));
            kind.note(bench, &round, sessions);
        }
    }
    full.report(bench, "full")?;
    resumed.report(bench, "resumed")?;
    bench.report.number("wire_bytes_per_event", full.wire_bytes);
    bench.report.series("generator_cpu", &full.generator);
    bench.report.text("limited_by", full.limited_by);
    for (prefix, is_resumed) in [("full_", false), ("resumed_", true)] {
        if let Some(profile) = &stage.round(bench, is_resumed, true)?.profile {
            profiled::report(bench, prefix, profile);
        }
    }
    let metrics = edge.metrics()?;
    for (name, metric) in ["edge_full_handshakes", "edge_resumed_handshakes"]
        .iter()
        .zip(HANDSHAKES)
    {
        let count = http::metric(&metrics, metric).unwrap_or(f64::NAN);
        bench.report.number(name, count);
    }
    Ok(())
}
