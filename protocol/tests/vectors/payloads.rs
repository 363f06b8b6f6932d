//! Payloads of the core event types.

use flatbuffers::FlatBufferBuilder;
use interlink_protocol::registry::Registry;
use interlink_wire::events::*;

use super::committed;

/// Builds one payload.
macro_rules! payload {
    ($table:ident, $args:ident, |$builder:ident| { $($field:ident: $value:expr),+ $(,)? }) => {{
        let mut $builder = FlatBufferBuilder::new();
        let args = $args { $($field: $value),+ };
        let root = $table::create(&mut $builder, &args);
        $builder.finish_minimal(root);
        $builder.finished_data().to_vec()
    }};
}

/// Name of the type and version, and a payload with every field set.
fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut payloads = people();
    payloads.extend(courses());
    payloads.extend(data());
    payloads.extend(nodes());
    payloads
}

fn nodes() -> Vec<(&'static str, Vec<u8>)> {
    let mut b = FlatBufferBuilder::new();
    let finding = NodeFindingArgs {
        name: Some(b.create_string("journal_quota")),
        health: NodeHealth::Degraded,
        detail: Some(b.create_string("72 % of the journal's quota used")),
    };
    let findings = [NodeFinding::create(&mut b, &finding)];
    let args = NodeStatusArgs {
        node: Some(b.create_string("north-1")),
        started_at_ms: 1_900_000_000_000,
        changed_at_ms: 1_900_000_060_000,
        phase: NodePhase::Ready,
        health: NodeHealth::Degraded,
        findings: Some(b.create_vector(&findings)),
        version: Some(b.create_string("0.1.0")),
    };
    let root = NodeStatus::create(&mut b, &args);
    b.finish_minimal(root);
    let status = b.finished_data().to_vec();
    vec![("node_status", status), ("node_summary", node_summary())]
}

fn node_summary() -> Vec<u8> {
    let mut b = FlatBufferBuilder::new();
    let classes = [0, 1, 2, 3].map(|class| {
        let args = ClassSummaryArgs {
            publishes: 100 + class,
            acknowledged: 90 + class,
            refused: 10 + class,
            delivered: 1_000 + class,
            skipped: 1 + class,
            ack_p50_us: 2_100,
            ack_p99_us: 5_800,
            delivery_p50_us: 640,
            delivery_p99_us: 1_200,
            lane_depth: 3,
        };
        ClassSummary::create(&mut b, &args)
    });
    let refusal = RefusalCountArgs {
        code: Some(b.create_string("overloaded")),
        count: 12,
    };
    let refusals = [RefusalCount::create(&mut b, &refusal)];
    let args = NodeSummaryArgs {
        node: Some(b.create_string("north-1")),
        started_at_ms: 1_900_000_000_000,
        measured_at_ms: 1_900_000_060_000,
        interval_ms: 1_000,
        phase: NodePhase::Ready,
        health: NodeHealth::Degraded,
        connections: 12_345,
        sessions: 12_400,
        subscriptions: 36_000,
        accepted: 12,
        closed: 8,
        classes: Some(b.create_vector(&classes)),
        refusals: Some(b.create_vector(&refusals)),
        bytes_in: 1 << 20,
        bytes_out: 10 << 20,
        journal_bytes: 3 << 20,
        journal_syncs: 451,
        sync_p99_us: 2_100,
        journal_waiting_bytes: 12 << 10,
        journal_used_bytes: 12 << 30,
        journal_quota_bytes: 16 << 30,
        cpu_user_us: 900_000,
        cpu_system_us: 520_000,
        resident_bytes: 512 << 20,
        plan_bytes: 1 << 30,
        shard_busy_permille: Some(b.create_vector(&[824_u16, 201])),
    };
    let root = NodeSummary::create(&mut b, &args);
    b.finish_minimal(root);
    b.finished_data().to_vec()
}

