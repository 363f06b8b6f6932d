//! Frames of made-up nodes.

use flatbuffers::FlatBufferBuilder;
use interlink_wire::event_types;
use interlink_wire::events::{
    ClassSummary, ClassSummaryArgs, NodeFinding, NodeFindingArgs, NodeHealth, NodePhase,
    NodeStatus, NodeStatusArgs, NodeSummary, NodeSummaryArgs, RefusalCount, RefusalCountArgs,
};

use super::frame::{draw, Tone};
use super::model::{Model, HISTORY};

const STARTED_MS: u64 = 1_900_000_000_000;

/// A summary of two seconds in which `publishes` events were published and delivered tenfold.
fn summary(node: &str, at_s: u64, publishes: u64) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let classes = [0, 1, 2, 3].map(|class| {
        let part = if class == 1 { publishes } else { 0 };
        let args = ClassSummaryArgs {
            publishes: part,
            acknowledged: part,
            refused: part / 100,
            delivered: part * 10,
            skipped: 0,
            ack_p50_us: 2_100 * u32::from(class == 1),
            ack_p99_us: 5_800 * u32::from(class == 1),
            delivery_p50_us: 640 * u32::from(class == 1),
            delivery_p99_us: 12_000_000 * u32::from(class == 1),
            lane_depth: class * 3,
        };
        ClassSummary::create(&mut builder, &args)
    });
    let classes = Some(builder.create_vector(&classes));
    let code = Some(builder.create_string("overloaded"));
    let refusal = RefusalCount::create(&mut builder, &RefusalCountArgs { code, count: 24 });
    let refusals = Some(builder.create_vector(&[refusal]));
    let busy = Some(builder.create_vector(&[824_u16, 960]));
    let node = Some(builder.create_string(node));
    let args = NodeSummaryArgs {
        node,
        started_at_ms: STARTED_MS,
        measured_at_ms: STARTED_MS + at_s * 1_000,
        interval_ms: 2_000,
        phase: NodePhase::Ready,
        health: NodeHealth::Degraded,
        connections: 12_345,
        sessions: 12_400,
        subscriptions: 36_000,
        accepted: 24,
        closed: 16,
        classes,
        refusals,
        bytes_in: 2 << 20,
        bytes_out: 20 << 20,
        journal_bytes: 6 << 20,
        journal_syncs: 902,
        sync_p99_us: 2_100,
        journal_waiting_bytes: 12 << 10,
        journal_used_bytes: 72,
        journal_quota_bytes: 100,
        cpu_user_us: 1_800_000,
        cpu_system_us: 1_040_000,
        resident_bytes: 512 << 20,
        plan_bytes: 1_331 << 20,
        shard_busy_permille: busy,
    };
    let root = NodeSummary::create(&mut builder, &args);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn status(node: &str, changed_s: u64, finding: Option<(&str, &str)>) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let findings: Vec<_> = finding
        .iter()
        .map(|(name, detail)| {
            let name = Some(builder.create_string(name));
            let detail = Some(builder.create_string(detail));
            let health = NodeHealth::Degraded;
            let args = NodeFindingArgs {
                name,
                health,
                detail,
            };
            NodeFinding::create(&mut builder, &args)
        })
        .collect();
    let findings = Some(builder.create_vector(&findings));
    let node = Some(builder.create_string(node));
    let version = Some(builder.create_string("0.1.0"));
    let args = NodeStatusArgs {
        node,
        started_at_ms: STARTED_MS,
        changed_at_ms: STARTED_MS + changed_s * 1_000,
        phase: NodePhase::Ready,
        health: match finding {
            Some(_) => NodeHealth::Degraded,
            None => NodeHealth::Healthy,
        },
        findings,
        version,
    };
    let root = NodeStatus::create(&mut builder, &args);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn take_summary(model: &mut Model, node: &str, at_s: u64, publishes: u64) {
    let payload = summary(node, at_s, publishes);
    model.take(event_types::NODE_SUMMARY, &payload, at_s * 1_000);
}

fn take_status(model: &mut Model, node: &str, at_s: u64, finding: Option<(&str, &str)>) {
    model.take(event_types::NODE_STATUS, &status(node, at_s, finding), 0);
}

fn text(model: &Model, now_ms: u64, width: usize, height: usize) -> Vec<String> {
    let lines = draw(model, now_ms, width, height);
    lines.iter().map(|line| line.text()).collect()
}

