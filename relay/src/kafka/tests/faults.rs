//! Faults of brokers, by the mock cluster of the client library: what is fed arrives in order,
//! and is acknowledged when it has arrived.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::super::limits::UNACKNOWLEDGED_MAX;
use super::*;
use crate::kafka::LogStanding;

const CHANNEL: &str = "class.algebra";
const TOPIC: &str = "interlink.academic";

struct Faulty {
    mock: MockCluster<'static, DefaultProducerContext>,
    cluster: Config,
    driven: Driven,
}

fn faulty() -> Faulty {
    let mock = MockCluster::new(1).expect("a mock cluster");
    mock.create_topic(TOPIC, 1, 1).expect("a topic");
    let cluster = Config::plaintext(&[&mock.bootstrap_servers()]);
    let driven = Driven::new(cluster.clone());
    Faulty {
        mock,
        cluster,
        driven,
    }
}

impl Faulty {
    fn arrived(&self) -> Vec<Consumed> {
        read_partition(&self.cluster, TOPIC, 0)
    }
}

#[test]
fn what_is_fed_arrives_once_and_calls_are_answered_in_order() {
    let mut faulty = faulty();
    let calls = (0..20).map(|call| faulty.driven.submit(CHANNEL, call * 50..(call + 1) * 50));
    let calls: Vec<_> = calls.map(|ticket| ticket.expect("room")).collect();
    assert_eq!(faulty.driven.wait(20), calls);
    assert_eq!(ids(&faulty.arrived()), (0..1_000).collect::<Vec<_>>());
    assert_eq!(faulty.driven.log.waiting(), [0; 4]);
}

#[test]
fn refusals_that_pass_are_retried_in_order() {
    let mut faulty = faulty();
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ];
    faulty.mock.request_errors(RDKafkaApiKey::Produce, &errors);
    for call in 0..10 {
        faulty.driven.submit(CHANNEL, call * 20..(call + 1) * 20);
    }
    faulty.driven.wait(10);
    assert_eq!(ids_once(&faulty.arrived()), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_refusal_that_stays_makes_a_new_producer_that_repeats_in_order() {
    let mut faulty = faulty();
    faulty.driven.submit(CHANNEL, 0..10);
    faulty.driven.wait(1);
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2];
    faulty.mock.request_errors(RDKafkaApiKey::Produce, &errors);
    let calls = (1..6).map(|call| faulty.driven.submit(CHANNEL, call * 10..(call + 1) * 10));
    let calls: Vec<_> = calls.map(|ticket| ticket.expect("room")).collect();
    assert_eq!(faulty.driven.wait(5), calls);
    let arrived = faulty.arrived();
    assert_eq!(ids_once(&arrived), (0..60).collect::<Vec<_>>());
}

#[test]
fn nothing_is_acknowledged_while_brokers_are_away_and_all_of_it_afterwards() {
    let mut faulty = faulty();
    faulty.driven.submit(CHANNEL, 0..10);
    faulty.driven.wait(1);
    faulty.mock.broker_down(-1).expect("down");
    for call in 1..5 {
        faulty.driven.submit(CHANNEL, call * 10..(call + 1) * 10);
    }
    let started = Instant::now();
    while faulty.driven.log.standing() == LogStanding::Connected {
        assert!(faulty.driven.take().is_empty());
        assert!(started.elapsed() < PATIENCE, "nobody noticed");
        let _ = faulty.driven.woken.recv_timeout(Duration::from_millis(50));
    }
    assert_eq!(faulty.driven.log.waiting()[1], 40);
    faulty.mock.broker_up(-1).expect("up");
    faulty.driven.wait(4);
    assert_eq!(faulty.driven.log.standing(), LogStanding::Connected);
    assert_eq!(ids_once(&faulty.arrived()), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_full_line_is_busy_and_takes_more_afterwards() {
    let mut faulty = faulty();
    faulty.mock.broker_down(-1).expect("down");
    let mut call = 0;
    while faulty
        .driven
        .submit(CHANNEL, call * 250..(call + 1) * 250)
        .is_some()
    {
        call += 1;
        assert!(call * 250 <= UNACKNOWLEDGED_MAX as u64, "no bound");
    }
    assert!(call > 8, "the bound is met after {call} calls");
    let other = frame("alert.ada", "ada", 1, Placement::default());
    let critical = append(Priority::P0, "alert.ada", 1, &other);
    let taken = faulty.driven.log.submit(LogRequest::Append(&[critical]), 0);
    assert!(taken.is_ok(), "P0 has room of its own");
    faulty
        .mock
        .create_topic("interlink.critical", 1, 1)
        .expect("a topic");
    faulty.mock.broker_up(-1).expect("up");
    faulty.driven.wait(call as usize + 1);
    assert!(faulty.driven.submit(CHANNEL, 0..1).is_some());
    faulty.driven.wait(1);
    let arrived = faulty.arrived();
    let (last, fed) = arrived.split_last().expect("records");
    assert_eq!(ids(std::slice::from_ref(last)), [0]);
    assert_eq!(ids_once(fed), (0..call * 250).collect::<Vec<_>>());
}

#[test]
fn closing_acknowledges_what_arrived_and_nothing_else() {
    let mut faulty = faulty();
    faulty.driven.submit(CHANNEL, 0..10);
    assert!(faulty.driven.log.close(PATIENCE));
    assert_eq!(faulty.driven.take().len(), 1);
    assert!(faulty.driven.submit(CHANNEL, 10..20).is_none(), "closed");

    let mut away = Driven::new(faulty.cluster.clone());
    faulty.mock.broker_down(-1).expect("down");
    away.submit(CHANNEL, 10..20).expect("room");
    assert!(!away.log.close(Duration::from_millis(200)));
    assert!(away.take().is_empty());
    assert_eq!(away.log.waiting()[1], 10);
}
