//! What the module promises, one test a promise.

use super::*;
use crate::claims::{Claims, PackedClaims};
use crate::ErrorCode::{NotPermitted, SubscriptionTokenRequired};

fn claims(user: &str, roles: &[&str]) -> PackedClaims {
    let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    PackedClaims::pack(&Claims {
        user: user.into(),
        institution: "north".into(),
        departments: list(&["maths"]),
        classes: list(&["algebra", "north.logic"]),
        roles: list(roles),
        expires_at_s: 0,
    })
    .unwrap()
}

type Answer = Result<(), crate::ErrorCode>;

fn ask(channel: &str, who: &PackedClaims, grant: bool) -> (Answer, Answer) {
    let namespaces = Namespaces::defaults();
    let channel = ChannelName::parse(channel).unwrap();
    let policy = namespaces.lookup(&channel).unwrap();
    (
        permit_subscribe(policy, &channel, who, grant),
        permit_publish(policy, &channel, who, grant),
    )
}

const NO: Answer = Err(NotPermitted);
const TOKEN: Answer = Err(SubscriptionTokenRequired);

/// One line a case: channel, student, teacher and service, each (subscribe, publish).
#[test]
fn the_shipped_table_permits_what_it_says() {
    let [student, teacher, service] =
        ["student", "teacher", "service"].map(|role| claims("ada", &[role]));
    let yes = Ok(());
    for (channel, expected) in [
        ("inst.north", [(yes, NO), (yes, yes), (yes, yes)]),
        ("inst.south", [(NO, NO), (NO, NO), (NO, yes)]),
        ("inst.north.x", [(NO, NO), (NO, NO), (NO, yes)]),
        ("dept.north.maths", [(yes, NO), (yes, yes), (yes, yes)]),
        ("dept.north.arts", [(NO, NO), (NO, NO), (NO, yes)]),
        ("dept.south.maths", [(NO, NO), (NO, NO), (NO, yes)]),
        ("dept.north", [(NO, NO), (NO, NO), (NO, yes)]),
        ("class.algebra", [(yes, NO), (yes, yes), (yes, yes)]),
        ("class.north.logic", [(yes, NO), (yes, yes), (yes, yes)]),
        ("class.geometry", [(NO, NO), (NO, NO), (NO, yes)]),
        ("chat.ada~bob", [(yes, yes), (yes, yes), (yes, yes)]),
        ("chat.bob~ada", [(yes, yes), (yes, yes), (yes, yes)]),
        (
            "chat.bob~eve",
            [(TOKEN, TOKEN), (TOKEN, TOKEN), (TOKEN, TOKEN)],
        ),
        ("chat.ada", [(TOKEN, TOKEN), (TOKEN, TOKEN), (TOKEN, TOKEN)]),
        (
            "collab.d1",
            [(TOKEN, TOKEN), (TOKEN, TOKEN), (TOKEN, TOKEN)],
        ),
        (
            "collab-awareness.d1",
            [(TOKEN, TOKEN), (TOKEN, TOKEN), (TOKEN, TOKEN)],
        ),
        ("user.ada", [(yes, NO), (yes, NO), (yes, yes)]),
        ("user.bob", [(NO, NO), (NO, NO), (NO, yes)]),
        ("alert.ada", [(yes, NO), (yes, NO), (yes, yes)]),
        ("alert.bob", [(NO, NO), (NO, NO), (NO, yes)]),
        ("activity.ada", [(yes, yes), (yes, yes), (yes, yes)]),
        ("activity.bob", [(TOKEN, NO), (TOKEN, NO), (TOKEN, NO)]),
        ("presence.inst.north", [(yes, yes), (yes, yes), (yes, yes)]),
        (
            "presence.class.algebra",
            [(yes, yes), (yes, yes), (yes, yes)],
        ),
        (
            "presence.dept.north.maths",
            [(yes, yes), (yes, yes), (yes, yes)],
        ),
        ("presence.inst.south", [(NO, NO), (NO, NO), (NO, NO)]),
        ("presence.algebra", [(NO, NO), (NO, NO), (NO, NO)]),
        ("sys.notifications", [(NO, NO), (yes, NO), (yes, NO)]),
        ("sys.status", [(NO, NO), (yes, NO), (yes, NO)]),
        ("sys.metrics", [(NO, NO), (NO, NO), (yes, NO)]),
        ("sys.security", [(NO, NO), (NO, NO), (yes, NO)]),
        ("report.north.term", [(NO, NO), (NO, NO), (yes, yes)]),
        ("usage.north.pages", [(NO, yes), (yes, yes), (yes, yes)]),
        ("usage.south", [(NO, NO), (NO, NO), (yes, yes)]),
    ] {
        for (who, expected) in [&student, &teacher, &service].into_iter().zip(expected) {
            assert_eq!(ask(channel, who, false), expected, "{channel} {who:?}");
        }
    }
}

