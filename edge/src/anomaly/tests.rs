//! Findings from many failures.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const WRONG: ErrorCode = ErrorCode::TokenInvalid;

fn anomalies() -> Anomalies {
    let mut config = Config::default();
    config.anomalies.failed_authentications = 10;
    config.anomalies.refused_channels = 10;
    Anomalies::new(&config, 7)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_burst_of_failures_of_an_address_is_found_once() {
    let anomalies = anomalies();
    let school = address("192.0.2.7");
    let found: Vec<Finding> = (0..100)
        .filter_map(|_| anomalies.failed_at(school, WRONG, SECOND_NS))
        .collect();
    let expected = Finding {
        anomaly: Anomaly::FailedAuthentications,
        subject: "address 192.0.2.7".to_owned(),
        is_told: true,
    };
    assert_eq!(found, [expected]);
    assert_eq!(
        anomalies.failed_at(address("192.0.2.8"), WRONG, SECOND_NS),
        None
    );
    // It goes on: told again, but not before the quiet time is over.
    let seconds = 2..u64::from(QUIET_S) + 60;
    let told = seconds.filter_map(|second| {
        let found = (0..5).filter_map(|_| anomalies.failed_at(school, WRONG, second * SECOND_NS));
        found.count().checked_sub(1).map(|_| second)
    });
    let told: Vec<u64> = told.collect();
    assert_eq!(told.len(), 1);
    assert!(told[0] > u64::from(QUIET_S));
}

#[test]
fn a_few_failures_a_minute_are_none() {
    let anomalies = anomalies();
    for number in 0..1_000 {
        let now_ns = number * 6 * SECOND_NS;
        assert_eq!(
            anomalies.failed_at(address("192.0.2.7"), WRONG, now_ns),
            None
        );
    }
}

#[test]
fn expired_tokens_of_a_whole_school_are_no_attack() {
    let anomalies = anomalies();
    for code in [
        ErrorCode::TokenExpired,
        ErrorCode::TokenNotYetValid,
        ErrorCode::AuthenticationUnavailable,
        ErrorCode::MalformedFrame,
    ] {
        for _ in 0..1_000 {
            assert_eq!(anomalies.failed_at(address("192.0.2.7"), code, 1), None);
            assert_eq!(anomalies.failed_of("north", code, 1), None);
        }
    }
}

#[test]
fn failures_from_many_addresses_show_at_their_institution() {
    let anomalies = anomalies();
    let mut found = Vec::new();
    for host in 0..50 {
        let from = IpAddr::from([192, 0, 2, host]);
        found.extend(anomalies.failed_at(from, WRONG, 1));
        found.extend(anomalies.failed_of("north", WRONG, 1));
        found.extend(anomalies.failed_of("", WRONG, 1));
    }
    let subjects: Vec<&str> = found.iter().map(|found| &*found.subject).collect();
    assert_eq!(subjects, ["institution north"]);
}

#[test]
fn many_refused_channels_of_one_user_are_an_enumeration() {
    let anomalies = anomalies();
    let tries = |user: &str, code| {
        let tries = (0..100).filter_map(|_| anomalies.refused_to(user, code, 1));
        tries.collect::<Vec<_>>()
    };
    // Mistakes that tell nothing about others.
    assert!(tries("ada", ErrorCode::ChannelInvalid).is_empty());
    assert!(tries("ada", ErrorCode::AlreadySubscribed).is_empty());
    let found = tries("mallory", ErrorCode::NotPermitted);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].anomaly, Anomaly::Enumeration);
    assert_eq!(found[0].subject, "user mallory");
}

#[test]
fn a_flood_of_findings_is_counted_and_not_told() {
    let anomalies = anomalies();
    let found: Vec<Finding> = (0..1_000)
        .filter_map(|number| anomalies.spiked(&format!("user{number}"), 1))
        .collect();
    let told = found.iter().filter(|finding| finding.is_told).count();
    assert_eq!(told, TOLD_PER_MINUTE as usize);
    assert!(found.len() > told);
}

#[test]
fn detection_can_be_switched_off() {
    let mut config = Config::default();
    config.anomalies.failed_authentications = 0;
    config.anomalies.refused_channels = 0;
    let anomalies = Anomalies::new(&config, 7);
    for _ in 0..10_000 {
        assert_eq!(anomalies.failed_at(address("192.0.2.7"), WRONG, 1), None);
        assert_eq!(
            anomalies.refused_to("ada", ErrorCode::NotPermitted, 1),
            None
        );
    }
}
