//! Asks a cluster for its topics, and changes them.

use std::collections::BTreeMap;
use std::future::Future;

use interlink_relay::kafka;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::limits::REQUEST_WAIT;
use super::plan::{compare, settings_of, Existing, Plan, Step};
use super::wanted::Wanted;
use crate::exit::{CommandError, Exit};

/// What was done.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Done {
    /// Topics that were created.
    pub created: usize,
    /// Topics that got partitions.
    pub grown: usize,
    /// Topics whose settings were changed.
    pub altered: usize,
    /// Topics that were as wanted.
    pub kept: usize,
    /// Steps that were refused.
    pub refused: usize,
}

type Admin = AdminClient<DefaultClientContext>;

/// Compares a cluster with the topics that are wanted.
///
/// # Errors
/// When the cluster cannot be reached or does not answer.
pub fn look(cluster: &kafka::Config, wanted: &[Wanted]) -> Result<Plan, CommandError> {
    let admin = admin(cluster)?;
    let metadata = admin
        .inner()
        .fetch_metadata(None, REQUEST_WAIT)
        .map_err(unreachable)?;
    let brokers = metadata.brokers().len() as u32;
    let mut existing = BTreeMap::new();
    for topic in metadata.topics() {
        if !wanted.iter().any(|wanted| wanted.name == topic.name()) {
            continue;
        }
        let replicas = topic.partitions().iter().map(|partition| {
            let replicas = partition.replicas();
            replicas.len() as u32
        });
        let found = Existing {
            partitions: topic.partitions().len() as u32,
            replication: replicas.min().unwrap_or(0),
            settings: BTreeMap::new(),
            own: BTreeMap::new(),
        };
        existing.insert(topic.name().to_owned(), found);
    }
    read_settings(&admin, &mut existing)?;
    Ok(compare(wanted, &existing, brokers))
}

fn read_settings(
    admin: &Admin,
    existing: &mut BTreeMap<String, Existing>,
) -> Result<(), CommandError> {
    let names: Vec<String> = existing.keys().cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let topics: Vec<_> = names
        .iter()
        .map(|name| ResourceSpecifier::Topic(name))
        .collect();
    let described = wait(admin.describe_configs(&topics, &options()))?;
    for (name, described) in names.iter().zip(described) {
        let described = described.map_err(|code| refused(name, code))?;
        let Some(found) = existing.get_mut(name) else {
            continue;
        };
        for entry in described.entries {
            let ConfigEntry {
                name,
                value,
                source,
                ..
            } = entry;
            let value = value.unwrap_or_default();
            if source == ConfigSource::DynamicTopic {
                found.own.insert(name.clone(), value.clone());
            }
            found.settings.insert(name, value);
        }
    }
    Ok(())
}

/// Carries a plan out; what it refuses stays as it is.
///
/// # Errors
/// When the cluster refuses a step or cannot be reached; steps before it were done.
pub fn apply(cluster: &kafka::Config, plan: &Plan) -> Result<Done, CommandError> {
    let admin = admin(cluster)?;
    let mut done = Done::default();
    for line in &plan.lines {
        for step in &line.steps {
            match step {
                Step::Keep => done.kept += 1,
                Step::Refuse { .. } => done.refused += 1,
                Step::Create => {
                    create(&admin, &line.wanted)?;
                    done.created += 1;
                }
                Step::Grow { .. } => {
                    grow(&admin, &line.wanted)?;
                    done.grown += 1;
                }
                Step::Alter { settings, .. } => {
                    alter(&admin, &line.wanted.name, settings)?;
                    done.altered += 1;
                }
            }
        }
    }
    Ok(done)
}

fn create(admin: &Admin, wanted: &Wanted) -> Result<(), CommandError> {
    let settings = settings_of(wanted);
    let replication = TopicReplication::Fixed(wanted.replication as i32);
    let mut topic = NewTopic::new(&wanted.name, wanted.partitions as i32, replication);
    for (name, value) in &settings {
        topic = topic.set(name, value);
    }
    let results = wait(admin.create_topics([&topic], &options()))?;
    for result in results {
        match result {
            // Another operator was faster; the next plan looks at what was made.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(refused(&name, code)),
        }
    }
    Ok(())
}

fn grow(admin: &Admin, wanted: &Wanted) -> Result<(), CommandError> {
    let partitions = NewPartitions::new(&wanted.name, wanted.partitions as usize);
    let results = wait(admin.create_partitions([&partitions], &options()))?;
    for result in results {
        result.map_err(|(name, code)| refused(&name, code))?;
    }
    Ok(())
}

fn alter(
    admin: &Admin,
    topic: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), CommandError> {
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (name, value) in settings {
        change = change.set(name, value);
    }
    let results = wait(admin.alter_configs([&change], &options()))?;
    for result in results {
        result.map_err(|(_, code)| refused(topic, code))?;
    }
    Ok(())
}

fn admin(cluster: &kafka::Config) -> Result<Admin, CommandError> {
    let wrong = |error: kafka::ConfigError| CommandError::new(Exit::Config, error);
    let client = cluster.client("interlink-workers-topics").map_err(wrong)?;
    client
        .create()
        .map_err(|error| wrong(kafka::ConfigError::Client(error)))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_WAIT))
        .operation_timeout(Some(REQUEST_WAIT))
}

/// Waits for an answer of the cluster.
fn wait<T>(answer: impl Future<Output = Result<T, KafkaError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    runtime.block_on(answer).map_err(unreachable)
}

fn unreachable(error: KafkaError) -> CommandError {
    let cause = format!(
        "the Kafka cluster does not answer: {error}; check kafka.brokers, and that the user may \
         describe and alter topics"
    );
    CommandError::new(Exit::Unreachable, cause)
}

fn refused(topic: &str, code: RDKafkaErrorCode) -> CommandError {
    let cause = format!(
        "the cluster refused a change of topic {topic}: {code}; check the permissions of the user \
         and the number of brokers, then run topics plan"
    );
    CommandError::new(Exit::Refused, cause)
}
