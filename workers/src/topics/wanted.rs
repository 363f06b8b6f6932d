//! The topics that a cluster should have, from a file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::limits::{PARTITIONS_MAX, REPLICATION_MAX, RETENTION_HOURS_MAX};

/// A topic as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its whole name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication: u32,
    /// Replicas that must have a record before its write is acknowledged.
    pub min_insync: u32,
    /// How long records are kept, milliseconds.
    pub retention_ms: u64,
    /// Whether records of one key must stay in one partition.
    pub keyed: bool,
}

/// Why a file of topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// The file is no TOML, or has an unknown key.
    #[error("the file of topics is wrong: {0}")]
    Text(#[from] toml::de::Error),
    /// The profile is not in the file.
    #[error("there is no profile `{name}` in the file of topics; it has {known}")]
    Profile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A topic's class is not in the profile.
    #[error("topic `{topic}` has the class `{class}`, which the profile does not have; add it")]
    Class {
        /// The topic.
        topic: String,
        /// Its class.
        class: String,
    },
    /// A size is out of bounds.
    #[error("class `{class}` of the profile: {fault}")]
    Size {
        /// The class.
        class: String,
        /// What is wrong and how it is cured.
        fault: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topics: BTreeMap<String, TopicText>,
    profiles: BTreeMap<String, BTreeMap<String, ClassText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicText {
    class: String,
    #[serde(default = "yes")]
    keyed: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassText {
    partitions: u32,
    replication: u32,
    min_insync: u32,
    retention_hours: u64,
}

impl ClassText {
    fn fault(&self) -> Option<&'static str> {
        let within = |value: u32, most: u32| (1..=most).contains(&value);
        if !within(self.partitions, PARTITIONS_MAX) {
            return Some("partitions are 1 to 1000; change partitions");
        }
        if !within(self.replication, REPLICATION_MAX) {
            return Some("replicas are 1 to 7; change replication");
        }
        if !within(self.min_insync, self.replication) {
            return Some("min_insync is 1 to replication; change one of both");
        }
        if self.retention_hours == 0 || self.retention_hours > RETENTION_HOURS_MAX {
            return Some("retention is 1 hour to 366 days; change retention_hours");
        }
        None
    }
}

/// The topics of a file in the sizes of a profile, in the order of their names.
///
/// # Errors
/// What is wrong with the file, with its cure.
pub fn wanted(text: &str, profile: &str, prefix: &str) -> Result<Vec<Wanted>, WantedError> {
    let file: File = toml::from_str(text)?;
    let Some(classes) = file.profiles.get(profile) else {
        let known: Vec<_> = file.profiles.keys().map(String::as_str).collect();
        return Err(WantedError::Profile {
            name: profile.to_owned(),
            known: known.join(", "),
        });
    };
    for (name, class) in classes {
        if let Some(fault) = class.fault() {
            return Err(WantedError::Size {
                class: name.clone(),
                fault,
            });
        }
    }
    let topics = file.topics.iter().map(|(name, topic)| {
        let class = classes.get(&topic.class);
        let class = class.ok_or_else(|| WantedError::Class {
            topic: name.clone(),
            class: topic.class.clone(),
        })?;
        Ok(Wanted {
            name: format!("{prefix}{name}"),
            partitions: class.partitions,
            replication: class.replication,
            min_insync: class.min_insync,
            retention_ms: class.retention_hours * 3_600_000,
            keyed: topic.keyed,
        })
    });
    topics.collect()
}
