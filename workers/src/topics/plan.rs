//! What has to be done so that a cluster has the topics that are wanted. Pure.

use std::collections::BTreeMap;

use super::wanted::Wanted;

/// Setting that says how long records are kept, milliseconds.
pub const RETENTION: &str = "retention.ms";
/// Setting that says how many replicas a write needs.
pub const MIN_INSYNC: &str = "min.insync.replicas";
/// Setting that lets a replica without all records lead.
pub const UNCLEAN: &str = "unclean.leader.election.enable";

/// A topic as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Existing {
    /// Number of partitions.
    pub partitions: u32,
    /// Fewest replicas of a partition.
    pub replication: u32,
    /// Effective values of its settings.
    pub settings: BTreeMap<String, String>,
    /// Settings that are the topic's own; a change has to repeat them.
    pub own: BTreeMap<String, String>,
}

/// What has to be done about one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing.
    Keep,
    /// It is missing.
    Create,
    /// Settings are given new values; those of its own that stay are among them.
    Alter {
        /// Every setting of its own afterwards.
        settings: BTreeMap<String, String>,
        /// What changes: name, before, after.
        changes: Vec<(&'static str, String, String)>,
    },
    /// Partitions are added, to a topic without keys.
    Grow {
        /// Partitions before.
        from: u32,
    },
    /// It is not as wanted and cannot be changed in place.
    Refuse {
        /// Why.
        cause: String,
        /// What to do.
        cure: String,
    },
}

/// A topic and what has to be done about it, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The topic.
    pub wanted: Wanted,
    /// The steps; never empty.
    pub steps: Vec<Step>,
}

/// What has to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One line for each wanted topic.
    pub lines: Vec<Line>,
}

impl Plan {
    /// What cannot be done.
    pub fn refused(&self) -> impl Iterator<Item = (&Wanted, &Step)> {
        let steps = self.lines.iter().flat_map(|line| {
            let steps = line.steps.iter();
            steps.map(move |step| (&line.wanted, step))
        });
        steps.filter(|(_, step)| matches!(step, Step::Refuse { .. }))
    }
}

/// Compares the wanted topics with those of a cluster of `brokers` brokers.
pub fn compare(wanted: &[Wanted], existing: &BTreeMap<String, Existing>, brokers: u32) -> Plan {
    let lines = wanted.iter().map(|topic| Line {
        wanted: topic.clone(),
        steps: match existing.get(&topic.name) {
            Some(found) => steps(topic, found),
            None => vec![creation(topic, brokers)],
        },
    });
    Plan {
        lines: lines.collect(),
    }
}

fn creation(wanted: &Wanted, brokers: u32) -> Step {
    if wanted.replication <= brokers {
        return Step::Create;
    }
    Step::Refuse {
        cause: format!(
            "{} replicas need as many brokers, and there are {brokers}",
            wanted.replication
        ),
        cure: "start more brokers, or use --profile single".into(),
    }
}

fn steps(wanted: &Wanted, found: &Existing) -> Vec<Step> {
    let mut steps: Vec<Step> = [replication(wanted, found), partitions(wanted, found)]
        .into_iter()
        .flatten()
        .collect();
    steps.extend(settings(wanted, found));
    if steps.is_empty() {
        steps.push(Step::Keep);
    }
    steps
}

fn replication(wanted: &Wanted, found: &Existing) -> Option<Step> {
    (found.replication < wanted.replication).then(|| Step::Refuse {
        cause: format!(
            "it has {} replicas instead of {}",
            found.replication, wanted.replication
        ),
        cure: "add replicas with kafka-reassign-partitions.sh of Kafka".into(),
    })
}

fn partitions(wanted: &Wanted, found: &Existing) -> Option<Step> {
    if found.partitions == wanted.partitions {
        return None;
    }
    if !wanted.keyed && found.partitions < wanted.partitions {
        return Some(Step::Grow {
            from: found.partitions,
        });
    }
    let cause = format!(
        "it has {} partitions instead of {}",
        found.partitions, wanted.partitions
    );
    let cure = if wanted.keyed {
        "records of one key would overtake each other. Create a new version of the topics with \
         another prefix (--prefix, kafka.topic_prefix), point the nodes at it, drain the old \
         topics until every group's lag is 0, then move the workers"
    } else {
        "Kafka removes no partitions. Write the present number into the file of topics"
    };
    Some(Step::Refuse {
        cause,
        cure: cure.into(),
    })
}

/// Changes and refusals that follow from the settings.
fn settings(wanted: &Wanted, found: &Existing) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut changes = Vec::new();
    let numbers = [
        (RETENTION, wanted.retention_ms),
        (MIN_INSYNC, u64::from(wanted.min_insync)),
    ];
    for (name, value) in numbers {
        let now = found.settings.get(name).map_or("", String::as_str);
        match now.parse::<i64>() {
            Ok(number) if number == value as i64 => {}
            // -1 keeps records forever.
            Ok(number) if number > value as i64 || name == RETENTION && number == -1 => {
                steps.push(Step::Refuse {
                    cause: format!("{name} is {now}, which is more than {value}"),
                    cure: "nothing is shortened here; lower it with kafka-configs.sh of Kafka, or \
                           write the present value into the file of topics"
                        .into(),
                });
            }
            _ => changes.push((name, now.to_owned(), value.to_string())),
        }
    }
    let unclean = found.settings.get(UNCLEAN).map_or("", String::as_str);
    if unclean != "false" {
        changes.push((UNCLEAN, unclean.to_owned(), "false".to_owned()));
    }
    if !changes.is_empty() {
        let mut settings = found.own.clone();
        for (name, _, value) in &changes {
            settings.insert((*name).to_owned(), value.clone());
        }
        steps.push(Step::Alter { settings, changes });
    }
    steps
}

/// Settings of a new topic.
pub fn settings_of(wanted: &Wanted) -> BTreeMap<String, String> {
    let settings = [
        (RETENTION, wanted.retention_ms.to_string()),
        (MIN_INSYNC, wanted.min_insync.to_string()),
        (UNCLEAN, "false".to_owned()),
    ];
    let owned = settings.map(|(name, value)| (name.to_owned(), value));
    owned.into_iter().collect()
}