fn people() -> Vec<(&'static str, Vec<u8>)> {
    let authentication = payload!(Authentication, AuthenticationArgs, |b| {
        user: Some(b.create_string("ada")),
        outcome: AuthenticationOutcome::Failed,
        device: Some(b.create_string("tablet-7")),
        address: Some(b.create_string("192.0.2.7")),
        detail: Some(b.create_string("wrong password")),
    });
    let security_alert = payload!(SecurityAlert, SecurityAlertArgs, |b| {
        rule: Some(b.create_string("many-failures")),
        severity: Severity::Urgent,
        summary: Some(b.create_string("40 failed sign-ins")),
        subject: Some(b.create_string("ada")),
        link: Some(b.create_string("https://example.org/alerts/1")),
    });
    let mut b = FlatBufferBuilder::new();
    let mentions = [b.create_string("bob"), b.create_string("eve")];
    let args = ChatMessageArgs {
        text: Some(b.create_string("good morning")),
        attachment: Some(b.create_vector(&[1u8, 2, 3])),
        attachment_type: Some(b.create_string("image/png")),
        reply_to: Some(b.create_string("5d4294488fae81928e03db76a56f30eb")),
        mentions: Some(b.create_vector(&mentions)),
    };
    let root = ChatMessage::create(&mut b, &args);
    b.finish_minimal(root);
    let chat_message = b.finished_data().to_vec();
    let notification = payload!(Notification, NotificationArgs, |b| {
        kind: Some(b.create_string("grade-posted")),
        title: Some(b.create_string("Your essay was graded")),
        body: Some(b.create_string("Well done.")),
        link: Some(b.create_string("https://example.org/essay")),
    });
    let presence_status = payload!(PresenceStatus, PresenceStatusArgs, |b| {
        user: Some(b.create_string("ada")),
        state: PresenceState::Busy,
        note: Some(b.create_string("in class")),
    });
    let user_action = payload!(UserAction, UserActionArgs, |b| {
        user: Some(b.create_string("ada")),
        action: Some(b.create_string("opened")),
        object: Some(b.create_string("chapter-3")),
    });
    vec![
        ("authentication", authentication),
        ("security_alert", security_alert),
        ("chat_message", chat_message),
        ("notification", notification),
        ("presence_status", presence_status),
        ("user_action", user_action),
    ]
}

fn courses() -> Vec<(&'static str, Vec<u8>)> {
    let announcement = payload!(Announcement, AnnouncementArgs, |b| {
        title: Some(b.create_string("Snow")),
        body: Some(b.create_string("School is closed today.")),
        expires_at_ms: 1_900_000_000_000,
        link: Some(b.create_string("https://example.org/snow")),
    });
    let course_update = payload!(CourseUpdate, CourseUpdateArgs, |b| {
        course: Some(b.create_string("algebra-1")),
        change: CourseChange::Schedule,
        summary: Some(b.create_string("Room 12 instead of 14")),
        effective_at_ms: 1_900_000_000_000,
    });
    let assignment = payload!(Assignment, AssignmentArgs, |b| {
        assignment: Some(b.create_string("essay-1")),
        course: Some(b.create_string("history")),
        state: AssignmentState::Graded,
        title: Some(b.create_string("Essay")),
        due_at_ms: 1_900_000_000_000,
        student: Some(b.create_string("ada")),
    });
    vec![
        ("announcement", announcement),
        ("course_update", course_update),
        ("assignment", assignment),
    ]
}

fn data() -> Vec<(&'static str, Vec<u8>)> {
    let usage_sample = payload!(UsageSample, UsageSampleArgs, |b| {
        metric: Some(b.create_string("page-load")),
        value: 12.5,
        unit: Some(b.create_string("ms")),
        measured_at_ms: 1_900_000_000_000,
        subject: Some(b.create_string("home")),
    });
    let data_record_changed = payload!(DataRecordChanged, DataRecordChangedArgs, |b| {
        collection: Some(b.create_string("grades")),
        key: Some(b.create_string("ada/essay-1")),
        change: DataChange::Deleted,
        revision: 8,
    });
    let operation = payload!(CollaborationOperation, CollaborationOperationArgs, |b| {
        document: Some(b.create_string("document-9")),
        base_revision: 41,
        operation: Some(b.create_vector(&[9u8, 8, 7])),
        replica: 3,
    });
    vec![
        ("usage_sample", usage_sample),
        ("data_record_changed", data_record_changed),
        ("collaboration_operation", operation),
    ]
}

#[test]
fn payloads_of_released_versions_are_still_accepted() {
    let registry = Registry::core();
    let options = flatbuffers::VerifierOptions::default();
    let mut names: Vec<&str> = Vec::new();
    for (name, fresh) in all() {
        let golden = committed(&format!("payload-{name}.bin"), &fresh);
        assert!(
            fresh == golden,
            "payload-{name}.bin is not what the encoder writes"
        );
        let event_type = registry.iter().find(|event_type| event_type.name == name);
        let event_type = event_type.unwrap_or_else(|| panic!("{name} is not registered"));
        let verify = event_type.verify.expect("core types have a form");
        verify(&options, &golden).unwrap_or_else(|error| panic!("{name}: {error}"));
        names.push(name);
    }
    for event_type in registry.iter() {
        assert!(
            names.contains(&event_type.name.as_str()),
            "{} has no payload",
            event_type.name
        );
    }
}

#[test]
fn a_released_chat_message_says_what_it_said() {
    let chat = all().into_iter().find(|(name, _)| *name == "chat_message");
    let (_, fresh) = chat.expect("a chat message is among the payloads");
    let golden = committed("payload-chat_message.bin", &fresh);
    let message = flatbuffers::root::<ChatMessage<'_>>(&golden).expect("a chat message");
    assert_eq!(message.text(), "good morning");
    assert_eq!(
        message.attachment().map(|bytes| bytes.bytes()),
        Some(&[1u8, 2, 3][..])
    );
    assert_eq!(
        message.mentions().map(|users| users.iter().collect()),
        Some(vec!["bob", "eve"])
    );
}