#[test]
fn a_grant_opens_channels_that_ask_for_one_and_no_others() {
    let eve = claims("eve", &["student"]);
    let yes = Ok(());
    for (channel, expected) in [
        ("chat.ada~bob", (yes, yes)),
        ("chat.club", (yes, yes)),
        ("collab.d1", (yes, yes)),
        ("collab-awareness.d1", (yes, yes)),
        ("activity.ada", (yes, NO)),
        ("user.ada", (NO, NO)),
        ("alert.ada", (NO, NO)),
        ("class.geometry", (NO, NO)),
        ("sys.security", (NO, NO)),
    ] {
        assert_eq!(ask(channel, &eve, true), expected, "{channel}");
    }
}

#[test]
fn a_service_looks_at_its_institution_and_one_of_none_at_everything() {
    let namespaces = Namespaces::defaults();
    let inspect = |channel: &str, who: &PackedClaims| {
        let channel = ChannelName::parse(channel).unwrap();
        permit_inspect(namespaces.lookup(&channel).unwrap(), &channel, who)
    };
    let own = claims("reports", &["service"]);
    let whole = PackedClaims::pack(&Claims {
        user: "reports".into(),
        roles: vec!["service".into()],
        ..Claims::default()
    })
    .unwrap();
    for (channel, expected) in [
        ("inst.north", Ok(())),
        ("inst.south", NO),
        ("dept.north.arts", Ok(())),
        ("dept.south.arts", NO),
        ("report.north.day", Ok(())),
        ("report.south.day", NO),
        ("presence.inst.north", Ok(())),
        ("presence.dept.south.arts", NO),
        ("class.algebra", Ok(())),
        ("class.geometry", NO),
        ("user.ada", NO),
        ("chat.ada~bob", NO),
        ("collab.d1", NO),
        ("sys.status", Ok(())),
    ] {
        assert_eq!(inspect(channel, &own), expected, "{channel}");
        assert_eq!(inspect(channel, &whole), Ok(()), "{channel}");
    }
}

#[test]
fn a_user_without_institution_belongs_to_none() {
    let claims = Claims {
        user: "root".into(),
        ..Claims::default()
    };
    let channel = ChannelName::parse("inst.north").unwrap();
    let namespaces = Namespaces::defaults();
    let policy = namespaces.lookup(&channel).unwrap();
    assert_eq!(permit_subscribe(policy, &channel, &claims, true), NO);
}