#[test]
fn a_frame_shows_rates_latencies_and_changes_on_80_by_24() {
    let mut model = Model::default();
    take_status(&mut model, "north-1", 1, None);
    take_status(
        &mut model,
        "north-1",
        7,
        Some(("journal_quota", "72 % used")),
    );
    for second in 0..8 {
        take_summary(&mut model, "north-1", 11_520 + second, 1_000 * second);
    }
    let now_ms = 11_528_000;
    let frame = text(&model, now_ms, 80, 24);
    let expected = "\
interlink top  north-1  ready, degraded  up 3h12m  0.1.0

connections  12,345  (+12/s -8/s)   12,400 sessions   36,000 subscriptions
network      in 1.0 MiB/s   out 10.0 MiB/s
cpu, memory  142 % (user 90, system 52)   512 MiB of 1.3 GiB planned
shards busy  0 82 %  1 96 %  

class publish/s    ack/s refuse/s deliver/s   skip/s   ack p50/p99   dlv p50/p99
p0            0        0        0         0        0             -             -
p1        3,500    3,500       35    35,000        0   2.1ms/5.8ms     640us/12s
p2            0        0        0         0        0             -             -
p3            0        0        0         0        0             -             -

journal      3.0 MiB/s   451 syncs/s, p99 2.1ms   12.0 KiB waiting   quota 72 %
lanes        18 entries wait
refusals     overloaded 12/s

publishes/s                                                 ▁▂▃▄▅▆▇█ max 3,500
deliveries/s                                                ▁▂▃▄▅▆▇█ max 35,000
dlv p99                                                     ████████ max 12s

17:46:47 north-1 ready, degraded: journal_quota: 72 % used
17:46:41 north-1 ready, healthy
q quit";
    assert_eq!(frame.join("\n"), expected);
}

#[test]
fn a_frame_fits_every_size() {
    let mut model = Model::default();
    for second in 0..2 * HISTORY as u64 {
        take_status(
            &mut model,
            "a",
            second,
            Some(("memory", &"much ".repeat(40))),
        );
        take_summary(&mut model, "a", second, second * 1_000_000);
        take_summary(&mut model, "b", second, 1);
    }
    for (width, height) in [(1, 1), (20, 5), (80, 24), (200, 60)] {
        let frame = text(&model, 0, width, height);
        assert_eq!(frame.len(), height);
        for line in &frame {
            assert!(line.chars().count() <= width, "{line}");
        }
        assert!(text(&Model::default(), 0, width, height).len() <= height);
    }
    let node = &model.nodes["a"];
    assert_eq!(node.published.len(), HISTORY);
}

#[test]
fn a_node_that_went_silent_is_marked() {
    let mut model = Model::default();
    take_summary(&mut model, "a", 100, 1);
    let title = |now_ms| draw(&model, now_ms, 80, 24)[0].clone();
    assert!(!title(104_999).text().contains("silent"));
    let silent = title(109_000);
    assert!(silent.text().contains("silent for 9s"));
    assert!(silent.0.iter().any(|part| part.0 == Tone::Bad));
}

#[test]
fn the_key_goes_through_all_nodes() {
    let mut model = Model::default();
    model.select_next();
    for node in ["a", "b"] {
        take_summary(&mut model, node, 1, 1);
    }
    let shown = |model: &Model| model.shown().map(|(name, _)| name.clone());
    assert_eq!(shown(&model).as_deref(), Some("a"));
    model.select_next();
    assert_eq!(shown(&model).as_deref(), Some("b"));
    model.select_next();
    assert_eq!(shown(&model).as_deref(), Some("a"));
    assert!(text(&model, 0, 80, 24)[0].contains("(1 of 2)"));
}

#[test]
fn a_state_that_is_told_again_is_no_change() {
    let mut model = Model::default();
    take_status(&mut model, "a", 5, None);
    take_status(&mut model, "a", 5, None);
    take_status(&mut model, "b", 5, None);
    assert_eq!(model.changes.len(), 2);
}

#[test]
fn what_a_peer_sends_cannot_reach_the_terminal_as_control() {
    let mut model = Model::default();
    take_status(&mut model, "a\x1b[2J", 5, Some(("x\x07", "\x1b]0;y\x07")));
    take_summary(&mut model, "a\x1b[2J", 1, 1);
    model.take(event_types::NODE_SUMMARY, b"no flatbuffer", 0);
    for line in text(&model, 0, 120, 30) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
