//! The per-second summary of `sys.metrics`, from two looks at the totals.
//!
//! Pure: totals in, bytes out. Runs on: the control thread.

use flatbuffers::{FlatBufferBuilder, WIPOffset};
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_wire::events::{
    ClassSummary, ClassSummaryArgs, NodeHealth, NodeSummary, NodeSummaryArgs, RefusalCount,
    RefusalCountArgs,
};

use super::totals::Totals;
use super::Facts;
use crate::server::Phase;
use crate::telemetry::latency::Snapshot;

/// Refusal codes in a summary: the most frequent ones say what is wrong.
pub(super) const REFUSALS_MAX: usize = 8;

/// What one second was like, as the payload of `node_summary`.
pub(super) fn encode(
    facts: &Facts,
    (phase, health): (Phase, NodeHealth),
    (before, now): (&Totals, &Totals),
) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let node = Some(builder.create_string(&facts.node));
    let classes = Priority::ALL.map(|class| class_summary(&mut builder, class, before, now));
    let classes = Some(builder.create_vector(&classes));
    let refusals = refusals(&mut builder, before, now);
    let refusals = Some(builder.create_vector(&refusals));
    let busy = Some(builder.create_vector(&now.busy_permille(before)));
    let cpu_us = |now: f64, before: f64| ((now - before).max(0.0) * 1e6) as u32;
    let (process, process_before) = (&now.process, &before.process);
    let args = NodeSummaryArgs {
        node,
        started_at_ms: facts.started_at_ms,
        measured_at_ms: now.at_ms,
        interval_ms: now.at_ms.saturating_sub(before.at_ms) as u32,
        phase: super::wire_phase(phase),
        health,
        connections: now.connections as u32,
        sessions: now.sessions as u32,
        subscriptions: now.subscriptions as u32,
        accepted: now.accepted.saturating_sub(before.accepted) as u32,
        closed: now.closed.saturating_sub(before.closed) as u32,
        classes,
        refusals,
        bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
        bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
        journal_bytes: now.journal_bytes.saturating_sub(before.journal_bytes),
        journal_syncs: now.journal_syncs.saturating_sub(before.journal_syncs) as u32,
        sync_p99_us: quantiles(&before.syncs, &now.syncs).1,
        journal_waiting_bytes: now.journal_waiting_bytes,
        journal_used_bytes: now.journal_used_bytes,
        journal_quota_bytes: now.journal_quota_bytes,
        cpu_user_us: cpu_us(process.user_s, process_before.user_s),
        cpu_system_us: cpu_us(process.system_s, process_before.system_s),
        resident_bytes: process.resident,
        plan_bytes: facts.plan_bytes,
        shard_busy_permille: busy,
    };
    let root = NodeSummary::create(&mut builder, &args);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn class_summary<'b>(
    builder: &mut FlatBufferBuilder<'b>,
    class: Priority,
    before: &Totals,
    now: &Totals,
) -> WIPOffset<ClassSummary<'b>> {
    let index = class.index();
    let (old, new) = (&before.classes[index], &now.classes[index]);
    let ack = quantiles(&before.acks[index], &now.acks[index]);
    let delivery = quantiles(&before.deliveries[index], &now.deliveries[index]);
    let args = ClassSummaryArgs {
        publishes: new.publishes.saturating_sub(old.publishes),
        acknowledged: new.acknowledged.saturating_sub(old.acknowledged),
        refused: new.refused.saturating_sub(old.refused),
        delivered: new.delivered.saturating_sub(old.delivered),
        skipped: new.skipped.saturating_sub(old.skipped),
        ack_p50_us: ack.0,
        ack_p99_us: ack.1,
        delivery_p50_us: delivery.0,
        delivery_p99_us: delivery.1,
        lane_depth: new.lane_depth as u32,
    };
    ClassSummary::create(builder, &args)
}

fn refusals<'b>(
    builder: &mut FlatBufferBuilder<'b>,
    before: &Totals,
    now: &Totals,
) -> Vec<WIPOffset<RefusalCount<'b>>> {
    let counts = now.refusals.iter().zip(&before.refusals);
    let mut grown: Vec<(u64, ErrorCode)> = counts
        .zip(ErrorCode::ALL)
        .map(|((now, before), code)| (now.saturating_sub(*before), code))
        .filter(|(count, _)| *count > 0)
        .collect();
    grown.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    grown.truncate(REFUSALS_MAX);
    let mut entry = |(count, code): (u64, ErrorCode)| {
        let code = Some(builder.create_string(code.name()));
        RefusalCount::create(builder, &RefusalCountArgs { code, count })
    };
    grown.into_iter().map(&mut entry).collect()
}

/// Median and 99th percentile of what came between two looks, 0 when nothing came.
fn quantiles(before: &Snapshot, now: &Snapshot) -> (u32, u32) {
    let recent = now.since(before);
    let at = |quantile| recent.value_at_quantile(quantile) as u32;
    match recent.is_empty() {
        true => (0, 0),
        false => (at(0.5), at(0.99)),
    }
}