#[test]
fn classes_and_durability_are_the_promised_ones() {
    use Priority::{P0, P1, P2, P3};
    let namespaces = Namespaces::defaults();
    let facts = |text: &str| {
        let policy = namespaces
            .lookup(&ChannelName::parse(text).unwrap())
            .unwrap();
        (
            policy.priority,
            policy.durable,
            policy.ack_level,
            policy.cursor,
        )
    };
    for text in [
        "inst.a",
        "dept.a.b",
        "class.a",
        "chat.a",
        "collab.a",
        "sys.notifications",
    ] {
        assert_eq!(facts(text), (P1, true, AckLevel::Local, false), "{text}");
    }
    for text in [
        "collab-awareness.a",
        "activity.a",
        "presence.a",
        "sys.status",
        "sys.metrics",
    ] {
        assert_eq!(
            facts(text),
            (P2, false, AckLevel::Accepted, false),
            "{text}"
        );
    }
    assert_eq!(facts("user.a"), (P1, true, AckLevel::Local, true));
    assert_eq!(facts("alert.a"), (P0, true, AckLevel::Replicated, true));
    assert_eq!(
        facts("sys.security"),
        (P0, true, AckLevel::Replicated, false)
    );
    assert_eq!(facts("report.a"), (P3, true, AckLevel::Local, false));
    assert_eq!(facts("usage.a"), (P3, true, AckLevel::Local, false));
    assert!(namespaces
        .lookup(&ChannelName::parse("sys.other").unwrap())
        .is_none());
    assert!(namespaces
        .lookup(&ChannelName::parse("nobody.a").unwrap())
        .is_none());
}

#[test]
fn a_policy_of_a_whole_name_comes_before_its_namespace() {
    let mut policies: Vec<_> = Namespaces::defaults().iter().cloned().collect();
    let mut special = policies
        .iter()
        .find(|policy| policy.name == "class")
        .unwrap()
        .clone();
    special.name = "class.big".into();
    special.payload_bytes = 7;
    policies.insert(0, special);
    let namespaces = Namespaces::new(policies).unwrap();
    let limit = |text| {
        namespaces
            .lookup(&ChannelName::parse(text).unwrap())
            .unwrap()
            .payload_bytes as usize
    };
    assert_eq!(limit("class.big"), 7);
    assert_eq!(limit("class.small"), limits::PAYLOAD_DEFAULT_BYTES);
}

#[test]
fn contradictions_are_refused() {
    let base = Namespaces::defaults()
        .iter()
        .find(|policy| policy.name == "class")
        .unwrap()
        .clone();
    let refused = |change: fn(&mut NamespacePolicy)| {
        let mut policy = base.clone();
        change(&mut policy);
        matches!(
            Namespaces::new(vec![policy]),
            Err(NamespaceError::Policy { .. })
        )
    };
    assert!(!refused(|_| ()));
    assert!(refused(
        |policy| policy.payload_bytes = limits::PAYLOAD_BYTES as u32 + 1
    ));
    assert!(refused(|policy| policy.payload_bytes = 0));
    assert!(refused(|policy| policy.ack_level = AckLevel::Default));
    assert!(refused(|policy| policy.durable = false));
    assert!(refused(|policy| policy.history_events = 0));
    assert!(refused(|policy| policy.conflated = true));
    let twice = Namespaces::new(vec![base.clone(), base.clone()]);
    assert_eq!(twice.unwrap_err(), NamespaceError::Repeated("class".into()));
    let many = (0..=NAMESPACES).map(|n| NamespacePolicy {
        name: format!("n{n}"),
        ..base.clone()
    });
    assert_eq!(
        Namespaces::new(many.collect()).unwrap_err(),
        NamespaceError::TooMany(65)
    );
}

#[test]
fn an_ephemeral_channel_never_waits_for_a_disk() {
    let namespaces = Namespaces::defaults();
    let policy = |text| {
        namespaces
            .lookup(&ChannelName::parse(text).unwrap())
            .unwrap()
    };
    let activity = policy("activity.a");
    assert_eq!(
        activity.resolve_level(AckLevel::Replicated),
        AckLevel::Accepted
    );
    let class = policy("class.a");
    assert_eq!(class.resolve_level(AckLevel::Default), AckLevel::Local);
    assert_eq!(
        class.resolve_level(AckLevel::Replicated),
        AckLevel::Replicated
    );
}
