//! Which class a channel belongs to.
//!
//! Purpose: the class decides about credit, room and settling of a publish, and a channel has
//! exactly one, from its namespace. The table starts with the defaults of the protocol; a
//! deployment that configures other namespaces names them to its clients.
//! Runs on: any thread; read only once the client runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;

/// The classes of namespaces.
#[derive(Clone, Debug)]
pub struct Classes {
    named: BTreeMap<Box<str>, Priority>,
    defaults: Arc<Namespaces>,
}

impl Default for Classes {
    fn default() -> Self {
        Self {
            named: BTreeMap::new(),
            defaults: Arc::new(Namespaces::defaults()),
        }
    }
}

impl Classes {
    /// Names the class of a namespace, over the defaults.
    pub fn name(&mut self, namespace: &str, class: Priority) {
        self.named.insert(namespace.into(), class);
    }

    /// The class of a channel. A namespace that nobody named counts as P1: its publishes
    /// are kept until settled, and the server refuses what it does not know.
    pub fn class_of(&self, channel: &ChannelName<'_>) -> Priority {
        let named = self.named.get(channel.namespace()).copied();
        let default = || self.defaults.lookup(channel).map(|policy| policy.priority);
        named.or_else(default).unwrap_or(Priority::P1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(classes: &Classes, channel: &str) -> Priority {
        classes.class_of(&ChannelName::parse(channel).unwrap())
    }

    #[test]
    fn channels_have_the_class_of_their_namespace() {
        let classes = Classes::default();
        for (channel, class) in [
            ("alert.ada", Priority::P0),
            ("sys.security", Priority::P0),
            ("chat.a~b", Priority::P1),
            ("inst.north", Priority::P1),
            ("user.ada", Priority::P1),
            ("collab.d1", Priority::P1),
            ("sys.notifications", Priority::P1),
            ("sys.status", Priority::P2),
            ("sys.metrics", Priority::P2),
            ("collab-awareness.d1", Priority::P2),
            ("presence.class-1", Priority::P2),
            ("usage.app", Priority::P3),
            ("report.weekly", Priority::P3),
            ("elsewhere.x", Priority::P1),
        ] {
            assert_eq!(class_of(&classes, channel), class, "{channel}");
        }
    }

    #[test]
    fn a_named_namespace_wins_over_the_defaults() {
        let mut classes = Classes::default();
        classes.name("chat", Priority::P3);
        assert_eq!(class_of(&classes, "chat.a~b"), Priority::P3);
    }
}
