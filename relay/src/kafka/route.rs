//! Which topic and which key a record has.
//!
//! Every record goes to exactly one topic: that of its channel's namespace, which is its domain
//! (`institution`, `academic`, `analytics`) or its class. The key is what orders records: the
//! user who published, for publishes of services and the system the user whom the channel is
//! for, else the channel.
//!
//! Runs on: any thread; built at start, read only afterwards.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::{Namespaces, Topic};
use interlink_protocol::priority::Priority;
use std::sync::Arc;

/// Begin of the publisher of events that a service published.
const SERVICE: &str = "service:";
/// Begin of the publisher of events that no user published.
const SYSTEM: char = '~';

/// Topics that nodes feed.
pub const FED: [Topic; 7] = [
    Topic::Critical,
    Topic::High,
    Topic::Institution,
    Topic::Academic,
    Topic::Standard,
    Topic::Analytics,
    Topic::Batch,
];

/// Topic of what workers could not process, behind the prefix.
pub const DEAD_LETTER: &str = "dead-letter";
/// Topic of what workers are asked to do, behind the prefix.
pub const JOBS: &str = "jobs";
/// Topic of what back ends want published, behind the prefix.
pub const INGRESS: &str = "ingress";

/// Name of a topic that nodes feed, behind the prefix.
pub const fn topic_name(topic: Topic) -> &'static str {
    match topic {
        Topic::Critical => "critical",
        Topic::Institution => "institution",
        Topic::Academic => "academic",
        Topic::Analytics => "analytics",
        Topic::High => "high",
        Topic::Standard => "standard",
        Topic::Batch => "batch",
    }
}

/// Topic of channels of no domain.
const fn topic_of_class(class: Priority) -> Topic {
    match class {
        Priority::P0 => Topic::Critical,
        Priority::P1 => Topic::High,
        Priority::P2 => Topic::Standard,
        Priority::P3 => Topic::Batch,
    }
}

/// Whole names of the topics that nodes feed.
pub fn fed_topics(prefix: &str) -> Vec<String> {
    let names = FED.map(|topic| format!("{prefix}{}", topic_name(topic)));
    names.into()
}

/// From channels to topics.
#[derive(Clone, Debug)]
pub struct Routes {
    namespaces: Arc<Namespaces>,
    /// Whole names, by the order of [`FED`].
    names: [String; FED.len()],
}

impl Routes {
    /// Routes of a table of namespaces.
    pub fn new(namespaces: Arc<Namespaces>, prefix: &str) -> Self {
        Self {
            namespaces,
            names: FED.map(|topic| format!("{prefix}{}", topic_name(topic))),
        }
    }

    /// The topic of a record. P0 has a topic of its own whatever its namespace says; a channel
    /// of no known namespace follows its class.
    pub fn topic(&self, channel: &str, class: Priority) -> &str {
        let known = ChannelName::parse(channel).ok();
        let policy = known.and_then(|name| self.namespaces.lookup(&name));
        let topic = match (class, policy) {
            (Priority::P0, _) => Topic::Critical,
            (_, Some(policy)) => policy.topic,
            (_, None) => topic_of_class(class),
        };
        let index = FED.iter().position(|fed| *fed == topic);
        &self.names[index.unwrap_or(0)]
    }
}

/// The key of a record.
pub fn key_of<'a>(channel: &'a str, publisher: &'a str) -> &'a str {
    if !publisher.is_empty() && !publisher.starts_with(SERVICE) && !publisher.starts_with(SYSTEM) {
        return publisher;
    }
    ChannelName::parse(channel).map_or(channel, |name| name.service_key())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_namespace_has_the_topic_of_the_design() {
        let namespaces = Arc::new(Namespaces::defaults());
        let routes = Routes::new(namespaces.clone(), "interlink.");
        for (channel, topic) in [
            ("alert.ada", "critical"),
            ("sys.security", "critical"),
            ("inst.north", "institution"),
            ("dept.north.maths", "institution"),
            ("class.algebra", "academic"),
            ("usage.north.logins", "analytics"),
            ("chat.ada~bob", "high"),
            ("collab.essay", "high"),
            ("user.ada", "high"),
            ("sys.notifications", "high"),
            ("activity.ada", "standard"),
            ("sys.status", "standard"),
            ("report.north.june", "batch"),
        ] {
            let name = ChannelName::parse(channel).expect("a channel");
            let class = namespaces.lookup(&name).expect("known").priority;
            assert_eq!(
                routes.topic(channel, class),
                format!("interlink.{topic}"),
                "{channel}"
            );
        }
    }

    #[test]
    fn what_has_no_namespace_follows_its_class() {
        let routes = Routes::new(Arc::new(Namespaces::defaults()), "x.");
        let by_class = Priority::ALL.map(|class| routes.topic("unknown.a", class).to_owned());
        assert_eq!(by_class, ["x.critical", "x.high", "x.standard", "x.batch"]);
        assert_eq!(routes.topic("no channel", Priority::P3), "x.batch");
        assert_eq!(routes.topic("class.algebra", Priority::P0), "x.critical");
    }

    #[test]
    fn the_key_is_who_publishes_or_for_whom() {
        assert_eq!(key_of("class.algebra", "ada"), "ada");
        assert_eq!(key_of("user.ada", "service:grades"), "ada");
        assert_eq!(key_of("alert.ada", "~system"), "ada");
        assert_eq!(key_of("inst.north", "service:grades"), "inst.north");
        assert_eq!(key_of("no channel", "~system"), "no channel");
        assert_eq!(key_of("class.algebra", ""), "class.algebra");
    }

    #[test]
    fn topics_of_the_routes_are_those_that_consumers_read() {
        let read = fed_topics("interlink.");
        let routes = Routes::new(Arc::new(Namespaces::defaults()), "interlink.");
        assert!(routes.names.iter().all(|name| read.contains(name)));
        assert_eq!(read.len(), FED.len());
    }
}
