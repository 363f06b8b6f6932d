//! What a batch does to the database.

use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::Namespaces;
use interlink_relay::archive::{Applied, ArchivedEvent, Consumed, Source, TopicEntry, TopicRecord};
use interlink_relay::kafka::record::Item;
use interlink_relay::postgres::{Deadline, Store, StoreError};

use super::limits::ESCALATE_AFTER_US;

/// What a batch does to the database.
#[derive(Clone, Debug)]
pub enum Effect {
    /// History, ids and tops.
    Archive,
    /// Deadlines of events on channels whose namespace escalates.
    Deadlines(Arc<Namespaces>),
}

impl Effect {
    pub(super) async fn apply<'a>(
        &self,
        store: &Store,
        consumed: &Consumed<'_>,
        records: &[TopicRecord<'a>],
        now_us: u64,
    ) -> Result<Applied, StoreError> {
        match self {
            Self::Archive => store.keep(consumed, records, now_us).await,
            Self::Deadlines(namespaces) => {
                let deadline = |record: &TopicRecord<'a>| deadline_of(namespaces, record);
                store
                    .keep_deadlines(consumed, records, deadline, now_us)
                    .await
            }
        }
    }
}

/// The deadline of an event, if its namespace has one: its channel names the user.
fn deadline_of<'a>(namespaces: &Namespaces, record: &TopicRecord<'a>) -> Option<Deadline<'a>> {
    let TopicEntry::Event(event) = record.entry else {
        return None;
    };
    let channel = ChannelName::parse(event.channel).ok()?;
    let policy = namespaces.lookup(&channel)?;
    policy.escalation.then(|| Deadline {
        record: event.record,
        user: channel.id(),
        channel: event.channel,
        placement: event.placement,
        accepted_at_us: event.accepted_at_us,
        due_us: event.accepted_at_us + ESCALATE_AFTER_US,
    })
}

/// Where a record entered the log.
pub(super) fn source_of(item: &Item) -> Source {
    let (node, at, class) = match item {
        Item::Event(event) => (&event.node, event.record.at, event.record.class),
        Item::Positioned(position) => (&position.node, position.at, position.class),
    };
    Source {
        node: node.clone(),
        boot: at.boot,
        shard: at.shard,
        class,
    }
}

/// A record as the database takes it.
pub(super) fn record_of<'a>(source: &'a Source, item: &'a Item) -> TopicRecord<'a> {
    let (sequence, entry) = match item {
        Item::Event(event) => {
            let record = &event.record;
            let archived = ArchivedEvent {
                record: record.record,
                class: record.class,
                channel: &record.channel,
                payload_hash: record.payload_hash,
                accepted_at_us: record.accepted_at_us,
                placement: record.placement,
                frame: &record.frame,
            };
            (record.at.sequence.0, TopicEntry::Event(archived))
        }
        Item::Positioned(position) => {
            let entry = TopicEntry::Positioned {
                record: position.record,
                channel: &position.channel,
                placement: position.placement,
            };
            (position.at.sequence.0, entry)
        }
    };
    TopicRecord {
        source,
        sequence,
        entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::ids::RecordId;
    use interlink_protocol::priority::Priority;

    #[test]
    fn only_channels_that_escalate_have_deadlines() {
        let namespaces = Namespaces::defaults();
        let source = Source {
            node: "a".into(),
            boot: 1,
            shard: 0,
            class: Priority::P0,
        };
        let user_of = |channel| {
            let record = TopicRecord {
                source: &source,
                sequence: 1,
                entry: TopicEntry::Event(ArchivedEvent {
                    record: RecordId(1),
                    class: Priority::P0,
                    channel,
                    payload_hash: 1,
                    accepted_at_us: 5,
                    placement: None,
                    frame: b"",
                }),
            };
            deadline_of(&namespaces, &record).map(|deadline| (deadline.user, deadline.due_us))
        };
        assert_eq!(user_of("alert.ada"), Some(("ada", 5 + ESCALATE_AFTER_US)));
        assert_eq!(user_of("sys.security"), None);
        assert_eq!(user_of("class.algebra"), None);
        assert_eq!(user_of("nonsense"), None);
    }
}
